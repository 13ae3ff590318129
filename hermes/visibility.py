"""Who decides whether everybody may read a repository: the push that makes it may ask, then its settings."""

from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.audit import Actor, write_down
from hermes.plan import Plan
from hermes.repos import may_manage
from hermes.tables import Artifact, Build, Push, Repo, Run, User
from hermes.units import show_size


class Shown(NamedTuple):
    """What a repository holds that everybody sees once it is public."""

    pushes: int
    builds: int
    runs: int
    artifacts: int
    artifact_bytes: int

    @property
    def words(self) -> list[str]:
        """One for each kind."""
        kept = f"{_count(self.artifacts, 'artifact')} ({show_size(self.artifact_bytes)})"
        return [
            f"the source of every commit, with its history and messages ({_count(self.pushes, 'push')})",
            f"{_count(self.builds, 'build')}, with logs",
            f"{_count(self.runs, 'run')}, with logs, arguments and environment variables",
            kept if self.artifacts else "no artifact yet",
        ]


def _count(number: int, word: str) -> str:
    plural = f"{word}es" if word.endswith("sh") else f"{word}s"
    return f"{number} {word if number == 1 else plural}"


async def what_shows(session: AsyncSession, repo_id: int) -> Shown:
    """Counted, each by an index."""
    pushes, builds, runs = [
        await session.scalar(select(func.count()).select_from(table).where(table.repo_id == repo_id)) or 0
        for table in (Push, Build, Run)
    ]
    sums = select(func.count(Artifact.id), func.coalesce(func.sum(Artifact.size_bytes), 0))
    kept = await session.execute(
        sums.join(Run, Run.id == Artifact.run_id).where(Run.repo_id == repo_id),
    )
    artifacts, size_bytes = kept.one()
    return Shown(pushes, builds, runs, artifacts, int(size_bytes))


async def propose(session: AsyncSession, repo: Repo, user_id: int, plan: Plan) -> None:
    """The push that brings the first commit may open its repository: nothing else is there yet that could be
    shown by mistake. Only who may change the settings may say so with a push."""
    if not plan.public:
        return
    user = await session.get_one(User, user_id)
    if not may_manage(user, repo):
        return
    repo.public = True
    owner = await session.get_one(User, repo.owner_id)
    what = "public=true, by the manifest of its first push"
    write_down(session, Actor(user.name, "git push"), "repo settings", f"{owner.name}/{repo.name}", what)


def disagreement(plan: Plan, repo: Repo, name: str, url: str) -> str:
    """What a push says whose manifest names something else than the settings; "" if it does not."""
    if plan.public is None or plan.public == repo.public:
        return ""
    asked, is_so = ("true", "private") if plan.public else ("false", "public")
    page = f"{url}/{name}/settings"
    return f"the manifest says public = {asked}, {name} stays {is_so}: its settings decide  {page}"
