"""In which forms a secret is looked for in what a program prints: as it is, and in the usual encodings."""

import base64
import json
import re
import shlex
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

LEAST_BYTES = 8  # what is shorter is found everywhere
_WIDTHS = (76, 64, 60)  # of the lines that `base64`, Python, `openssl` and `xxd` write


def forms_of(values: Iterable[str]) -> set[bytes]:
    """All that is to be masked; nothing shorter than LEAST_BYTES."""
    return {form for value in values for form in _forms(value) if len(form) >= LEAST_BYTES}


def longest_line(value: str) -> int:
    """In bytes: what a secret is found by when a program prints it line by line."""
    return max((len(line.encode()) for line in _lines(value)), default=0)


def _lines(value: str) -> list[str]:
    return [line.strip() for line in value.splitlines()]


def _forms(value: str) -> Iterator[bytes]:
    raw = value.encode()
    for text in {value, *_lines(value), value.replace("\n", "\r\n")}:
        yield text.encode()
        yield from (each.encode() for each in _escaped(text))
    yield from _as_base64(raw)
    for digits in (raw.hex(), raw.hex().upper()):
        yield digits.encode()
        yield from _in_lines(digits)


def _escaped(text: str) -> Iterator[str]:
    """As in JSON, in an address, in Python's and in a shell's words."""
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    yield repr(text)[1:-1]
    yield shlex.quote(text).removeprefix("'").removesuffix("'")
    yield text.replace("'", "'\\''")
    yield re.sub(r"([^\w@%+=:,./\n-])", r"\\\1", text)
    for encoded in (quote(text, safe=""), quote(text), quote_plus(text)):
        yield encoded
        yield re.sub(r"%..", lambda match: match[0].lower(), encoded)


def _as_base64(raw: bytes) -> Iterator[bytes]:
    """Wherever it lies in what was encoded: without the characters that its neighbours have a part in."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + raw)
        own = encoded[(8 * before + 5) // 6 : 8 * (before + len(raw)) // 6]
        yield own
        yield own.translate(bytes.maketrans(b"+/", b"-_"))
    yield from _in_lines(base64.b64encode(raw)[: 8 * len(raw) // 6].decode())


def _in_lines(encoded: str) -> Iterator[bytes]:
    """Encoded alone, in lines as programs break them."""
    for width in _WIDTHS:
        if len(encoded) > width:
            yield from (encoded[at : at + width].encode() for at in range(0, len(encoded), width))
