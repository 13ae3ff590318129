"""`…/log/search`: the lines of a whole log that hold some text or match a regular expression.

RE2 does it: linear in the log whatever the expression, so no pattern of a stranger can hold the server."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import re2

from hermes import logs
from hermes.errors import UserError
from web.terminal import without_escapes

MOST_LINES = 10_000
LIMIT_S = 5.0
_MOST_PATTERN = 500
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Found:
    """`lines` (from 0) are the first that match, `count` all of them; `whole`: time was enough for all."""

    lines: list[int]
    count: int
    whole: bool
    took_s: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Line numbers as people count them, from 1."""
        return {"lines": [line + 1 for line in self.lines], "count": self.count, "whole": self.whole}


def pattern_of(words: str, is_regex: bool, match_case: bool) -> Any:
    """Compiled. Raises UserError when it is not an expression that RE2 knows."""
    if not words or len(words) > _MOST_PATTERN:
        raise UserError("there is nothing to search for", f"write 1 to {_MOST_PATTERN} characters")
    options = re2.Options()
    options.case_sensitive = match_case
    options.log_errors = False
    options.max_mem = 8 << 20
    try:
        return re2.compile(f"(?m:{words})" if is_regex else re2.escape(words), options=options)
    except re2.error as error:
        told = error.args[0].decode("utf-8", "replace") if error.args else "it is not a regular expression"
        hint = "https://github.com/google/re2/wiki/Syntax"
        raise UserError(f"this expression cannot be used: {told}", hint) from None


def search(path: Path, pattern: Any, limit_s: float = LIMIT_S) -> Found:
    """All lines of a log that match, colours left out. Blocks, without holding other threads."""
    began = time.monotonic()
    until = began + limit_s
    found: list[int] = []
    offset = line = count = 0
    rest = b""
    while data := logs.read(path, offset, _CHUNK_BYTES):
        offset += len(data)
        data = rest + data
        end = data.rfind(b"\n") + 1
        if not end and len(data) < 4 * _CHUNK_BYTES:
            rest = data
            continue
        end = end or len(data)
        rest = data[end:]
        matched = _matches(pattern, data[:end])
        count += len(matched)
        found += [line + at for at in matched[: MOST_LINES - len(found)]]
        line += data.count(b"\n", 0, end)
        if time.monotonic() > until:
            return Found(found, count, False, time.monotonic() - began)
    matched = _matches(pattern, rest)
    found += [line + at for at in matched[: MOST_LINES - len(found)]]
    return Found(found, count + len(matched), True, time.monotonic() - began)


def _matches(pattern: Any, data: bytes) -> list[int]:
    """The numbers of the lines in `data` that match."""
    data = without_escapes(data)
    lines: list[int] = []
    line = counted = 0
    for match in pattern.finditer(data):
        line += data.count(b"\n", counted, match.start())
        counted = match.start()
        if match.start() < len(data) and (not lines or lines[-1] != line):
            lines.append(line)
    return lines
