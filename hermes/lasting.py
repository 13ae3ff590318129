"""What is never removed, however old it is and however full the disk: what is at work or waits, what is the
newest of a branch or a tag, what somebody keeps, and images of versions."""

from typing import Any, NamedTuple

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.database import portions
from hermes.states import TERMINAL, State
from hermes.tables import Build, Push, Run


class Lasting(NamedTuple):
    """Ids. `images` are builds whose image stays; logs of `builds` stay, and all of `runs`."""

    runs: frozenset[int]
    builds: frozenset[int]
    images: frozenset[int]


async def look_at_lasting(session: AsyncSession) -> Lasting:
    """As it is now; newer work only adds to it."""
    heads = await _pushes(session, select(func.max(Push.id)).where(Push.state == "applied"))
    alive = {(repo_id, ref) for repo_id, ref, sha in heads.values() if set(sha) != {"0"}}
    newest_builds = await _builds_of(session, list(heads))
    built = await _newest_by_ref(session, alive, select(Build.id).where(Build.state == State.BUILT))
    at_work = await _ids(session, select(Build.id).where(Build.state.not_in(TERMINAL)))
    needed = await _ids(session, select(Run.build_id).where(Run.state.not_in(TERMINAL)).distinct())
    builds = newest_builds | built | at_work | needed
    runs = await _ids(session, select(Run.id).where(Run.state.not_in(TERMINAL)))
    for some in portions(builds):
        newest = select(func.max(Run.id)).where(Run.build_id.in_(some)).group_by(Run.build_id)
        runs |= await _ids(session, newest)
    for good in (Run.state == State.SUCCEEDED, (Run.state == State.SUCCEEDED) & Run.push_id.is_not(None)):
        runs |= await _newest_runs_by_ref(session, alive, good)
    runs |= await _ids(session, select(Run.id).where(Run.kept_at.is_not(None)))
    kept = await _ids(session, select(Run.build_id).where(Run.kept_at.is_not(None)).distinct())
    images = builds | await _versions(session)  # that of a kept run is built again when it is needed
    return Lasting(frozenset(runs), frozenset(builds | kept), frozenset(images))


async def _pushes(session: AsyncSession, newest: "Select[int]") -> dict[int, tuple[int, str, str]]:
    """{id: (repo, ref, commit)} of the newest of each ref."""
    ids = newest.group_by(Push.repo_id, Push.ref)
    rows = await session.execute(
        select(Push.id, Push.repo_id, Push.ref, Push.new_sha).where(Push.id.in_(ids))
    )
    return {push_id: (repo_id, ref, sha) for push_id, repo_id, ref, sha in rows.all()}


async def _builds_of(session: AsyncSession, pushes: list[int]) -> set[int]:
    """All that were made of their commits."""
    found: set[int] = set()
    for some in portions(pushes):
        of_them = select(Build.id).join(
            Push, (Push.repo_id == Build.repo_id) & (Push.new_sha == Build.commit_sha)
        )
        found |= await _ids(session, of_them.where(Push.id.in_(some)))
    return found


async def _newest_by_ref(
    session: AsyncSession, alive: set[tuple[int, str]], builds: "Select[int]"
) -> set[int]:
    """Of each ref, those of the newest push that had any of these builds."""
    newest = (
        select(Push.repo_id, Push.ref, func.max(Push.id))
        .join(Build, (Push.repo_id == Build.repo_id) & (Push.new_sha == Build.commit_sha))
        .where(Push.state == "applied", Build.id.in_(builds))
        .group_by(Push.repo_id, Push.ref)
    )
    rows = (await session.execute(newest)).all()
    pushes = [push_id for repo_id, ref, push_id in rows if (repo_id, ref) in alive]
    return await _builds_of(session, pushes)


async def _newest_runs_by_ref(session: AsyncSession, alive: set[tuple[int, str]], good: Any) -> set[int]:
    of_build = select(Run.build_id, func.max(Run.id).label("run")).where(good).group_by(Run.build_id)
    newest = of_build.subquery()
    by_ref = (
        select(Push.repo_id, Push.ref, func.max(newest.c.run))
        .join(Build, (Push.repo_id == Build.repo_id) & (Push.new_sha == Build.commit_sha))
        .join(newest, newest.c.build_id == Build.id)
        .where(Push.state == "applied")
        .group_by(Push.repo_id, Push.ref)
    )
    return {
        run for repo_id, ref, run in (await session.execute(by_ref)).all() if run and (repo_id, ref) in alive
    }


async def _versions(session: AsyncSession) -> set[int]:
    """A version is what was built first under it, until its owner deletes it."""
    named = select(func.min(Build.id)).where(
        Build.version != "", Build.state == State.BUILT, Build.deleted_at.is_(None)
    )
    return await _ids(session, named.group_by(Build.repo_id, Build.name, Build.version))


async def _ids(session: AsyncSession, query: "Select[int]") -> set[int]:
    return set((await session.scalars(query)).all())
