"""The API's answers about repositories, accounts and tokens, as models."""

from pydantic import BaseModel


class RepoAnswer(BaseModel):
    """A repository, and what you may do there; `ssh_url` is null where nobody listens for SSH."""

    id: int
    name: str
    public: bool
    default_branch: str
    protected: bool
    may_push: bool
    may_manage: bool
    created_at: float
    url: str
    clone_url: str
    ssh_url: str | None


class RepoPage(BaseModel):
    """Repositories; `next` is the address of the following ones."""

    repos: list[RepoAnswer]
    next: str | None
