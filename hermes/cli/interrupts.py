"""Signals while a run is followed: Ctrl-C asks what to do with it; where nobody can be asked, it goes on."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from hermes.cli.asking import note


class Detached(BaseException):
    """We leave; the run goes on. `code` is our exit code."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code


@contextmanager
def interrupts(cancel: Callable[[], bool]) -> Iterator[None]:
    """Until its end. `cancel` asks the server for the run's end; False: there is no run yet. A signal
    that our parent wants ignored, as a shell does for what it starts with `&`, stays ignored."""
    asked = False

    def leave(number: int, _frame: FrameType | None) -> None:
        raise Detached(128 + number)

    def interrupted(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked or not _wants_cancel():
            leave(number, frame)
        asked = True
        if not cancel():
            leave(number, frame)

    handlers = {signal.SIGINT: interrupted, signal.SIGTERM: leave}
    before = {each: signal.getsignal(each) for each in handlers}
    for each, handler in handlers.items():
        if before[each] is not signal.SIG_IGN:
            signal.signal(each, handler)
    try:
        yield
    finally:
        for each, old in before.items():
            signal.signal(each, old)


def _wants_cancel() -> bool:
    """Asks the person at the terminal, once; another Ctrl-C or the end of input means no."""
    if not sys.stderr.isatty():
        return False
    with suppress(OSError, KeyboardInterrupt):
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with open("/dev/tty", "rb", buffering=0) as terminal:
                os.write(2, b"\nhermes: cancel or detach? [c/D] ")
                return terminal.readline().strip().lower() in (b"c", b"cancel")
        finally:
            signal.signal(signal.SIGINT, before)
    return False


def leaving(run: int) -> None:
    """Says how to go on."""
    note(f"run {run} goes on: hermes logs -f {run}, hermes executions cancel {run}")
