"""`hermes up`: the Procfile's processes in the foreground."""

import os
import re
import sys
from pathlib import Path

from hermes.checks import check_data_directory, check_git, check_ports
from hermes.foreground import Foreground, Printed
from hermes.kept import Kept
from hermes.redis_server import find_server, socket_path
from hermes.settings import Settings

ROOT = Path(__file__).parent.parent
_WORKERS = ("builder", "runner")


def up(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C. Raises SettingsError when it cannot begin."""
    check_git()
    check_data_directory(settings.data)
    check_ports(settings)
    env = os.environ | {
        "HERMES_DATA": str(settings.data.absolute()),
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
        "PYTHONUNBUFFERED": "1",
    }
    commands = dict(re.findall(r"^(\w+):\s*(.+)$", (ROOT / "Procfile").read_text(), re.MULTILINE))
    if settings.redis_url or find_server() is None:
        del commands["redis"]
        env["HERMES_REDIS_URL"] = settings.redis_url or "none"
    else:
        env["HERMES_REDIS_URL"] = f"unix://{socket_path(settings.data)}"
    say = Printed(tuple(commands))
    processes = [Kept(name, command, env, ROOT, say) for name, command in commands.items()]
    Foreground(processes, say, _WORKERS if settings.stop == "drain" else ()).run()
