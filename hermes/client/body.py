"""What a request carries: files and pipes, read as they are sent, in memory never whole."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

_PIECE = 1 << 18

Told = Callable[[int], None]


def _nobody(_count: int) -> None:
    """Nobody wants to know."""


class Body:
    """A binary file as the content of a request, for both clients; `told` hears of each piece, with `size` no
    more is read than that. With `size` it can be sent again."""

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


#: One field of a form: its name, and (its file's name, its content, its type).
Part = tuple[str, tuple[str | None, Body | bytes, str]]


class Form:
    """Fields and files as multipart/form-data (RFC 7578), read as they are sent."""

    def __init__(self, parts: Sequence[Part]) -> None:
        boundary = os.urandom(16).hex()
        self.media_type = f"multipart/form-data; boundary={boundary}"
        self._todo: list[Body | bytes] = []
        for name, (file, content, kind) in parts:
            named = f'; filename="{_quoted(file)}"' if file is not None else ""
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"{named}\r\n'
            self._todo += [f"{head}Content-Type: {kind}\r\n\r\n".encode(), content, b"\r\n"]
        self._todo.append(f"--{boundary}--\r\n".encode())
        sizes = [each.size if isinstance(each, Body) else len(each) for each in self._todo]
        known = [size for size in sizes if size is not None]
        self.size = sum(known) if len(known) == len(sizes) else None

    def read(self) -> bytes:
        """The next bytes; none at the end."""
        while self._todo:
            first = self._todo[0]
            if data := first.read() if isinstance(first, Body) else first:
                if not isinstance(first, Body):
                    self._todo[0] = b""
                return data
            del self._todo[0]
        return b""


Content = Body | Form | bytes | None


def _quoted(name: str) -> str:
    """As browsers write it (html.spec.whatwg.org: multipart/form-data encoding)."""
    return name.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")


def size_of(content: Content) -> int | None:
    """In bytes; None: nobody knows before its end."""
    return content.size if isinstance(content, Body | Form) else len(content or b"")


def pieces(content: Content) -> Iterator[bytes]:
    """All of it."""
    if isinstance(content, Body | Form):
        yield from iter(content.read, b"")
    elif content:
        yield content
