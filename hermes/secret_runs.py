"""Which runs get which secrets (docs/secrets.md has the rule in words): asked when a run starts."""

import time
from collections.abc import Collection
from fnmatch import fnmatchcase

from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.pushes import BRANCHES
from hermes.repos import may_write
from hermes.secret_store import Secret
from hermes.tables import Push, Repo, Run, User


async def secrets_of(session: AsyncSession, run: Run, commit: str) -> list[Secret]:
    """One for each name; a repository's goes before a user's."""
    own = and_(Secret.repo_id.is_(None), Secret.user_id == run.user_id, Repo.owner_id == run.user_id)
    found = (
        select(Secret, Repo, User)
        .select_from(Secret)
        .join(Repo, Repo.id == run.repo_id)
        .join(User, User.id == run.user_id)
        .where(or_(Secret.repo_id == run.repo_id, own))
        .order_by(Secret.repo_id.is_not(None))
    )
    rows = (await session.execute(found)).all()
    if not rows:
        return []
    _, repo, user = rows[0]
    if user.disabled_at is not None or not await may_write(session, user, repo):
        return []
    branches = await _branches(session, run, commit)
    chosen = {row.name: row for row, _, _ in rows if _is_for(row, repo, branches)}
    return list(chosen.values())


async def mark_used(session: AsyncSession, run: Run, commit: str, names: Collection[str]) -> None:
    """A run has started with these."""
    for row in await secrets_of(session, run, commit) if names else ():
        if row.name in names:
            row.last_used_at = time.time()


async def _branches(session: AsyncSession, run: Run, commit: str) -> list[str]:
    """To which a push has brought it: that of its own push, else all pushes of this very commit."""
    which = Push.id == run.push_id if run.push_id is not None else Push.new_sha == commit
    refs = await session.scalars(
        select(Push.ref)
        .where(which, Push.repo_id == run.repo_id, Push.state == "applied", Push.trigger == "push")
        .distinct()
    )
    return [ref.removeprefix(BRANCHES) for ref in refs.all() if ref.startswith(BRANCHES)]


def _is_for(secret: Secret, repo: Repo, branches: list[str]) -> bool:
    if not secret.branches:
        return repo.default_branch in branches
    return any(fnmatchcase(branch, each) for branch in branches for each in secret.branches)
