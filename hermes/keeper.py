"""Keeps what running containers print while no runner reads it: a runner that is killed loses no byte.

A process of its own (`python -m hermes.keeper SOCKET`, standard library only), started by a runner and
outliving it. It stands between the engine and the runner: attaches to a container, hands its output on, and
holds each piece until the runner says that it is in the log. A runner that comes back says how much its log
has, and goes on there. While nobody reads, 1 MiB is held; then the program waits in its `write`.

A connection begins with one line, `attach CONTAINER ENGINE_SOCKET`, `resume CONTAINER STDOUT STDERR` (bytes
of each that are in the log) or `stay`, answered by `ok STDOUT STDERR` (bytes that are not held any more) or
`no WHY`. Then come frames as the engine sends them (docs.docker.com/reference/api/engine: attach), one of
stream 255 at the end, and for what is in the log, 4 bytes with its length go back; all ones for what nobody
will ask for again. Who stays sends a byte when it ends in good order. The keeper ends with it, or when for a
while no runner stays and nothing is held."""

import asyncio
import os
import socket
import struct
import sys
from collections import deque
from contextlib import suppress
from itertools import islice

HOLD_BYTES = 1 << 20
HEADER = struct.Struct(">BxxxL")  # stream, length
ACK = struct.Struct("<L")
FORGET = 0xFFFFFFFF  # as a length
END = 255  # as a stream: all was handed on; without it the connection broke
_IDLE_S, _LOOK_S = 2.0, 0.25
_UNCLAIMED_S = 3600.0  # how long the end of a container is kept for a runner that does not come


