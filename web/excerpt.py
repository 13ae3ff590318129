"""The newest part of a log, rendered into its page, and the position from which the browser goes on."""

from dataclasses import dataclass
from pathlib import Path

from hermes import logs
from hermes.process import Context
from hermes.tables import Build, Rank
from hermes.threads import in_thread
from web.terminal import Screen, Span

SHOWN_BYTES = 1 << 16


@dataclass(frozen=True)
class Excerpt:
    """`after` is `<attempt>.<offset>`: every byte before it is in `lines` (or left out above them)."""

    lines: list[list[Span]]
    style: str
    after: str
    left_out_bytes: int
    size_bytes: int


def _tail(path: Path) -> tuple[int, bytes]:
    """The last bytes, from a line start if there is one, without a character that is cut at their end."""
    start = max(0, logs.size_bytes(path) - SHOWN_BYTES)
    data = logs.read(path, start, SHOWN_BYTES)
    if start:
        skipped = data.find(b"\n") + 1
        start, data = start + skipped, data[skipped:]
    held = 0
    if logs.end_offset(path) is None:
        held = _incomplete(data)
    return start, data[: len(data) - held]


def _incomplete(data: bytes) -> int:
    """How many bytes at the end belong to a character, an escape or a line end that is not whole yet."""
    if data.endswith(b"\r"):
        return 1
    escape = data.rfind(b"\x1b", -32)
    if escape >= 0 and not any(0x40 <= byte <= 0x7E and byte != 0x5B for byte in data[escape + 1 :]):
        return len(data) - escape
    for back in range(1, min(4, len(data) + 1)):
        byte = data[-back]
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return back if needed > back else 0
        if byte < 0x80:
            return 0
    return 0


async def excerpt(context: Context, row: Build | Rank) -> Excerpt:
    """Of the newest attempt; empty if there was none."""
    path = context.paths.log(row.__tablename__, row.id, row.attempt)
    start, data = await in_thread(_tail, path)
    screen = Screen()
    screen.feed(data.decode("utf-8", "replace"))
    end = start + len(data)
    return Excerpt(screen.lines, screen.style, f"{row.attempt}.{end}", start, end)
