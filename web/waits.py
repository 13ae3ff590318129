"""What a rank has waited for, told afterwards: who held its place meanwhile, from the rows of those ranks."""

import heapq
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from hermes.columns import Json
from hermes.instance import gpu_names
from hermes.plan import Plan
from hermes.repos import visible_to
from hermes.states import State
from hermes.tables import Rank, Repo, Run, User

_MOST = 500  # ranks that are looked at, the newest
_BRIEF_S = 1.0  # a pause between two holders is not worth a word
_SHOWN = 8  # stretches


@dataclass(frozen=True)
class Hold:
    """A place that was held. `what` of it the waiting rank needed; `name` is empty if it must not be told."""

    run_id: int
    user: str
    owner: str
    name: str
    what: str
    began_at: float
    ended_at: float

    @property
    def who(self) -> str:
        """`bob/nbody (run 5)`, or only whose it is."""
        return f"{self.name} (run {self.run_id})" if self.name else f"a run of {self.owner}"


@dataclass(frozen=True)
class Stretch:
    """A part of a wait with one reason; `run_id` is what the words name, if it may be looked at."""

    words: str
    began_at: float
    ended_at: float
    run_id: int = 0
    key: tuple[str, ...] = ()
    runs: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Wait:
    """From when to when a rank of which run waited; `known_from`: nothing is known of what was before."""

    run_id: int
    began_at: float
    ended_at: float
    known_from: float = 0.0


async def read_holds(
    session: AsyncSession, viewer: User | None, run: Run, rank: Rank, wait: Wait, longest_s: float
) -> tuple[list[Hold], Wait]:
    """Of what the rank got, or of all that it could get while it waits. No rank holds longer than
    `longest_s`: the index on claims is read from there on."""
    may_know = Repo.id.in_(select(Repo.id).where(visible_to(viewer)).scalar_subquery())
    owner = aliased(User)
    found = (
        select(Run.id, Rank.slot, Rank.claimed_at, Rank.ended_at, User.name, owner.name, Repo.name, may_know)
        .join(Run, Run.id == Rank.run_id)
        .join(Repo, Repo.id == Run.repo_id)
        .join(User, User.id == Run.user_id)
        .join(owner, owner.id == Repo.owner_id)
        .where(
            Rank.claimed_at > wait.began_at - longest_s,
            Rank.claimed_at < wait.ended_at,
            or_(Rank.ended_at > wait.began_at, Rank.ended_at.is_(None)),
            Rank.state != State.QUEUED,
            Rank.id != rank.id,
        )
        .order_by(Rank.claimed_at.desc())
        .limit(_MOST)
    )
    rows = (await session.execute(found)).all()
    names = await gpu_names(session)
    slot = rank.slot if rank.claimed_at and rank.claimed_at >= wait.ended_at - _BRIEF_S else None
    needs_gpu = Plan.model_validate(run.plan).gpu.count > 0
    holds = []
    for run_id, held, began_at, ended_at, user, owns, repo, is_open in rows:
        if what := _needed(slot, held or {}, needs_gpu, names):
            name = f"{owns}/{repo}" if is_open else ""
            holds.append(Hold(run_id, user, owns, name, what, began_at or 0.0, ended_at or time.time()))
    if len(rows) == _MOST:
        wait = replace(wait, known_from=rows[-1].claimed_at)
    return holds, wait


def _needed(slot: Json | None, held: Json, needs_gpu: bool, names: Mapping[str, str]) -> str:
    """What of a place that was held stood in the way of this slot, or of any; "" if nothing."""
    if slot is not None and held.get("runner") != slot.get("runner"):
        return ""
    if not needs_gpu:
        return "the CPUs"
    gpus = [gpu for gpu in held.get("gpus", ()) if slot is None or gpu in slot["gpus"]]
    return " and ".join(names.get(gpu, gpu) for gpu in gpus)


def stretches(wait: Wait, holds: Sequence[Hold]) -> list[Stretch]:
    """The wait without gaps: at each moment the one whose end comes first stands in the way."""
    found: list[Stretch] = []
    coming = sorted(holds, key=lambda hold: hold.began_at)
    at_work: list[tuple[float, int, Hold]] = []
    at, number = wait.began_at, 0
    while at < wait.ended_at:
        while number < len(coming) and coming[number].began_at <= at:
            heapq.heappush(at_work, (coming[number].ended_at, number, coming[number]))
            number += 1
        while at_work and at_work[0][0] <= at:
            heapq.heappop(at_work)
        following = coming[number].began_at if number < len(coming) else wait.ended_at
        until = min(at_work[0][0] if at_work else following, wait.ended_at)
        found.append(_stretch(wait, at_work[0][2], at, until) if at_work else _gap(wait, at, until))
        at = until
    return _few(_joined(found))


def _stretch(wait: Wait, hold: Hold, at: float, until: float) -> Stretch:
    runs = frozenset({hold.run_id})
    seen = hold.run_id if hold.name else 0
    if hold.run_id == wait.run_id:
        return Stretch("other ranks of this run went first", at, until, 0, ("own",), runs)
    if hold.began_at < wait.began_at:
        return Stretch(f"{hold.what} held by {hold.who}", at, until, seen, ("held", str(hold.run_id)), runs)
    return Stretch(f"{hold.who} went first", at, until, seen, ("first", hold.user), runs)


def _gap(wait: Wait, at: float, until: float) -> Stretch:
    if at < wait.known_from:
        return Stretch(f"more than {_MOST} other ranks went first", at, until, key=("many",))
    return Stretch("", at, until)


def _joined(found: Sequence[Stretch]) -> list[Stretch]:
    """Neighbours with one reason are one; so is a short pause between a holder and the next."""
    made: list[Stretch] = []
    for each in found:
        is_brief = not each.key and each.ended_at - each.began_at < _BRIEF_S
        if made and (each.key == made[-1].key or is_brief):
            made[-1] = _extended(made[-1], each)
        else:
            made.append(each)
    return made


def _extended(first: Stretch, second: Stretch) -> Stretch:
    both = replace(first, ended_at=second.ended_at, runs=first.runs | second.runs)
    if first.key[:1] == ("first",) and len(both.runs) > 1:
        return replace(both, words=f"{len(both.runs)} runs of {first.key[1]} went first", run_id=0)
    return both


def _few(found: list[Stretch]) -> list[Stretch]:
    """Of many, the last ones are told together."""
    if len(found) <= _SHOWN:
        return found
    rest = found[_SHOWN - 1 :]
    runs = frozenset[int]().union(*(each.runs for each in rest))
    last = Stretch(f"{len(runs)} other runs went first", rest[0].began_at, rest[-1].ended_at, runs=runs)
    return [*found[: _SHOWN - 1], last]
