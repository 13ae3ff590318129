"""The ranks of a run at a glance: a grid of up to a thousand, the blocks of more, and a table of a few.

A run has up to 10,000 ranks: the grid reads two columns of them, the table a few rows."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.instance import gpu_names
from hermes.states import TERMINAL, State
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
    """What the page of a run shows of its ranks, around the one that is looked at. `earlier` and `later` are
    ranks on the pages of the table before and after this one."""

    total: int
    counts: list[Count]
    blocks: list[Block]  # none where the grid shows all
    cells: list[tuple[int, State]]
    rows: Sequence[Rank]
    where: dict[int, str]
    last: int
    earlier: int | None
    later: int | None

    @property
    def failed(self) -> int:
        """How many ended otherwise than they should."""
        return sum(count.ranks for count in self.counts if count.state in TERMINAL - {State.SUCCEEDED})


async def look_at_ranks(session: AsyncSession, shown: Rank) -> Ranks:
    """Around this one. Pages and blocks go by position: some numbers may be left out."""
    of_run = Rank.run_id == shown.run_id
    grouped = select(Rank.state, func.count(), func.min(Rank.number)).where(of_run).group_by(Rank.state)
    by_state = {state: Count(state, ranks, first) for state, ranks, first in await session.execute(grouped)}
    total = sum(count.ranks for count in by_state.values())
    start = shown.position // GRID * GRID
    cells = select(Rank.number, Rank.state).where(of_run, _between(start, GRID)).order_by(Rank.position)
    first = shown.position // TABLE * TABLE
    rows = (
        await session.scalars(select(Rank).where(of_run, _between(first, TABLE)).order_by(Rank.position))
    ).all()
    around = select(Rank.position, Rank.number).where(
        of_run, Rank.position.in_([first - TABLE, first + TABLE, total - 1])
    )
    number_at = dict((await session.execute(around)).all())
    names = await gpu_names(session)
    return Ranks(
        total=total,
        counts=[by_state[state] for state in LETTERS if state in by_state],
        blocks=await _blocks(session, shown.run_id) if total > GRID else [],
        cells=[(number, state) for number, state in await session.execute(cells)],
        rows=rows,
        where={rank.number: placed(rank, names).removeprefix("on ") for rank in rows if rank.slot},
        last=number_at[total - 1],
        earlier=number_at.get(first - TABLE),
        later=number_at.get(first + TABLE),
    )


def _between(start: int, ranks: int) -> ColumnElement[bool]:
    return (Rank.position >= start) & (Rank.position < start + ranks)


async def _blocks(session: AsyncSession, run_id: int) -> list[Block]:
    blocks: dict[int, Block] = {}
    block = (Rank.position // GRID).label("block")  # grouped by its name: PostgreSQL does not know it again
    ends = func.min(Rank.number), func.max(Rank.number)
    grouped = select(block, Rank.state, func.count(), *ends).where(Rank.run_id == run_id)
    for place, state, ranks, first, last in await session.execute(
        grouped.group_by(text("block"), Rank.state)
    ):
        known = blocks.get(place, Block(first, last))
        counts = known.counts | {state: ranks}
        blocks[place] = Block(min(first, known.first), max(last, known.last), counts)
    return [blocks[place] for place in sorted(blocks)]
