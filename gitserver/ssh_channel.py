"""One channel of a signed-in client: bytes in order both ways, bounded whatever the client does.

Ours instead of asyncssh's process, which keeps every signal, window change and variable that a client
sends, and writes for as long as the client's window lasts: that may be gigabytes, of which it reads none."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing, suppress
from typing import Any

import asyncssh

_MOST_AHEAD = 256 << 10  # read from the client and not yet asked for
_MOST_DEFERRED = 64  # packets that wait for the end of a key exchange
_LOOK_S = 0.1
_SILENCE_S = 5.0  # after which a client that does not say so has sent everything
_PROTOCOL = b"GIT_PROTOCOL"


class Flow:
    """Whether a connection takes what we send."""

    def __init__(self, connection: asyncssh.SSHServerConnection) -> None:
        self._connection = connection
        self._free = asyncio.Event()
        self._free.set()
        # asyncio calls these when its own buffer is full; asyncssh does nothing then
        connection.pause_writing = self._free.clear  # type: ignore[method-assign]
        connection.resume_writing = self._free.set  # type: ignore[method-assign]

    async def wait(self) -> None:
        """Until there is room, or nobody is there any more."""
        await self._free.wait()
        while len(self._connection._deferred_packets) > _MOST_DEFERRED:  # a key exchange that does not end
            if self._connection.is_closed():
                return
            await asyncio.sleep(_LOOK_S)

    def over(self) -> None:
        """The connection is lost."""
        self._free.set()


class _Variables(dict[bytes, bytes]):
    """The one that git needs."""

    def __setitem__(self, name: bytes, value: bytes) -> None:
        if name == _PROTOCOL and len(value) < 100:
            super().__setitem__(name, value)


class Channel(asyncssh.SSHServerSession[bytes]):
    """`serve` is called when a command is asked for. When the client is gone its bytes end and it cannot be
    written to; nothing else happens to the work, which may be in the middle of something."""

    def __init__(self, flow: Flow, serve: "Callable[[Channel], Coroutine[Any, Any, None]]") -> None:
        self._flow, self._serve = flow, serve
        self.work: asyncio.Task[None] | None = None
        self._chunks: deque[bytes] = deque()
        self._ahead_bytes = self._dropped_bytes = 0
        self._news, self._eof, self._free = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._free.set()
        self.gone = asyncio.Event()
        self._wanted, self._paused = True, False

    # ---- what asyncssh calls

    def connection_made(self, chan: "asyncssh.SSHServerChannel[bytes]") -> None:
        self._channel = chan
        chan._env = _Variables()

    def shell_requested(self) -> bool:
        return True  # to be told that there is none

    def exec_requested(self, command: str) -> bool:
        return True

    def session_started(self) -> None:
        self.work = asyncio.create_task(self._serve(self))

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if not self._wanted:
            self._dropped_bytes += len(data)
            return
        self._chunks.append(data)
        self._ahead_bytes += len(data)
        self._news.set()
        if self._ahead_bytes > _MOST_AHEAD and not self._paused:
            self._paused = True
            self._channel.pause_reading()

    def eof_received(self) -> bool:
        self._eof.set()
        self._news.set()
        return True  # the other direction stays open

    def connection_lost(self, exc: Exception | None) -> None:
        for event in (self.gone, self._eof, self._news, self._free):
            event.set()

    def pause_writing(self) -> None:
        self._free.clear()

    def resume_writing(self) -> None:
        self._free.set()

    # ---- what we call

    @property
    def is_over(self) -> bool:
        """Whether the client is gone and its work done."""
        return self.gone.is_set() and (self.work is None or self.work.done())

    @property
    def command(self) -> str:
        """What the client asks for; empty for a shell."""
        return self._channel.get_command() or ""

    @property
    def protocol(self) -> str:
        """The version of git's protocol that the client would like (gitprotocol-v2, "SSH")."""
        return self._channel.get_environment_bytes().get(_PROTOCOL, b"").decode("ascii", "replace")

    async def read(self) -> bytes:
        """The next bytes; none: the client has sent everything, or nobody wants more."""
        while not self._chunks:
            if self._eof.is_set() or not self._wanted:
                return b""
            self._news.clear()
            await self._news.wait()
        chunk = self._chunks.popleft()
        self._ahead_bytes -= len(chunk)
        if self._ahead_bytes <= _MOST_AHEAD // 2:
            self._go_on()
        return chunk

    def _go_on(self) -> None:
        if self._paused and not self.gone.is_set():
            self._paused = False
            self._channel.resume_reading()

    def drop(self) -> None:
        """Nobody wants more: from now on what comes is forgotten."""
        self._wanted = False
        self._chunks.clear()
        self._news.set()
        self._go_on()

    async def quiet(self, limit_bytes: int, limit_s: float) -> None:
        """Wait until a client whose bytes are dropped has sent them: git looks at an answer only then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                seen = -1
                while seen != self._dropped_bytes <= limit_bytes:
                    seen = self._dropped_bytes
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._eof.wait(), _SILENCE_S)
                        return

    async def write(self, data: bytes) -> None:
        """Raises OSError when the client is gone."""
        self._channel.write(data)
        await self._free.wait()
        await self._flow.wait()

    async def write_all(self, chunks: AsyncGenerator[bytes]) -> None:
        """Until there are no more, or the client is gone; then the generator is cancelled wherever it is."""
        writing = asyncio.create_task(self._write_all(chunks))
        gone = asyncio.create_task(self.gone.wait())
        try:
            await asyncio.wait({writing, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            if not writing.done():
                writing.cancel()
        with suppress(asyncio.CancelledError, OSError):
            await writing

    async def _write_all(self, chunks: AsyncGenerator[bytes]) -> None:
        async with aclosing(chunks):
            async for chunk in chunks:
                await self.write(chunk)

    def complain(self, words: str) -> None:
        """A line on the client's stderr."""
        with suppress(OSError):
            self._channel.write_stderr(f"{words}\n".encode())

    def exit(self, code: int) -> None:
        """The command is over."""
        self._channel.exit(code)
