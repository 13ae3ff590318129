"""What one container prints, while no log has it yet: masked, held, handed to the runner that reads now.

Part of the keeper (hermes.keeper): standard library only."""

import asyncio
import struct
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice

from hermes.masking import REST_S, Masker

HOLD_BYTES = 1 << 20
HEADER = struct.Struct(">BxxxL")  # stream, length
ACK = struct.Struct("<L")
FORGET = 0xFFFFFFFF  # as a length
END = 255  # as a stream: all was handed on; without it the connection broke


class Output:
    """What one container prints: the pieces that are held, and how much of each stream the log has."""

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        self.logged = {1: 0, 2: 0}
        self._maskers = {stream: Masker(secrets) for stream in (1, 2) if secrets}
        self.is_over = asyncio.Event()  # it has ended, and the log has all of it
        self._held: deque[tuple[int, bytes]] = deque()
        self._held_bytes = self._sent = 0  # `_sent` pieces of the held ones went to the runner that reads now
        self._ended = self._forgotten = False
        self._changed = asyncio.Condition()
        self._client: asyncio.StreamWriter | None = None

    @property
    def has_reader(self) -> bool:
        """Whether a runner takes it now."""
        return self._client is not None and not self._client.is_closing()

    async def drain(self, engine: asyncio.StreamReader) -> None:
        """Take everything from the engine until its end."""
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                stream, length = HEADER.unpack(await self._header(engine))
                data = await engine.readexactly(length)
                masker = self._maskers.get(stream)
                await self._hold(stream, masker.feed(data) if masker else data)
        for stream, masker in self._maskers.items():
            await self._hold(stream, masker.end())
        async with self._changed:
            self._ended = True
            self._settle()

    async def _header(self, engine: asyncio.StreamReader) -> bytes:
        """Of what comes next. While nothing comes, what a masker may show is handed on."""
        if not any(masker.may_show_at_rest for masker in self._maskers.values()):
            return await engine.readexactly(HEADER.size)
        coming = asyncio.ensure_future(engine.readexactly(HEADER.size))
        try:
            await asyncio.wait((coming,), timeout=REST_S)
            if not coming.done():
                for stream, masker in self._maskers.items():
                    await self._hold(stream, masker.rest())
            return await coming
        finally:
            coming.cancel()

    async def _hold(self, stream: int, data: bytes) -> None:
        if not data:
            return
        async with self._changed:
            await self._changed.wait_for(lambda: self._held_bytes < HOLD_BYTES)
            if not self._forgotten:
                self._held.append((stream, data))
                self._held_bytes += len(data)
                self._changed.notify_all()

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
