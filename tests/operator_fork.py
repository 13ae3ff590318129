"""What an operator types (`hermes admin …`), forked from a process that has imported it: what starting Python
costs, some hundred times in a run of all tests, is left out. Nothing else is: the command has a process, an
environment and an output of its own. tests/test_cli.py starts it as a person does."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from hermes.cli import main
from hermes.cli.names import ADMIN

_PRELOADED = [
    __name__,
    "hermes.migrating",
    *(f"hermes.cli.{each.partition(':')[0]}" for each in ADMIN.values()),
]
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(_PRELOADED)


def operate(
    words: tuple[str, ...], env: dict[str, str], timeout_s: float
) -> "subprocess.CompletedProcess[str]":
    """`hermes admin` with these words, to its end."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        child = _CONTEXT.Process(target=_become, args=(words, env, os.getcwd(), out, err))
        child.start()
        child.join(timeout_s)
        code = child.exitcode
        if code is None:
            child.kill()
            child.join()
        child.close()
        if code is None:
            raise subprocess.TimeoutExpired(words, timeout_s)
        return subprocess.CompletedProcess(words, code, out.read_text(), err.read_text())


def _become(words: tuple[str, ...], env: dict[str, str], folder: str, out: Path, err: Path) -> None:
    """In the child."""
    for stream, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["hermes", "admin", *words]
    main()
