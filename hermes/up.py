"""`hermes up`: the Procfile's processes in the foreground."""

import os
import re
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from hermes.checks import check_data_directory, check_git, check_ports
from hermes.foreground import Foreground, Printed
from hermes.importing import uncollected
from hermes.kept import Kept
from hermes.redis_server import find_server, socket_path
from hermes.settings import Settings
from hermes.title import set_title

ROOT = Path(__file__).parent.parent
_WORKERS = ("builder", "runner")
_LINE = re.compile(r"^(\w+): exec python -m ([\w.]+)$", re.MULTILINE)


def up(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C. Raises SettingsError when it cannot begin."""
    check_git()
    check_data_directory(settings.data)
    check_ports(settings)
    env = os.environ | {
        "HERMES_DATA": str(settings.data.absolute()),
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
    }
    modules = dict(_LINE.findall((ROOT / "Procfile").read_text()))
    if settings.redis_url or find_server() is None:
        del modules["redis"]
        env["HERMES_REDIS_URL"] = settings.redis_url or "none"
    else:
        env["HERMES_REDIS_URL"] = f"unix://{socket_path(settings.data)}"
    set_title("up", settings.data)
    say = Printed(tuple(modules))
    with uncollected():
        processes = [Kept(name, _life(module), env, ROOT, say) for name, module in modules.items()]
    Foreground(processes, say, _WORKERS if settings.stop == "drain" else ()).run()


def _life(module: str) -> Callable[[], None]:
    """What `python -m module` would call, imported."""
    spec = find_spec(module)
    is_package = spec is not None and spec.submodule_search_locations
    life: Callable[[], None] = import_module(f"{module}.__main__" if is_package else module).main
    return life
