"""A repository elsewhere (GitHub, Gitea, Forgejo, GitLab) that one of ours follows: at most one for each.

Its commits come by webhook or are found by polling, and are fetched from `url` alone, whatever a message
says. The webhook's secret, the token and the deploy key are kept in hermes.sealed."""

from sqlalchemy import ForeignKey
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from hermes.columns import Base

KINDS = ("github", "gitea", "gitlab")  # Forgejo is as Gitea
#: What can be sealed for each; the name is `upstream <repo id> <what>`.
HOOK_SECRET, TOKEN, DEPLOY_KEY = "hook secret", "token", "deploy key"


class Upstream(Base):
    """Where a repository of ours gets its commits from, besides pushes."""

    __tablename__ = "upstream"
    repo_id: Mapped[int] = mapped_column(ForeignKey("repo.id"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))  # who connected it: its pushes are theirs
    kind: Mapped[str]  # of KINDS
    base_url: Mapped[str]  # https://github.com, or a forge's own
    api_url: Mapped[str]  # https://api.github.com, https://forge.example.org/api/v3
    name: Mapped[str]  # OWNER/NAME there
    reports: Mapped[bool] = mapped_column(default=True)  # results go back as commit statuses
    created_at: Mapped[float]
    delivered_at: Mapped[float | None]  # the last webhook that was right
    polled_at: Mapped[float | None]
    error: Mapped[str] = mapped_column(default="")  # why the last fetch or report failed

    @property
    def url(self) -> str:
        """What is fetched from."""
        return f"{self.base_url}/{self.name}.git"


def sealed_name(repo_id: int, what: str) -> str:
    """Of one of its secrets, in hermes.sealed."""
    return f"upstream {repo_id} {what}"


async def upstream_of(session: AsyncSession, repo_id: int) -> Upstream | None:
    """If it has one."""
    return await session.get(Upstream, repo_id)
