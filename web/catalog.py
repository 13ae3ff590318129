"""Functions: what was built, by its name and version, with how often it ran and how that went."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.repos import writable
from hermes.states import State
from hermes.tables import Build, Repo, Run, User
from web.lookup import Place, places


class LastRun(NamedTuple):
    """The newest run of something."""

    id: int
    state: State
    reason: str
    created_at: float
    ended_at: float | None


class Uses(NamedTuple):
    """How often something ran, and how the last time went."""

    runs: int
    last: LastRun | None


NONE = Uses(0, None)


@dataclass(frozen=True)
class Version:
    """One build of a function; `owns` its version: it is what `:1.0.0` invokes."""

    build_id: int
    state: State
    name: str
    version: str
    sha: str
    language: str
    image: str
    gpu: dict[str, Any]
    created_at: float
    place: Place
    uses: Uses
    owns: bool

    @property
    def address(self) -> str:
        """What invokes this one: `alice/pi:1.0.0`, or by its commit."""
        what = f":{self.version}" if self.owns else f"@{self.sha[:12]}"
        return f"{self.place.owner}/{self.name}{what}"


@dataclass(frozen=True)
class Function:
    """Its newest version, and all of them together."""

    newest: Version
    versions: int
    uses: Uses
    may_invoke: bool

    @property
    def name(self) -> str:
        """`owner/name`."""
        return f"{self.newest.place.owner}/{self.newest.name}"


class Page(NamedTuple):
    """How many, and older than which build."""

    most: int
    before: int


def is_there() -> ColumnElement[bool]:
    """A condition on Build: nobody has deleted it as a function."""
    return Build.deleted_at.is_(None) & (Build.name != "")


def _builds(*columns: Any) -> "Select[Any]":
    return select(*columns).join(Repo, Repo.id == Build.repo_id).join(User, User.id == Repo.owner_id)


async def list_functions(
    session: AsyncSession, viewer: User, may: ColumnElement[bool], wanted: ColumnElement[bool], page: Page
) -> list[Function]:
    """Those with something built in the repositories of a condition on Repo, the newest first."""
    newest = func.max(Build.id).label("newest")
    found = _builds(Build.repo_id, Build.name, newest, func.count(Build.id))
    found = found.where(may, wanted, is_there(), Build.state == State.BUILT)
    grouped = found.group_by(Build.repo_id, Build.name).having(newest < page.before)
    rows = (await session.execute(grouped.order_by(newest.desc()).limit(page.most))).all()
    shown = {each.build_id: each for each in await _versions(session, [row[2] for row in rows])}
    uses = await _uses_by_name(session, [(row[0], row[1]) for row in rows])
    may_write = await writable(session, viewer, [each.place.repo for each in shown.values()])
    found_all = []
    for repo_id, name, build_id, count in rows:
        version = shown[build_id]
        may_invoke = version.place.repo.public or repo_id in may_write  # as with running again
        found_all.append(Function(version, count, uses.get((repo_id, name), NONE), may_invoke))
    return found_all


async def list_versions(
    session: AsyncSession, repo: Repo, wanted: ColumnElement[bool], page: Page
) -> list[Version]:
    """Builds of a repository in any state, the newest first; `wanted`: which of them."""
    found = select(Build.id).where(Build.repo_id == repo.id, wanted, is_there(), Build.id < page.before)
    ids = (await session.scalars(found.order_by(Build.id.desc()).limit(page.most))).all()
    return await _versions(session, ids)


async def _versions(session: AsyncSession, ids: Sequence[int]) -> list[Version]:
    """The newest first. Of plans only some values are read: with their ranks they may be large."""
    values = [Build.plan[key].as_string() for key in ("language", "image")]
    columns = (Build.id, Build.state, Build.name, Build.version, Build.commit_sha, *values, Build.plan["gpu"])
    found = select(*columns, Build.created_at, Build.repo_id).where(Build.id.in_(ids))
    rows = (await session.execute(found.order_by(Build.id.desc()))).all()
    where = await places(session, {row[-1] for row in rows})
    uses, owners = await _uses_by_build(session, ids), await _owners(session, where)
    return [_version(row, where, uses, owners) for row in rows]


async def _owners(session: AsyncSession, repo_ids: Collection[int]) -> set[int]:
    """The builds that came first under their version (hermes.functions)."""
    built = select(func.min(Build.id)).where(Build.repo_id.in_(repo_ids), Build.state == State.BUILT)
    found = built.where(is_there(), Build.version != "").group_by(Build.repo_id, Build.version)
    return set((await session.scalars(found)).all())


def _version(
    row: Sequence[Any], where: dict[int, Place], uses: dict[int, Uses], owners: Collection[int]
) -> Version:
    build_id, state, name, version, sha, language, image, gpu, created_at, repo_id = row
    return Version(
        build_id=build_id,
        state=state,
        name=name,
        version=version,
        sha=sha,
        language=language,
        image=image,
        gpu=gpu,
        created_at=created_at,
        place=where[repo_id],
        uses=uses.get(build_id, NONE),
        owns=build_id in owners,
    )


async def _uses_by_build(session: AsyncSession, ids: Sequence[int]) -> dict[int, Uses]:
    counted = select(Run.build_id, func.count(Run.id), func.max(Run.id)).where(Run.build_id.in_(ids))
    rows = (await session.execute(counted.group_by(Run.build_id))).all()
    last = await _last_runs(session, [row[2] for row in rows])
    return {build_id: Uses(count, last.get(run_id)) for build_id, count, run_id in rows}


async def _uses_by_name(
    session: AsyncSession, names: Sequence[tuple[int, str]]
) -> dict[tuple[int, str], Uses]:
    """Of all versions together, also of those that were deleted."""
    counted = select(Build.repo_id, Build.name, func.count(Run.id), func.max(Run.id))
    counted = counted.join(Build, Build.id == Run.build_id).where(
        tuple_(Build.repo_id, Build.name).in_(names)
    )
    rows = (await session.execute(counted.group_by(Build.repo_id, Build.name))).all()
    last = await _last_runs(session, [row[3] for row in rows])
    return {(repo_id, name): Uses(count, last.get(run_id)) for repo_id, name, count, run_id in rows}


async def _last_runs(session: AsyncSession, ids: Sequence[int]) -> dict[int, LastRun]:
    columns = (Run.id, Run.state, Run.reason, Run.created_at, Run.ended_at)
    rows = await session.execute(select(*columns).where(Run.id.in_(ids)))
    return {row[0]: LastRun._make(row) for row in rows.all()}
