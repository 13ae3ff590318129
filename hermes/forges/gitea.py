"""Gitea and Forgejo: their API has GitHub's shape (https://docs.gitea.com/api, https://forgejo.org/docs)."""

from dataclasses import dataclass
from typing import Any, ClassVar

from hermes.forges.github import GitHub


@dataclass(frozen=True)
class Gitea(GitHub):
    """One repository; what is not said here is as with GitHub. Its tokens do not say what they may."""

    hook_fields: ClassVar[dict[str, Any]] = {"type": "gitea"}
    writers: ClassVar[tuple[str, ...]] = ("owner", "admin", "write")
    page_size: ClassVar[str] = "limit"
