"""Bytes between a git program of ours, which has a socket, and git-upload-pack behind an SSH connection."""

import asyncio
import socket
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import asyncssh

from hermes.errors import HermesError, Unavailable
from hermes.tasks import end
from hermes.units import show_limit

_PIECE = 1 << 16
_SLOW_S, _LEAST_BYTES = 30.0, 30_000  # as for HTTPS (hooks.https): 1000 bytes a second for so long
_MOST_WORDS = 4096
_FLUSH = b"0000"  # of git's protocol: what was asked for is answered
_END_S = 5.0


class _Pace:
    """Whether the server is too slow. It is its turn from what we send until it has answered."""

    def __init__(self) -> None:
        self._ends, self._size, self._tail = 0.0, 0, b""
        self.sent()

    def sent(self) -> None:
        """It is asked for something now."""
        self._ends, self._size, self._tail = time.monotonic() + _SLOW_S, 0, b""

    def waited(self, duration_s: float) -> None:
        """For our own git, which is no fault of the server."""
        self._ends += duration_s

    async def read(self, stream: "asyncssh.SSHReader[bytes]") -> bytes:
        """What comes next. Raises Unavailable when it is too slow."""
        while True:
            try:
                async with asyncio.timeout(max(self._ends - time.monotonic(), 0.0)):
                    part = await stream.read(_PIECE)
            except TimeoutError:
                self._look()
                continue
            self._size += len(part)
            self._tail = (self._tail + part[-len(_FLUSH) :])[-len(_FLUSH) :]
            self._look()
            return part

    def _look(self) -> None:
        """At the end of each such time."""
        if time.monotonic() < self._ends:
            return
        if self._size < _LEAST_BYTES and self._tail != _FLUSH:
            raise Unavailable(f"it is too slow: {self._size} bytes in {show_limit(_SLOW_S)}")
        self._ends, self._size = time.monotonic() + _SLOW_S, 0


class Relay:
    """From `begin` to `end`. `failure`: of the connection, whatever git made of it."""

    def __init__(self, process: "asyncssh.SSHClientProcess[bytes]") -> None:
        self._process, self._pace = process, _Pace()
        self._tasks: list[asyncio.Task[None]] = []
        self._words = b""
        self.failure: HermesError | None = None

    @property
    def words(self) -> str:
        """What the server has said beside git's protocol, its end."""
        return self._words.decode("utf-8", "replace")

    async def begin(self) -> socket.socket:
        """What git gets; all that we do with it is closed when both are at their end."""
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        steps = (self._up(reader), self._down(writer), self._listen())
        self._tasks = [asyncio.create_task(self._watch(each, writer)) for each in steps]
        return theirs

    async def settle(self) -> None:
        """Git has ended: what the server still says of it, for a moment."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_END_S)

    async def end(self) -> None:
        """Nothing of it is left."""
        await end(*self._tasks)

    async def _watch(self, step: Coroutine[Any, Any, None], writer: asyncio.StreamWriter) -> None:
        """The first failure is the one that counts; git then finds its socket closed."""
        try:
            await step
        except HermesError as error:
            self._fail(error, writer)
        except asyncssh.Error as error:
            self._fail(Unavailable(f"the connection broke off: {error.reason[:200]}"), writer)
        except OSError:  # somebody has gone, and says why elsewhere
            writer.close()
        except asyncio.CancelledError:
            writer.close()
            raise

    def _fail(self, error: HermesError, writer: asyncio.StreamWriter) -> None:
        self.failure = self.failure or error
        writer.close()

    async def _up(self, reader: asyncio.StreamReader) -> None:
        stdin = self._process.stdin
        while part := await reader.read(_PIECE):
            self._pace.sent()
            stdin.write(part)
            await stdin.drain()
        stdin.write_eof()

    async def _down(self, writer: asyncio.StreamWriter) -> None:
        while part := await self._pace.read(self._process.stdout):
            began = time.monotonic()
            writer.write(part)
            await writer.drain()
            self._pace.waited(time.monotonic() - began)
        with suppress(OSError, RuntimeError):
            writer.write_eof()

    async def _listen(self) -> None:
        while part := await self._process.stderr.read(_PIECE):
            self._words = (self._words + part)[-_MOST_WORDS:]
