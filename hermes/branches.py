"""The branches of a repository, and the one that a clone checks out."""

from pathlib import Path

from hermes.database import Database
from hermes.errors import NotFound
from hermes.git import run_git, set_head
from hermes.paths import Paths
from hermes.schedules import follow_branch
from hermes.tables import Repo
from hermes.threads import in_thread

_HEADS = "refs/heads/"


def list_branches(path: Path) -> list[str]:
    """By name; none where nothing was pushed yet."""
    if not path.exists():
        return []
    lines = run_git(path, "for-each-ref", "--format=%(refname)", _HEADS).decode("utf-8", "replace")
    return [line.removeprefix(_HEADS) for line in lines.splitlines()]


async def set_default_branch(database: Database, paths: Paths, repo: Repo, branch: str) -> None:
    """Row first, then git: what a crash leaves between them, the next call puts right. Raises NotFound."""
    path = paths.repo(repo.id)
    if branch not in await in_thread(list_branches, path):
        raise NotFound(f"there is no branch {branch[:80]!r}", f"push it first: git push gpu {branch[:80]}")
    async with database.write() as session:
        row = await session.get_one(Repo, repo.id)
        row.default_branch = branch
        await follow_branch(session, row)
    await in_thread(set_head, path, branch)