class Output:
    """What one container prints: the pieces that are held, and how much of each stream the log has."""

    def __init__(self) -> None:
        self.logged = {1: 0, 2: 0}
        self.is_over = asyncio.Event()  # it has ended, and the log has all of it
        self._held: deque[tuple[int, bytes]] = deque()
        self._held_bytes = self._sent = 0  # `_sent` pieces of the held ones went to the runner that reads now
        self._ended = self._forgotten = False
        self._changed = asyncio.Condition()
        self._client: asyncio.StreamWriter | None = None

    async def drain(self, engine: asyncio.StreamReader) -> None:
        """Take everything from the engine until its end."""
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                stream, length = HEADER.unpack(await engine.readexactly(HEADER.size))
                data = await engine.readexactly(length)
                async with self._changed:
                    await self._changed.wait_for(lambda: self._held_bytes < HOLD_BYTES)
                    if not self._forgotten:
                        self._held.append((stream, data))
                        self._held_bytes += len(data)
                        self._changed.notify_all()
        async with self._changed:
            self._ended = True
            self._settle()

    async def hand_on(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        """To one runner, until the end or until it goes; whoever had it before is cut off."""
        async with self._changed:
            if self._client is not None:
                self._client.close()
            self._client, self._sent = client, 0
            self._changed.notify_all()
        listening = asyncio.create_task(self._listen(reader))
        try:
            while pieces := await self._fresh(client):
                client.writelines(HEADER.pack(stream, len(data)) + data for stream, data in pieces)
                await client.drain()
            if self._client is client:
                client.write(HEADER.pack(END, 0))
                await client.drain()
                await listening
        finally:
            listening.cancel()

    async def _fresh(self, client: asyncio.StreamWriter) -> list[tuple[int, bytes]]:
        """What this runner does not have yet; empty at the end, and when it is another's turn."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._client is not client or self._sent < len(self._held) or self._ended
            )
            if self._client is not client:
                return []
            fresh = list(islice(self._held, self._sent, None))
            self._sent = len(self._held)
            return fresh

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        """What the runner has written to the log is not held any longer."""
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                (size,) = ACK.unpack(await reader.readexactly(ACK.size))
                async with self._changed:
                    self._forget(size)
                    self._settle()

    def _forget(self, size_bytes: int) -> None:
        self._forgotten |= size_bytes == FORGET
        size_bytes = min(size_bytes, self._held_bytes)
        self._held_bytes -= size_bytes
        while size_bytes:
            stream, data = self._held.popleft()
            gone = min(size_bytes, len(data))
            self.logged[stream] = self.logged.get(stream, 0) + gone
            size_bytes -= gone
            if gone < len(data):
                self._held.appendleft((stream, data[gone:]))
            else:
                self._sent -= 1

    def skip(self, seen: dict[int, int]) -> None:
        """The log has so much of each stream: what was written but not said is not sent again."""
        left = {stream: count - self.logged.get(stream, 0) for stream, count in seen.items()}
        kept: deque[tuple[int, bytes]] = deque()
        for stream, data in self._held:
            gone = min(max(left.get(stream, 0), 0), len(data))
            left[stream] = left.get(stream, 0) - gone
            self.logged[stream] = self.logged.get(stream, 0) + gone
            self._held_bytes -= gone
            if gone < len(data):
                kept.append((stream, data[gone:]))
        self._held = kept

    def _settle(self) -> None:
        if self._ended and not self._held:
            self.is_over.set()
        self._changed.notify_all()


class Keeper:
    """All containers of one runner."""

    def __init__(self) -> None:
        self._outputs: dict[str, Output] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._runners = 0
        self._is_over = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a runner."""
        try:
            word, *rest = (await reader.readuntil()).decode().split()
            if word == "stay":
                await self._stay(reader, writer)
            else:
                output = await self._output(word, rest)
                writer.write(f"ok {output.logged[1]} {output.logged[2]}\n".encode())
                await output.hand_on(reader, writer)
        except asyncio.CancelledError:  # we end
            return
        except (OSError, ValueError, LookupError, asyncio.IncompleteReadError) as error:
            with suppress(OSError):
                writer.write(f"no {error}\n".encode())
        finally:
            writer.close()

    async def _stay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._runners += 1
        writer.write(b"ok 0 0\n")
        try:
            said = await reader.read(1)
            while said and self._outputs:  # a runner that ends in good order waits for us
                await asyncio.sleep(0.01)
            if said and self._runners == 1:  # the next runner may be there already
                self._is_over.set()
                await reader.read()
        finally:
            self._runners -= 1

    async def _output(self, word: str, rest: list[str]) -> Output:
        if word == "resume":
            container, stdout, stderr = rest
            known = self._outputs[container]
            known.skip({1: int(stdout), 2: int(stderr)})
            return known
        container, engine = rest
        source = await _attach(engine, container)
        output = self._outputs[container] = Output()
        task = asyncio.create_task(self._keep(container, output, *source))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return output

    async def _keep(
        self, container: str, output: Output, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await output.drain(reader)
        writer.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(output.is_over.wait(), _UNCLAIMED_S)
        del self._outputs[container]

    async def until_idle(self) -> None:
        """Returns when a runner says so, or when for a while none stayed and nothing was held."""
        idle_s = 0.0
        while idle_s < _IDLE_S and not self._is_over.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._is_over.wait(), _LOOK_S)
            idle_s = 0.0 if self._runners or self._outputs else idle_s + _LOOK_S


async def _attach(engine: str, container: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Raises OSError when the engine is away, ValueError when it refuses."""
    reader, writer = await asyncio.open_unix_connection(engine)
    writer.write(
        f"POST /containers/{container}/attach?stream=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: engine\r\n"
        "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    if head.split(None, 2)[1] not in (b"101", b"200"):
        writer.close()
        raise ValueError(f"the engine refused: {head[:80]!r}")
    return reader, writer


async def main(listener: socket.socket) -> None:
    """Serve until nobody needs it."""
    keeper = Keeper()
    server = await asyncio.start_unix_server(keeper.serve, sock=listener)
    await keeper.until_idle()
    server.close()


def listen(path: str) -> socket.socket:
    """In the place of whoever listened there before."""
    fresh = f"{path}.{os.getpid()}"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(fresh)
    os.chmod(fresh, 0o600)
    listener.listen(256)
    os.rename(fresh, path)
    return listener


if __name__ == "__main__":
    _listener = listen(sys.argv[1])
    if os.fork():
        os._exit(0)  # it can be asked now, and is nobody's child
    os.setsid()  # what ends the runner's group does not end it
    asyncio.run(main(_listener))
