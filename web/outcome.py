"""What comes of a run, as it comes, for who waits for it: its streams, its changes, its end.

One look at the rows serves everybody who waits, however many they are. It is another one than that of
`web.sights`: who waits for a call hears of its end at once, and of nothing else; a crowd that watches rests
between two looks, and is told words."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import select

from hermes.errors import Unavailable
from hermes.process import Context
from hermes.queue import CHANGED
from hermes.states import TERMINAL, State
from hermes.tables import Rank
from web.tally import Tally

_LOOK_S = 1.0  # at the rows when no bell rings
_AT_ONCE = 500


class RankSight(NamedTuple):
    """As much of a rank as its followers need."""

    number: int
    id: int
    state: State
    attempt: int


@dataclass
class Watched:
    """A run that somebody waits for."""

    run_id: int
    ranks: list[RankSight] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_over(self) -> bool:
        """Whether no rank of it will do anything any more."""
        return bool(self.ranks) and all(rank.state in TERMINAL for rank in self.ranks)


class Outcomes:
    """Everybody who waits, in this process."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.waiting = Tally()  # answers that are kept open, by user
        self._all: list[Watched] = []
        self._task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def watch(self, run_id: int) -> AsyncIterator[Watched]:
        """Its ranks now, and a sign whenever they are others."""
        one = Watched(run_id)
        self._all.append(one)
        try:
            await self._look([one])
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._keep_looking(), name="outcomes")
            yield one
        finally:
            self._all.remove(one)

    async def wait(self, run_id: int, limit_s: float) -> bool:
        """Whether it ended within the time."""
        async with self.watch(run_id) as one:
            with suppress(TimeoutError):
                async with asyncio.timeout(limit_s):
                    while not one.is_over:
                        await one.changed.wait()
                        one.changed.clear()
            return one.is_over

    async def _keep_looking(self) -> None:
        """For as long as anybody waits."""
        bell = self._context.doorbell.bell(CHANGED)
        try:
            while self._all:
                await bell.wait(_LOOK_S)
                with suppress(Unavailable):  # the database is away: asked again
                    await self._look(list(self._all))
        finally:
            self._context.doorbell.forget(bell)

    async def _look(self, some: list[Watched]) -> None:
        ids = sorted({each.run_id for each in some})
        found: dict[int, list[RankSight]] = {run_id: [] for run_id in ids}
        for begin in range(0, len(ids), _AT_ONCE):
            columns = select(Rank.run_id, Rank.number, Rank.id, Rank.state, Rank.attempt)
            query = columns.where(Rank.run_id.in_(ids[begin : begin + _AT_ONCE])).order_by(Rank.number)
            async with self._context.database.read() as session:
                for run_id, number, rank_id, state, attempt in (await session.execute(query)).all():
                    found[run_id].append(RankSight(number, rank_id, state, attempt))
        for each in some:
            if each.ranks != found[each.run_id]:
                each.ranks = found[each.run_id]
                each.changed.set()
