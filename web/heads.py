"""Heads in a log: rows without a number between its lines, such as the stages of a build."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hermes import logs
from hermes.stages import STAGES, read_stages
from web.lines import LineIndex


@dataclass(frozen=True)
class Head:
    """It stands before the line `first`, counted from 1; lines up to `last` belong to it, or up to the next
    head that has no last one."""

    key: str
    title: str
    first: int
    took_s: float | None = None
    note: str = ""
    last: int | None = None
    folded: bool = False

    def as_json(self) -> dict[str, Any]:
        """For `static/folds.js`."""
        return asdict(self)


def stage_heads(path: Path, index: LineIndex) -> list[Head]:
    """Of a build's log; none of any other. A line belongs to the stage in which it began."""
    size = logs.size_bytes(path)
    return [
        Head(each.name, STAGES.get(each.name, each.name), _first_line(path, index, offset), each.took_s)
        for each in read_stages(path)
        for offset in (min(size if each.offset is None else each.offset, size),)
    ]


def _first_line(path: Path, index: LineIndex, offset: int) -> int:
    """The first that begins at `offset` or after it."""
    in_a_line = offset > 0 and logs.read(path, offset - 1, 1) != b"\n"
    return index.lines_before(offset) + 1 + in_a_line
