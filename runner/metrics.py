"""Metrics that a program prints (`::metric loss=0.25`): read, bounded, the last value of each name stored."""

import math
import re
import time
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.tables import Metric

MOST_NAMES = 100
_LINE = re.compile(
    r"(?P<name>[A-Za-z_][\w./-]{0,63}) ?= ?"
    r"(?P<value>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?)"
    r"(?: +(?P<unit>(?a:[^\s=]){1,16}))?",
    re.ASCII,
)


class Figure(NamedTuple):
    """A value with its unit; when it was printed."""

    value: float
    unit: str
    at: float


@dataclass
class MetricLines:
    """The last figure of each name of one attempt. `ignored` says that there were names beyond the bound."""

    figures: dict[str, Figure] = field(default_factory=dict)
    ignored: bool = False
    _unstored: set[str] = field(default_factory=set)

    def read(self, words: str) -> None:
        """What follows `::metric `; what is not of that form is a line like any other."""
        match = _LINE.fullmatch(words)
        if match is None or not math.isfinite(value := float(match["value"])):
            return
        name, unit = match["name"], match["unit"] or ""
        if not unit.isprintable():
            return
        if name not in self.figures and len(self.figures) == MOST_NAMES:
            self.ignored = True
            return
        self.figures[name] = Figure(value, unit, time.time())
        self._unstored.add(name)

    @property
    def are_stored(self) -> bool:
        """Whether nothing was printed since they were stored."""
        return not self._unstored

    async def store(self, session: AsyncSession, rank_id: int) -> set[str]:
        """Those that changed. Others stay: who adopts a program did not see what it had printed before.
        Returns their names, for `again` should they not be committed."""
        names, self._unstored = self._unstored, set()
        if not names:
            return names
        await session.execute(delete(Metric).where(Metric.rank_id == rank_id, Metric.name.in_(names)))
        session.add_all(
            Metric(rank_id=rank_id, name=name, **self.figures[name]._asdict()) for name in sorted(names)
        )
        return names

    def again(self, names: set[str]) -> None:
        """They are not stored after all."""
        self._unstored |= names


async def forget_metrics(session: AsyncSession, rank_id: int) -> None:
    """Of the attempt before: what it printed is in its log."""
    await session.execute(delete(Metric).where(Metric.rank_id == rank_id))
