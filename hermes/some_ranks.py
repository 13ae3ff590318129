"""Some ranks of a run once more: with their numbers, and told how many there were, as programs expect."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.again import Wrong
from hermes.plan import Plan
from hermes.states import TERMINAL, State
from hermes.tables import Rank, Run

ONLY, FAILED = "ranks.only", "failed"
_HOW = f'{ONLY}: "{FAILED}", or the numbers of ranks'
_MOST_NAMED = 12


async def only_these(session: AsyncSession, run: Run, wish: Any) -> tuple[Plan, str]:
    """The plan with these ranks alone, and which they are, in words: `failed ranks 3, 7`. Raises Wrong."""
    plan = Plan.model_validate(run.plan)
    numbers = await _failed(session, run.id) if wish == FAILED else _read(wish)
    if not numbers:
        raise Wrong({ONLY: f"{ONLY}: no rank of run {run.id} has failed"})
    words = name_ranks(numbers)
    return keep(plan, numbers), f"{FAILED} {words}" if wish == FAILED else words


async def _failed(session: AsyncSession, run_id: int) -> list[int]:
    """Those that ended otherwise than they should."""
    bad = select(Rank.number).where(Rank.run_id == run_id, Rank.state.in_(TERMINAL - {State.SUCCEEDED}))
    return list((await session.scalars(bad.order_by(Rank.number))).all())


def _read(wish: Any) -> list[int]:
    """A list of numbers, or text as `3, 7`. Raises Wrong."""
    if isinstance(wish, str):
        words = wish.replace(",", " ").split()
        wish = [
            int(word) if word.isascii() and word.isdecimal() and len(word) < 10 else word for word in words
        ]
    if not isinstance(wish, list) or not wish or not all(type(each) is int and each >= 0 for each in wish):
        raise Wrong({ONLY: _HOW})
    return sorted(set(wish))


def keep(plan: Plan, numbers: Sequence[int]) -> Plan:
    """Only these ranks of it. Raises Wrong for a number that it has not."""
    known = dict(plan.numbered())
    if missing := [number for number in numbers if number not in known]:
        raise Wrong({ONLY: f"{ONLY}: the run has no {name_ranks(missing)}"})
    if len(numbers) == len(known):
        return plan
    ranks = {"numbers": list(numbers), "ranks": [known[number] for number in numbers]}
    return plan.model_copy(update=ranks | {"of_world": plan.world_size})


def name_ranks(numbers: Sequence[int]) -> str:
    """`rank 3`, `ranks 3, 7`; of many the first."""
    named = ", ".join(str(number) for number in numbers[:_MOST_NAMED])
    more = f" and {len(numbers) - _MOST_NAMED} more" if len(numbers) > _MOST_NAMED else ""
    return f"{'rank' if len(numbers) == 1 else 'ranks'} {named}{more}"
