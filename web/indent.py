"""JSON with a line for each value: tokens stay as they were written, only the blanks between them change."""

import json
import re
from collections.abc import Iterator

READ_BYTES = 1 << 18
_MOST_INDENTED = 40
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)


def is_json(text: str) -> bool:
    """Whether it is, and is not nested beyond reason."""
    try:
        json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        return False
    return True


def indented(text: str, most_characters: int) -> str:
    """The start of a text that `is_json`, laid out."""
    parts, total = [], 0
    for part in _laid_out(text):
        parts.append(part)
        total += len(part)
        if total > most_characters:
            break
    return "".join(parts)


def _laid_out(text: str) -> Iterator[str]:
    depth, before = 0, ""
    for found in _TOKEN.finditer(text):
        token = found[0]
        if token in ("}", "]"):
            depth -= 1
            yield token if before in ("{", "[") else _line(depth) + token
        elif token in (",", ":"):
            yield "," if token == "," else ": "
        else:
            yield (_line(depth) if before in ("{", "[", ",") else "") + token
            depth += token in ("{", "[")
        before = token


def _line(depth: int) -> str:
    return "\n" + "  " * min(depth, _MOST_INDENTED)
