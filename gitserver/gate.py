"""The pipes between git's pre-receive hook and the server: it says where the quarantine is, and waits."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

Ask = Callable[[Path | None], Awaitable[bool]]


class Gate:
    """Two inherited pipes, for one push. The hook (hooks/pre-receive) finds them in its environment."""

    def __init__(self) -> None:
        self._ask_read, self._ask_write = os.pipe()
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

    async def keep(self, ask: Ask) -> None:
        """Wait for the hook's question, if it comes to that, and answer it."""
        reader = asyncio.StreamReader()
        self._ours.remove(self._ask_read)  # the transport closes it
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(self._ask_read, "rb", buffering=0)
        )
        try:
            line = await reader.readline()
            if line.endswith(b"\n"):  # else git refused the push before it asked
                quarantine = Path(line[:-1].decode()) if line != b"\n" else None
                os.write(self._verdict_write, b"ok\n" if await ask(quarantine) else b"no\n")
        finally:
            transport.close()
