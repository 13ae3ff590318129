"""`hermes` as a process of its own, forked from one that has imported it: what starting Python costs, some
hundred times in a run of all tests, is left out. Nothing else is: it has a process, an environment and an
output of its own. tests/test_cli.py and tests/test_up.py start it as a person does."""

import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from setproctitle import getproctitle

from hermes.cli import main
from hermes.cli.names import ADMIN

_PRELOADED = [
    __name__,
    "hermes.migrating",
    *(f"hermes.cli.{each.partition(':')[0]}" for each in ADMIN.values()),
    *(
        "hermes.cli.up",
        "hermes.up",
        "hermes.redis_server",
        "hermes.serve",
        "builder.__main__",
        "runner.__main__",
    ),
]
getproctitle()  # it must see the environment before that changes, also in the server, which imports this file
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(_PRELOADED)


class Forked:
    """`hermes` with these words, in the folder of who asks; with what tests use of `subprocess.Popen`."""

    def __init__(self, words: tuple[str, ...], env: dict[str, str], out: Path, err: Path) -> None:
        self.args = words
        self._process = _CONTEXT.Process(target=_become, args=(words, env, os.getcwd(), out, err))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid
        atexit.register(self.terminate)  # before multiprocessing waits for it

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None: it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Until it has ended. Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        atexit.unregister(self.terminate)
        return code

    def send_signal(self, number: int) -> None:
        """Nothing happens to who has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


def operate(
    words: tuple[str, ...], env: dict[str, str], timeout_s: float
) -> "subprocess.CompletedProcess[str]":
    """`hermes admin` with these words, to its end."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        child = Forked(("admin", *words), env, out, err)
        try:
            code = child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            raise
        return subprocess.CompletedProcess(words, code, out.read_text(), err.read_text())


def _become(words: tuple[str, ...], env: dict[str, str], folder: str, out: Path, err: Path) -> None:
    """In the child."""
    for stream, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["hermes", *words]
    main()
