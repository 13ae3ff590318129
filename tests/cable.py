"""A line to a service that can be pulled out, that can go dead with both ends in it, and that can be slow."""

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.service import PATIENCE_S, free_port

End = Path | int  # a Unix socket, or a port of this machine

_LETS_IN = "_accept_connection2"  # asyncio's own task for it


class Cable:
    """Listens `here` and leads `there`; a `here` of 0 is any port, which it keeps when it is pulled out."""

    def __init__(self, here: End, there: End) -> None:
        self.here = here or free_port()  # the kernel gives it to nobody while it is not plugged in
        self._there = there
        self.delay_s = 0.0  # for each piece that comes through
        self.misheard: dict[bytes, bytes] = {}  # what is said there, and what comes here; of the same length
        self._loop = asyncio.new_event_loop()
        self._flows = asyncio.Event()
        self._flows.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._is_plugged_in = False
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def plug_in(self) -> None:
        """From now on the other end answers."""
        self._do(self._open())

    def pull_out(self) -> None:
        """Cut every connection and answer nobody."""
        self._do(self._close())

    def hang(self) -> None:
        """Who is connected and who connects hears nothing any more, not even an end."""
        self._loop.call_soon_threadsafe(self._flows.clear)

    def go_on(self) -> None:
        """What was said meanwhile comes through."""
        self._loop.call_soon_threadsafe(self._flows.set)

    def end(self) -> None:
        """Nobody needs it any more."""
        self.go_on()
        self.pull_out()
        self._do(end_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    async def _open(self) -> None:
        self._is_plugged_in = True
        if isinstance(self.here, Path):
            self.here.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._serve, str(self.here))
        else:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.here)

    async def _close(self) -> None:
        self._is_plugged_in = False
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0.1)
        if isinstance(self.here, Path):
            self.here.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._is_plugged_in:  # it was accepted a moment before
            return writer.transport.abort()
        ends = [writer]
        self._writers.add(writer)
        try:
            with suppress(OSError):
                there_reader, there_writer = await _connect(self._there)
                ends.append(there_writer)
                self._writers.add(there_writer)
                answers = self._copy(there_reader, writer, self.misheard)
                await asyncio.gather(self._copy(reader, there_writer, {}), answers)
        finally:  # also when all of it ends now
            for each in ends:
                self._writers.discard(each)
                each.transport.abort()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, misheard: dict[bytes, bytes]
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                await self._flows.wait()
                await asyncio.sleep(self.delay_s)
                for said, heard in misheard.items():
                    data = data.replace(said, heard)
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()


async def all_are_in() -> None:
    """Who is let in at this moment has come in: nobody closes half a connection."""
    while any(getattr(each.get_coro(), "__name__", "") == _LETS_IN for each in asyncio.all_tasks()):
        await asyncio.sleep(0)
    await asyncio.sleep(0)  # who answers them has begun


async def end_all() -> None:
    """Whatever is at work in this loop."""
    await all_are_in()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for each in tasks:
        each.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _connect(end: End) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(end, Path):
        return await asyncio.open_unix_connection(str(end))
    return await asyncio.open_connection("127.0.0.1", end)
