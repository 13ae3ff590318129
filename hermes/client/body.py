"""What a request carries: files and pipes, read as they are sent, in memory never whole."""

from collections.abc import AsyncIterator, Callable
from typing import Any

_PIECE = 1 << 18

Told = Callable[[int], None]


def _nobody(_count: int) -> None:
    """Nobody wants to know."""


class Body:
    """A binary file as the content of a request, for both clients; `told` hears of each piece, with `size` no
    more is read than that. It is no file to httpx, which takes the size of a pipe (0) for its length."""

    def __init__(self, source: Any, told: Told = _nobody, size: int | None = None) -> None:
        self.source, self.told, self.size = source, told, size
        self._start = source.tell() if size is not None else 0
        self._left = size

    def read(self, size: int = _PIECE) -> bytes:
        """The next bytes; none at the end. Of a pipe what is there now."""
        most = _PIECE if self._left is None else min(_PIECE, self._left)
        read = getattr(self.source, "read1", self.source.read)
        data: bytes = read(most) if most else b""
        if self._left is not None:
            self._left -= len(data)
        self.told(len(data))
        return data

    def rewind(self) -> None:
        """To where it began; only with a `size`."""
        self.source.seek(self._start)
        self._left = self.size


def pieces(content: Body | bytes | None) -> Any:
    """As the client that waits takes it."""
    return iter(content.read, b"") if isinstance(content, Body) else content


def apieces(content: Body | bytes | None) -> Any:
    """As the client that does not wait takes it: read in threads."""
    return _in_threads(content) if isinstance(content, Body) else content


async def _in_threads(body: Body) -> AsyncIterator[bytes]:
    import asyncio  # 8 ms, which the other client does not need

    while data := await asyncio.to_thread(body.read):
        yield data
