"""PPM, PGM and PBM (P1 to P6, also 16 bit) as PNG, row by row: a large picture never lies in memory.

Formats: https://netpbm.sourceforge.net/doc/ppm.html, https://www.w3.org/TR/png-3/."""

import io
import re
import struct
import zlib
from array import array
from collections.abc import Generator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

from hermes.errors import UserError

_MAX_SIDE = 32_768
_MAX_PIXELS = 1 << 24
_MAX_DECIMAL_BYTES = 4 << 20  # P1 to P3 are parsed as a whole
_HEAD_BYTES = 4096
_CHUNK_BYTES = 1 << 16
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY, _COLOURS = 0, 2  # PNG's colour types
_TOKEN = re.compile(rb"(?:\s|#[^\r\n]*[\r\n])*([0-9]{1,9})")
_COMMENT = re.compile(rb"#[^\r\n]*")


class NotAPicture(UserError):
    """The file claims to be one, and cannot be shown."""

    code = "not_a_picture"
    status = 422


@dataclass(frozen=True)
class Picture:
    """What the header says. `starts_at` is where the samples are; `form` is 1 to 6 as in `P6`."""

    form: int
    width: int
    height: int
    top: int  # the value that stands for white
    starts_at: int

    @property
    def is_decimal(self) -> bool:
        """Whether samples are written as numbers."""
        return self.form < 4

    @property
    def is_bitmap(self) -> bool:
        """Black and white, eight pixels in a byte, and 1 is black."""
        return self.form in (1, 4)

    @property
    def is_coloured(self) -> bool:
        """Three samples for a pixel."""
        return self.form in (3, 6)

    @property
    def row_samples(self) -> int:
        """Of one row."""
        return self.width * (3 if self.is_coloured else 1)

    @property
    def depth_bits(self) -> int:
        """Of a sample."""
        if self.is_bitmap:
            return 1
        return 8 if self.top < 256 else 16

    @property
    def row_bytes(self) -> int:
        """Of one row, as PNG and the binary forms have it."""
        return -(-self.row_samples * self.depth_bits // 8)


def read_head(head: bytes, size_bytes: int) -> Picture:
    """From the start of a file of that size. Raises NotAPicture: a header is believed only as far as there
    are bytes to show for it."""
    form, at, words = int(head[1:2]), 2, []
    for _ in range(2 if form in (1, 4) else 3):
        found = _TOKEN.match(head, at)
        if found is None:
            raise NotAPicture("the header of the picture cannot be read")
        words.append(int(found[1]))
        at = found.end()
    width, height, top = (*words, 1)[:3]
    if not 0 < width <= _MAX_SIDE or not 0 < height <= _MAX_SIDE or width * height > _MAX_PIXELS:
        raise NotAPicture(f"the picture claims {width} × {height} pixels, too many to show", "download it")
    if not 0 < top < 65536:
        raise NotAPicture(f"the picture has the highest value {top}; it can be 1 to 65535")
    picture = Picture(form, width, height, top, at + 1)
    least_bytes = height * (picture.row_samples if picture.is_decimal else picture.row_bytes)
    if size_bytes - picture.starts_at < least_bytes:
        raise NotAPicture(f"the picture claims {width} × {height} pixels and ends before them")
    if picture.is_decimal and size_bytes > _MAX_DECIMAL_BYTES:
        raise NotAPicture("a picture in decimal numbers can be shown up to 4 MiB", "write P4, P5 or P6")
    return picture


def open_picture(path: Path) -> Generator[bytes]:
    """The PNG in pieces. Raises NotAPicture before the first, OSError when the file is not there."""
    file = path.open("rb")
    try:
        head = file.read(_HEAD_BYTES)
        picture = read_head(head, path.stat().st_size)
        file.seek(picture.starts_at)
        source: IO[bytes] = io.BytesIO(_from_decimal(picture, file.read())) if picture.is_decimal else file
    except BaseException:
        file.close()
        raise
    return _png(picture, source, file)


def _from_decimal(picture: Picture, text: bytes) -> bytes:
    """The samples as the binary form of the same picture has them."""
    text, count = _COMMENT.sub(b"", text), picture.row_samples * picture.height
    if picture.is_bitmap:
        return _from_digits(picture, text)
    try:
        values = [int(word) for word in text.split(None, count)[:count]]
        samples = array("H" if picture.depth_bits == 16 else "B", values)
    except (ValueError, OverflowError):
        raise NotAPicture("the picture has a sample that is not a number of its range") from None
    if len(values) < count:
        raise NotAPicture(f"the picture has {len(values)} samples, and its header says {count}")
    if samples.itemsize == 2:
        samples.byteswap()  # our machines begin with the low byte, netpbm with the high one
    return samples.tobytes()


def _from_digits(picture: Picture, text: bytes) -> bytes:
    """P1 needs no blanks between its samples."""
    digits = b"".join(text.split())
    count = picture.width * picture.height
    if len(digits) < count or digits[:count].strip(b"01"):
        raise NotAPicture("the picture has fewer samples than its header says, or others than 0 and 1")
    rows = (digits[at : at + picture.width] for at in range(0, count, picture.width))
    wide = picture.row_bytes * 8
    return b"".join(int(row.ljust(wide, b"0"), 2).to_bytes(picture.row_bytes, "big") for row in rows)


def _png(picture: Picture, source: IO[bytes], file: IO[bytes]) -> Generator[bytes]:
    with file:
        colour = _COLOURS if picture.is_coloured else _GRAY
        head = struct.pack(">IIBBBBB", picture.width, picture.height, picture.depth_bits, colour, 0, 0, 0)
        yield _SIGNATURE + _chunk(b"IHDR", head)
        deflate, ready = zlib.compressobj(level=1), bytearray()
        rows_at_once = max(_CHUNK_BYTES // picture.row_bytes, 1)
        for at in range(0, picture.height, rows_at_once):
            rows = min(rows_at_once, picture.height - at)
            samples = _scaled(picture, source.read(rows * picture.row_bytes))
            parts = (samples[i : i + picture.row_bytes] for i in range(0, len(samples), picture.row_bytes))
            ready += deflate.compress(b"".join(b"\0" + row for row in parts))  # 0: a row without a filter
            yield _chunk(b"IDAT", bytes(ready)) if len(ready) >= _CHUNK_BYTES else b""
            if len(ready) >= _CHUNK_BYTES:
                ready.clear()
        yield _chunk(b"IDAT", bytes(ready) + deflate.flush()) + _chunk(b"IEND", b"")


def _scaled(picture: Picture, samples: bytes) -> bytes:
    """What PNG means by them: white is all ones."""
    if picture.is_bitmap:
        return samples.translate(bytes(255 - value for value in range(256)))
    if picture.top in (255, 65535):
        return samples
    top = picture.top
    if picture.depth_bits == 8:
        return samples.translate(bytes(min(value, top) * 255 // top for value in range(256)))
    return array("H", map(_table(top).__getitem__, array("H", samples))).tobytes()


@lru_cache(maxsize=4)
def _table(top: int) -> list[int]:
    """What becomes of each 16-bit sample, both with their bytes as this machine reads them."""
    scaled = array("H", [min(value, top) * 65535 // top for value in range(65536)])
    scaled.byteswap()
    swapped = array("H", range(65536))
    swapped.byteswap()
    return [scaled[value] for value in swapped]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
