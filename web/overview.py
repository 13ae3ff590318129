"""What the dashboard says about a user's work: what runs or waits and why, what came out, how each repository
stands."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.repos import visible_to
from hermes.states import TERMINAL, State
from hermes.tables import Artifact, Build, Collaborator, Repo, Run, User
from hermes.waiting import Queue
from web.activity import Line, build_lines, run_lines
from web.newest import newest_for

_NOW, _RESULTS, _BUILDS, _REPOS, _FILES = 20, 15, 8, 50, 3
_LOOKED_AT = 200  # newest runs, in which results are found; by far the most of them are over
_NOT_OVER = [state for state in State if state not in TERMINAL]


@dataclass(frozen=True)
class Result:
    """A run that has ended, the first of its files, and how many there are."""

    line: Line
    files: list[Artifact]
    file_count: int


@dataclass(frozen=True)
class Standing:
    """A repository and the state of the newest that came of it; None: nothing yet."""

    repo: Repo
    owner: str
    state: State | None
    url: str
    at: float


def _mine(user: User) -> ColumnElement[bool]:
    """A condition on Repo: the user's own, and those that others share with them."""
    shared = select(Collaborator.repo_id).where(Collaborator.user_id == user.id)
    return or_(Repo.owner_id == user.id, Repo.id.in_(shared))


async def current(session: AsyncSession, user: User) -> list[tuple[Line, str]]:
    """What is not over, the newest first; of what waits, what it waits for."""
    of_user = or_(Run.user_id == user.id, _mine(user))
    query = select(Run.id).join(Repo, Repo.id == Run.repo_id).where(visible_to(user), of_user)
    query = query.where(Run.state.in_(_NOT_OVER)).order_by(Run.id.desc()).limit(_NOW)
    lines = await run_lines(session, (await session.scalars(query)).all())
    queue = Queue(session, user)
    waiting = select(Run).where(Run.id.in_([line.id for line in lines if line.state is State.QUEUED]))
    why = {run.id: await queue.why(run) for run in (await session.scalars(waiting)).all()}
    return [(line, why.get(line.id, "")) for line in lines]


async def results(session: AsyncSession, user: User) -> list[Result]:
    """What has ended, the newest first."""
    newest = await newest_for(session, Run, user, _mine(user), _LOOKED_AT)
    ended = select(Run.id).where(Run.id.in_(newest), Run.state.in_(TERMINAL))
    ids = await session.scalars(ended.order_by(Run.id.desc()).limit(_RESULTS))
    lines = await run_lines(session, ids.all())
    found: dict[int, list[Artifact]] = {}
    place = func.row_number().over(partition_by=Artifact.run_id, order_by=Artifact.id)
    of_runs = Artifact.run_id.in_([line.id for line in lines])
    numbered = select(Artifact.id, place.label("place")).where(of_runs).subquery()
    first = select(Artifact).join(numbered, numbered.c.id == Artifact.id).where(numbered.c.place <= _FILES)
    for artifact in (await session.scalars(first.order_by(Artifact.id))).all():
        found.setdefault(artifact.run_id, []).append(artifact)
    counted = select(Artifact.run_id, func.count()).where(of_runs).group_by(Artifact.run_id)
    counts = dict((await session.execute(counted)).all())
    return [Result(line, found.get(line.id, []), counts.get(line.id, 0)) for line in lines]


async def builds(session: AsyncSession, user: User) -> list[Line]:
    """The newest builds."""
    return await build_lines(session, await newest_for(session, Build, user, _mine(user), _BUILDS))


async def standings(session: AsyncSession, user: User) -> list[Standing]:
    """The user's repositories, the one that moved last at the top."""
    run_id = select(func.max(Run.id)).where(Run.repo_id == Repo.id).correlate(Repo).scalar_subquery()
    build_id = select(func.max(Build.id)).where(Build.repo_id == Repo.id).correlate(Repo).scalar_subquery()
    rows = await session.execute(
        select(Repo, User.name, Run, Build)
        .join(User, User.id == Repo.owner_id)
        .outerjoin(Run, Run.id == run_id)
        .outerjoin(Build, Build.id == build_id)
        .where(_mine(user))
        .order_by(func.coalesce(Run.created_at, Build.created_at, Repo.created_at).desc())
        .limit(_REPOS)
    )
    return [_standing(*row) for row in rows.all()]


def _standing(repo: Repo, owner: str, run: Run | None, build: Build | None) -> Standing:
    """A newer build that made no run, or could not, tells more than an older run."""
    if build is not None and (run is None or run.build_id < build.id):
        return Standing(repo, owner, build.state, f"/builds/{build.id}", build.created_at)
    if run is not None:
        return Standing(repo, owner, run.state, f"/runs/{run.id}", run.created_at)
    return Standing(repo, owner, None, "", repo.created_at)
