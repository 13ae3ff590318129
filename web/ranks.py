"""The ranks of a run at a glance: a grid of up to a thousand, the blocks of more, and a table of a few.

A run has up to 10,000 ranks: the grid reads two columns of them, the table a few rows."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.instance import gpu_names
from hermes.states import State
from hermes.tables import Rank
from hermes.words import placed

GRID, TABLE = 1000, 20
#: A state is a letter and a shape besides its colour.
LETTERS = {
    State.QUEUED: "·",
    State.STARTING: "s",
    State.RUNNING: "r",
    State.SUCCEEDED: "✓",
    State.FAILED: "F",
    State.TIMED_OUT: "T",
    State.CANCELLED: "C",
    State.LOST: "L",
}


@dataclass(frozen=True)
class Block:
    """Ranks from `first` to `last`, and how many are in each state."""

    first: int
    last: int
    counts: dict[State, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Count:
    """How many ranks are in a state; `first` is one of them, to look at."""

    state: State
    ranks: int
    first: int


@dataclass(frozen=True)
class Ranks:
    """What the page of a run shows of its ranks, around the one that is looked at."""

    total: int
    counts: list[Count]
    blocks: list[Block]  # none where the grid shows all
    cells: list[tuple[int, State]]
    rows: Sequence[Rank]
    where: dict[int, str]

    @property
    def earlier(self) -> int | None:
        """A rank on the table's page before this one."""
        first = self.rows[0].number
        return max(first - TABLE, 0) if first else None

    @property
    def later(self) -> int | None:
        """A rank on the next one."""
        following = self.rows[-1].number + 1
        return following if following < self.total else None


async def look_at_ranks(session: AsyncSession, run_id: int, shown: int) -> Ranks:
    """Around the rank `shown`."""
    of_run = Rank.run_id == run_id
    grouped = select(Rank.state, func.count(), func.min(Rank.number)).where(of_run).group_by(Rank.state)
    by_state = {state: Count(state, ranks, first) for state, ranks, first in await session.execute(grouped)}
    total = sum(count.ranks for count in by_state.values())
    start = shown // GRID * GRID
    cells = select(Rank.number, Rank.state).where(of_run, Rank.number >= start, Rank.number < start + GRID)
    first = shown // TABLE * TABLE
    near = select(Rank).where(of_run, Rank.number >= first, Rank.number < first + TABLE)
    rows = (await session.scalars(near.order_by(Rank.number))).all()
    names = await gpu_names(session)
    return Ranks(
        total=total,
        counts=[by_state[state] for state in LETTERS if state in by_state],
        blocks=await _blocks(session, run_id, total) if total > GRID else [],
        cells=[(number, state) for number, state in await session.execute(cells.order_by(Rank.number))],
        rows=rows,
        where={rank.number: placed(rank, names).removeprefix("on ") for rank in rows if rank.slot},
    )


async def _blocks(session: AsyncSession, run_id: int, total: int) -> list[Block]:
    starts = range(0, total, GRID)
    blocks = [Block(start, min(start + GRID, total) - 1) for start in starts]
    block = (Rank.number // GRID).label("block")  # grouped by its name: PostgreSQL does not know it again
    grouped = select(block, Rank.state, func.count()).where(Rank.run_id == run_id)
    for number, state, ranks in await session.execute(grouped.group_by(text("block"), Rank.state)):
        blocks[int(number)].counts[state] = ranks
    return blocks
