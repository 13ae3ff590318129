"""One range of bytes, as `Range: bytes=100-200` asks for it, of logs and of files alike."""

import re

from starlette.responses import JSONResponse, Response

_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})", re.ASCII)


class OutOfRange(ValueError):
    """A range that begins after the end."""


def parse_range(header: str, size: int) -> tuple[int, int] | None:
    """The first byte and the one after the last. None: not one range, so all is sent. Raises OutOfRange."""
    match = _RANGE.fullmatch(header.strip())
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        start, end = max(0, size - int(match[2])), size
    else:
        start, end = int(match[1]), min(int(match[2]) + 1, size) if match[2] else size
        if match[2] and int(match[2]) < start:
            return None
    if start >= end:
        raise OutOfRange
    return start, end


def no_such_range(size_bytes: int) -> Response:
    """416, in the shape of all errors."""
    words = f"it has {size_bytes} bytes, and the range that you ask for begins after them"
    error = {"code": "no_such_range", "message": words, "hint": "ask for less, or for all of it"}
    return JSONResponse({"error": error}, 416, {"Content-Range": f"bytes */{size_bytes}"})
