"""The pipes between git's pre-receive hook and the server: it says where the quarantine is, and waits."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from gitserver.program import read_pipe

_MAX_LINE_BYTES = 8192


class Judge(Protocol):
    """Who decides about one push."""

    def expect(self) -> None:
        """Git has all it needs, and asks soon."""

    async def decide(self, quarantine: Path | None) -> bool:
        """Git asks whether it may go on."""


class Gate:
    """Two inherited pipes, for one push. The hook (hooks/pre-receive) finds them in its environment."""

    def __init__(self) -> None:
        self._ask_read, self._ask_write = os.pipe()
        os.set_blocking(self._ask_read, False)
        self._verdict_read, self._verdict_write = os.pipe()
        self._ours, self._theirs = (
            [self._ask_read, self._verdict_write],
            [self._ask_write, self._verdict_read],
        )

    @property
    def fds(self) -> tuple[int, int]:
        """What the child inherits."""
        return self._ask_write, self._verdict_read

    @property
    def env(self) -> dict[str, str]:
        """Where the hook finds them."""
        return {"HERMES_ASK_FD": str(self._ask_write), "HERMES_VERDICT_FD": str(self._verdict_read)}

    def close_far_side(self) -> None:
        """The child has its own copies."""
        while self._theirs:
            os.close(self._theirs.pop())

    def close(self) -> None:
        """Everything that is still open."""
        self.close_far_side()
        while self._ours:
            os.close(self._ours.pop())

    async def keep(self, judge: Judge) -> None:
        """Wait for the hook's question, if it comes to that, and answer it."""
        line = b""
        while not line.endswith(b"\n"):
            part = await read_pipe(self._ask_read, _MAX_LINE_BYTES)
            line += part
            if not part or len(line) > _MAX_LINE_BYTES:
                return  # git refused the push before it asked
        quarantine = Path(line[:-1].decode()) if line != b"\n" else None
        verdict = b"ok\n" if await judge.decide(quarantine) else b"no\n"
        with suppress(BrokenPipeError):  # git has ended meanwhile; its own end says so
            os.write(self._verdict_write, verdict)
