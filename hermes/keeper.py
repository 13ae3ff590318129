"""Keeps what running containers print while no runner reads it: a runner that is killed loses no byte.

A process of its own (`python -m hermes.keeper SOCKET`, standard library only), started by a runner and
outliving it. It stands between the engine and the runner: attaches to a container, hands its output on, and
holds each piece until the runner says that it is in the log. A runner that comes back says how much its log
has, and goes on there. While nobody reads, 1 MiB is held; then the program waits in its `write`.

A connection begins with one line, `attach CONTAINER ENGINE_SOCKET SIZE` (and so many bytes: a JSON array of
secrets; whatever runner comes gets the output without them), `resume CONTAINER STDOUT STDERR` (bytes of each
that are in the log) or `stay`, answered by `ok STDOUT STDERR` (bytes that are not held any more) or `no WHY`.
Then come frames as the engine sends them (docs.docker.com/reference/api/engine: attach), one of
stream 255 at the end, and for what is in the log, 4 bytes with its length go back; all ones for what nobody
will ask for again. Who stays sends a byte when it ends in good order. The keeper ends with it, or when for a
while no runner stays and nothing is held."""

import asyncio
import json
import os
import socket
import sys
from contextlib import suppress

from hermes.held import Output

_IDLE_S, _LOOK_S = 2.0, 0.25
_UNCLAIMED_S = 3600.0  # how long the end of a container is kept for a runner that does not come
_UNREAD_S = 60.0  # … and for one that is there: it takes what it goes on with as soon as it starts
_TURN_S = 1.0


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
                output = await self._output(word, rest, reader)
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
            while said and any(each.has_reader for each in self._outputs.values()):  # it waits for us
                await asyncio.sleep(0.01)
            if said and self._runners == 1:  # the next runner may be there already
                self._is_over.set()
                await reader.read()
        finally:
            self._runners -= 1

    async def _output(self, word: str, rest: list[str], reader: asyncio.StreamReader) -> Output:
        if word == "resume":
            container, stdout, stderr = rest
            known = self._outputs[container]
            known.skip({1: int(stdout), 2: int(stderr)})
            return known
        container, engine, size_bytes = rest
        secrets = json.loads(await reader.readexactly(int(size_bytes)))
        source = await _attach(engine, container)
        output = self._outputs[container] = Output(secrets)
        task = asyncio.create_task(self._keep(container, output, *source))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return output

    async def _keep(
        self, container: str, output: Output, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await output.drain(reader)
        writer.close()
        alone_s = unread_s = 0.0
        while not output.is_over.is_set() and alone_s < _UNCLAIMED_S and unread_s < _UNREAD_S:
            with suppress(TimeoutError):
                await asyncio.wait_for(output.is_over.wait(), _TURN_S)
            alone_s = 0.0 if output.has_reader else alone_s + _TURN_S
            unread_s = unread_s + _TURN_S if self._runners and not output.has_reader else 0.0
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
