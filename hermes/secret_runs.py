"""Which runs get which secrets (docs/secrets.md has the rule in words): asked when a run starts."""

import time
from collections.abc import Collection

from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.branch_patterns import is_among
from hermes.pushes import BRANCHES
from hermes.repos import may_write
from hermes.secret_store import Secret
from hermes.tables import Push, Repo, Run, User

_BRINGS = ("push", "webhook")  # triggers whose pushes bring commits


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
    pushes = await _pushes(session, run, commit)
    chosen = {row.name: row for row, _, _ in rows if _is_for(row, repo, pushes)}
    return list(chosen.values())


async def mark_used(session: AsyncSession, run: Run, commit: str, names: Collection[str]) -> None:
    """A run has started with these."""
    for row in await secrets_of(session, run, commit) if names else ():
        if row.name in names:
            row.last_used_at = time.time()


async def _pushes(session: AsyncSession, run: Run, commit: str) -> list[tuple[str, int]]:
    """Which have brought it, as (branch, who pushed): its own push, else all of this very commit. What came
    from a repository that is followed, nobody here has pushed (0); pull requests are on no branch."""
    which = Push.id == run.push_id if run.push_id is not None else Push.new_sha == commit
    rows = await session.execute(
        select(Push.ref, Push.user_id, Push.trigger)
        .where(which, Push.repo_id == run.repo_id, Push.state == "applied", Push.trigger.in_(_BRINGS))
        .distinct()
    )
    of_branches = [row for row in rows.all() if row.ref.startswith(BRANCHES)]
    return [
        (row.ref.removeprefix(BRANCHES), row.user_id if row.trigger == "push" else 0) for row in of_branches
    ]


def _is_for(secret: Secret, repo: Repo, pushes: list[tuple[str, int]]) -> bool:
    """A user's is only for what this user has pushed."""
    patterns = secret.branches
    for branch, who in pushes:
        is_allowed = is_among(branch, patterns) or (not patterns and branch == repo.default_branch)
        if is_allowed and (secret.repo_id is not None or secret.user_id == who):
            return True
    return False
