"""A process that runs is watched, or held up, by strace."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import missing
from tests.service import PATIENCE_S


@contextmanager
def straced(pid: int, *args: str | Path) -> Iterator[None]:
    """With these arguments, from when it is attached to the end of the block."""
    if shutil.which("strace") is None:
        missing("strace")
    command = ["strace", *map(str, args), "-p", str(pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
        assert strace.stderr is not None
        if "attached" not in (said := strace.stderr.readline()):
            missing(f"a strace that may attach ({said.strip()})")
        try:
            yield
        finally:
            strace.send_signal(signal.SIGINT)
            strace.communicate(timeout=PATIENCE_S)
