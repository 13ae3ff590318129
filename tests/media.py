"""Files that programs write, made from nothing: pictures, sounds, tables, documents."""

import io
import struct
import wave
import zlib


def png(width: int = 8, height: int = 8) -> bytes:
    """A grey one."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x80" * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def unpack_png(data: bytes) -> tuple[int, int, int, int, bytes]:
    """Width, height, bits, colour type, and the samples of a PNG without filters. Checks every chunk."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    at, head, packed = 8, b"", b""
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + body)
        head, packed = (body if kind == b"IHDR" else head), packed + (body if kind == b"IDAT" else b"")
        at += 12 + length
    width, height, bits, colour = struct.unpack(">IIBB", head[:10])
    row_bytes = -(-width * bits * (3 if colour == 2 else 1) // 8)
    rows = zlib.decompress(packed)
    assert len(rows) == height * (row_bytes + 1) and set(rows[:: row_bytes + 1]) == {0}
    samples = b"".join(rows[i + 1 : i + 1 + row_bytes] for i in range(0, len(rows), row_bytes + 1))
    return width, height, bits, colour, samples


def wav(seconds: float = 0.25) -> bytes:
    """A buzz."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes((b"\0\x10" * 20 + b"\0\xf0" * 20) * int(200 * seconds))
    return buffer.getvalue()


PDF = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>endobj
4 0 obj<</Length 44>>stream
BT /F1 24 Tf 50 100 Td (Hello PDF) Tj ET   
endstream endobj
5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj
trailer<</Root 1 0 R>>
"""
