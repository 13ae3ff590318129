"""The newest part of a log, rendered into its page: all there is without scripts, else there at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hermes import logs
from hermes.removals import Data, sentence
from hermes.tables import Build, Rank, Removal
from hermes.threads import in_thread
from web.heads import Head, stage_heads
from web.lines import LineIndex
from web.outline import Outline, Seen
from web.rows import sgr_before
from web.screen import MOST_ROWS
from web.site import Site
from web.terminal import Span, render

SHOWN_BYTES = 1 << 16
_SHOWN_LINES = 400
_READ_WHOLE_BYTES = 4 << 20  # of a larger log the browser asks for the outline later
NOT_READ: dict[str, Any] = {"counts": {}, "diagnostics": [], "whole": False}


@dataclass(frozen=True)
class Excerpt:
    """Whole lines and what there is of the last; `numbers` are theirs, from 1, and go up."""

    lines: list[list[Span]]
    numbers: list[int]
    attempt: int
    left_out_bytes: int
    size_bytes: int
    problems: dict[str, Any]
    heads: list[Head]
    labels: list[tuple[int, int]] = field(
        default_factory=list
    )  # where all ranks are together: rank, its line
    removed: str = ""  # when, and why

    def heads_before(self, at: int) -> list[Head]:
        """Those between a line that is shown, by its place, and the one before it."""
        before = self.numbers[at - 1] if at else 0
        return [head for head in self.heads if before < head.first <= self.numbers[at]]

    @property
    def last_heads(self) -> list[Head]:
        """Those that no line follows."""
        last = self.numbers[-1] if self.numbers else 0
        return [head for head in self.heads if head.first > last]


def _as_drawn(seen: Seen, numbers: list[int], lines: list[list[Span]]) -> tuple[list[int], list[list[Span]]]:
    """Lines as they look in the end. If what is newest was drawn over earlier lines, these are shown, too."""
    hidden = [(head.first, head.last) for head in seen.heads if head.folded and head.last]
    first = numbers[0] if numbers else 0
    over = next((start for start, end in hidden if start <= first <= end), None)
    shown: dict[int, list[Span]] = {}
    if over:
        shown = {at: [] for at in sorted(seen.drawn) if over - MOST_ROWS <= at < over}
    shown |= {at: line for at, line in zip(numbers, lines, strict=True)}
    for start, end in hidden:
        for at in range(max(start, first), min(end, numbers[-1] if numbers else 0) + 1):
            shown.pop(at, None)
    for at in shown:
        if at in seen.drawn:
            shown[at] = render(seen.drawn[at])[0]
    return list(shown), list(shown.values())


def _tail(path: Path, index: LineIndex, outline: Outline, attempt: int) -> Excerpt:
    size = logs.size_bytes(path)
    start = max(0, size - SHOWN_BYTES)
    data = logs.read(path, start, size - start)
    lines = data.split(b"\n")
    if start:
        start += len(lines.pop(0)) + 1 if len(lines) > 1 else 0
    if len(lines) > _SHOWN_LINES + 1:
        start += sum(len(line) + 1 for line in lines[: -_SHOWN_LINES - 1])
        lines = lines[-_SHOWN_LINES - 1 :]
    shown = render(b"\n".join(lines).decode("utf-8", "replace"), sgr_before(path, start))
    shown = shown[:-1] if shown[-1] == [] else shown
    first = index.lines_before(start) + 1
    numbers = list(range(first, first + len(shown)))
    if size > _READ_WHOLE_BYTES:
        return Excerpt(shown, numbers, attempt, start, size, NOT_READ, stage_heads(path, index))
    seen = outline.look(index)
    numbers, shown = _as_drawn(seen, numbers, shown)
    return Excerpt(shown, numbers, attempt, start, size, seen.as_json(), seen.heads)


async def excerpt(site: Site, row: Build | Rank, removed: Mapping[Data, Removal]) -> Excerpt:
    """Of the newest attempt; empty if there was none, or if it was removed."""
    kind = row.__tablename__
    path = site.context.paths.log(kind, row.id, row.attempt)
    shown = await in_thread(_tail, path, site.line_indexes.of(path), site.outlines.of(path), row.attempt)
    gone = removed.get(Data.BUILD_LOGS if kind == "build" else Data.LOGS)
    return replace(shown, removed=sentence(gone)) if gone and not shown.size_bytes else shown
