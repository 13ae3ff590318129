"""Loads runs with what belongs to them: a page of them with as many queries as one, each within bounds."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from hermes.instance import gpu_names
from hermes.plan import MAX_RANKS, Plan
from hermes.removals import OF_RUNS, Data
from hermes.repos import writable
from hermes.states import TERMINAL
from hermes.tables import Artifact, Build, Rank, Removal, Run, User
from hermes.totals import totals, totals_of
from hermes.waiting import Queue
from hermes.words import placed
from web.details import RunDetails, run_words
from web.lookup import Place, artifacts_by_rank
from web.metrics import Measured, metrics_of


@dataclass(frozen=True)
class Bounds:
    """How much of each run is read: its first ranks, its first artifacts, metrics of its first ranks."""

    ranks: int
    artifacts: int
    metric_ranks: int


PAGE = Bounds(1, 200, 1)  # the page of a run asks for the ranks that it shows by itself (web.ranks)
SHOWN = Bounds(200, 200, 1)  # on other pages, and in a list
WHOLE = Bounds(MAX_RANKS, 10_000, 200)  # of one run, for a program


@dataclass(frozen=True)
class _Loaded:
    """What was read for all of them, by id."""

    builds: dict[int, Build]
    users: dict[int, str]
    ranks: dict[int, list[Rank]]
    metrics: dict[int, list[Measured]]
    gpus: dict[str, str]
    writable: set[int]
    removed: dict[int, dict[Data, Removal]]
    queue: Queue


async def run_details(
    session: AsyncSession, visitor: User | None, run: Run, place: Place, bounds: Bounds = SHOWN
) -> RunDetails:
    """Load the rest of a run that was found."""
    return (await runs_details(session, visitor, [run], {place.repo.id: place}, bounds))[0]


async def runs_details(
    session: AsyncSession,
    visitor: User | None,
    runs: Sequence[Run],
    places: Mapping[int, Place],
    bounds: Bounds = SHOWN,
) -> list[RunDetails]:
    """Load the rest of runs that were found, in their order."""
    if not runs:
        return []
    loaded = await _load(session, visitor, runs, places, bounds)
    made = [await _details(session, visitor, run, places[run.repo_id], loaded) for run in runs]
    await _add_artifacts(session, made, bounds.artifacts)
    return made


async def _load(
    session: AsyncSession,
    visitor: User | None,
    runs: Sequence[Run],
    places: Mapping[int, Place],
    bounds: Bounds,
) -> _Loaded:
    ids, repos = [run.id for run in runs], [place.repo for place in places.values()]
    builds = await session.scalars(
        select(Build)
        .where(Build.id.in_({run.build_id for run in runs}))
        .options(defer(Build.plan, raiseload=True))
    )
    users = await session.execute(
        select(User.id, User.name).where(User.id.in_({run.user_id for run in runs}))
    )
    first = select(Rank).where(Rank.run_id.in_(ids), Rank.position < bounds.ranks)
    ranks: dict[int, list[Rank]] = defaultdict(list)
    for rank in (await session.scalars(first.order_by(Rank.run_id, Rank.number))).all():
        ranks[rank.run_id].append(rank)
    return _Loaded(
        builds={build.id: build for build in builds.all()},
        users=dict(users.all()),
        ranks=ranks,
        metrics=await metrics_of(session, ids, bounds.metric_ranks),
        gpus=await gpu_names(session),
        writable=await writable(session, visitor, repos) if visitor else set(),
        removed=await _removed(session, [run.id for run in runs if run.state in TERMINAL]),
        queue=Queue(session, visitor),
    )


async def _details(
    session: AsyncSession, visitor: User | None, run: Run, place: Place, loaded: _Loaded
) -> RunDetails:
    plan, ranks = Plan.model_validate(run.plan), loaded.ranks[run.id]
    has_all = len(ranks) == len(plan.ranks)
    where = {rank.number: placed(rank, loaded.gpus).removeprefix("on ") for rank in ranks if rank.slot}
    figures = totals(rank.summary for rank in ranks) if has_all else await totals_of(session, run.id)
    return RunDetails(
        run=run,
        place=place,
        build=loaded.builds[run.build_id],
        user=loaded.users.get(run.user_id, ""),
        ranks=ranks,
        verdict=_verdict(ranks) or (None if has_all else await _find_verdict(session, run.id)) or ranks[0],
        metrics=loaded.metrics.get(run.id, []),
        figures=figures,
        plan=plan,
        words=await run_words(session, loaded.queue, run, figures, where.get(ranks[0].number, "")),
        where=where,
        may_write=run.repo_id in loaded.writable,
        signed_in=visitor is not None,
        removed=loaded.removed.get(run.id, {}),
    )


async def _removed(session: AsyncSession, ids: Sequence[int]) -> dict[int, dict[Data, Removal]]:
    found: dict[int, dict[Data, Removal]] = defaultdict(dict)
    query = select(Removal).where(Removal.kind.in_(OF_RUNS), Removal.subject_id.in_(ids))
    for each in (await session.scalars(query)).all() if ids else ():
        found[each.subject_id][Data(each.kind)] = each
    return found


def _verdict(ranks: Sequence[Rank]) -> Rank | None:
    return next((rank for rank in ranks if rank.state in TERMINAL and rank.exit_code), None)


async def _find_verdict(session: AsyncSession, run_id: int) -> Rank | None:
    failed = select(Rank).where(Rank.run_id == run_id, Rank.state.in_(TERMINAL), Rank.exit_code != 0)
    return (await session.scalars(failed.order_by(Rank.number).limit(1))).first()


async def _add_artifacts(session: AsyncSession, made: Sequence[RunDetails], most: int) -> None:
    """Runs that left few are asked about together; one that left many by itself: the bound is its own."""
    few = {each.run.id: each for each in made if 0 < each.artifact_count <= most}
    found = artifacts_by_rank()
    rows: list[tuple[Artifact, int]] = []
    if few:
        rows += (await session.execute(found.where(Artifact.run_id.in_(few)))).all()
    for each in made:
        if each.artifact_count > most:
            rows += (await session.execute(found.where(Artifact.run_id == each.run.id).limit(most))).all()
    by_run = {each.run.id: each for each in made}
    for artifact, number in rows:
        by_run[artifact.run_id].artifacts.append(artifact)
        by_run[artifact.run_id].writers[artifact.rank_id] = number
