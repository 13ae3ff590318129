"""Repositories as they were when the database was copied: its refs then, and all objects that they need.

Objects are copied after the rows and the refs, so that nothing that these name is missing. What pushes have
moved meanwhile is moved back: a branch without the row of its push would never be run, not even when it is
pushed again. Refs that keep what branches left behind (refs/hermes) stay as they are now."""

import os
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.backup.named import Item
from hermes.git import run_git
from hermes.paths import Paths
from hermes.tables import Push

Refs = dict[str, str]
_LISTING_S = 600.0


def refs_now(repo: Path) -> Refs:
    """All of them, ours too. Raises Unavailable."""
    listed = run_git(repo, "for-each-ref", "--format=%(objectname) %(refname)", timeout_s=_LISTING_S)
    pairs = (line.split(" ", 1) for line in listed.decode().splitlines())
    return {name: sha for sha, name in pairs}


async def move_back(session: AsyncSession, refs: dict[int, Refs], last_push: int) -> None:
    """What moved after that push is where the newest push until then had put it. `refs` were read before:
    each move since then has its row."""
    later = select(Push.repo_id, Push.ref).where(Push.id > last_push).distinct()
    for repo_id, ref in (await session.execute(later)).all():
        if repo_id in refs:
            sha = await _then(session, repo_id, ref, last_push)
            if set(sha) == {"0"}:
                refs[repo_id].pop(ref, None)
            else:
                refs[repo_id][ref] = sha


async def _then(session: AsyncSession, repo_id: int, ref: str, last_push: int) -> str:
    of_ref = select(Push).where(Push.repo_id == repo_id, Push.ref == ref, Push.state != "abandoned")
    until = of_ref.where(Push.id <= last_push, Push.state == "applied").order_by(Push.id.desc()).limit(1)
    if (push := (await session.scalars(until)).first()) is not None:
        return push.new_sha
    since = of_ref.where(Push.id > last_push).order_by(Push.id).limit(1)
    first = (await session.scalars(since)).first()
    return "0" * 40 if first is None else first.old_sha


def packed(refs: Refs) -> bytes:
    """As git's packed-refs."""
    return "".join(f"{sha} {name}\n" for name, sha in sorted(refs.items())).encode()


def files_of(repo: Path, paths: Paths) -> Iterator[Item]:
    """All of it but its refs, and but what pushes of this moment have not finished."""
    for name in ("HEAD", "config"):
        yield Item(str((repo / name).relative_to(paths.root)), repo / name, False)
    for folder, below, names in os.walk(repo / "objects"):
        below[:] = sorted(each for each in below if "incoming-" not in each)
        for name in sorted(_whole(set(names))):
            path = Path(folder, name)
            yield Item(str(path.relative_to(paths.root)), path, True)


def _whole(names: set[str]) -> set[str]:
    """Without temporary files, locks, marks of pushes, and packs of which not all was there yet."""
    packs = {Path(name).stem for name in names if name.endswith(".pack")}
    packs &= {Path(name).stem for name in names if name.endswith(".idx")}
    return {
        name
        for name in names
        if not name.startswith("tmp_")
        and not name.endswith((".lock", ".keep"))
        and (not name.startswith("pack-") or Path(name).stem in packs)
    }
