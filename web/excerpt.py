"""The newest part of a log, rendered into its page: all there is without scripts, else there at once."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hermes import logs
from hermes.tables import Build, Rank
from hermes.threads import in_thread
from web.heads import Head, stage_heads
from web.lines import LineIndex
from web.outline import Outline
from web.rows import sgr_before
from web.site import Site
from web.terminal import Span, render

SHOWN_BYTES = 1 << 16
_SHOWN_LINES = 400
_READ_WHOLE_BYTES = 4 << 20  # of a larger log the browser asks for the outline later
NOT_READ: dict[str, Any] = {"counts": {}, "diagnostics": []}


@dataclass(frozen=True)
class Excerpt:
    """Whole lines and what there is of the last; `first` is the number of the first, from 1."""

    lines: list[list[Span]]
    first: int
    attempt: int
    left_out_bytes: int
    size_bytes: int
    problems: dict[str, Any]
    heads: list[Head]
    labels: list[tuple[int, int]] = field(
        default_factory=list
    )  # where all ranks are together: rank, its line

    def heads_at(self, line: int) -> list[Head]:
        """Those before a line that is shown; before the first also those of lines that are left out."""
        return [head for head in self.heads if max(head.first, self.first) == line]

    @property
    def last_heads(self) -> list[Head]:
        """Those that no line follows."""
        return [head for head in self.heads if head.first >= self.first + len(self.lines)]


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
    first = index.lines_before(start) + 1
    problems = outline.as_json(index) if size <= _READ_WHOLE_BYTES else NOT_READ
    lines_shown = shown[:-1] if shown[-1] == [] else shown
    return Excerpt(lines_shown, first, attempt, start, size, problems, stage_heads(path, index))


async def excerpt(site: Site, row: Build | Rank) -> Excerpt:
    """Of the newest attempt; empty if there was none."""
    path = site.context.paths.log(row.__tablename__, row.id, row.attempt)
    return await in_thread(_tail, path, site.line_indexes.of(path), site.outlines.of(path), row.attempt)
