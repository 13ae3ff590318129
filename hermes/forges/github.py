"""GitHub and GitHub Enterprise: https://docs.github.com/rest (version 2022-11-28)."""

from dataclasses import dataclass
from typing import Any, ClassVar

from hermes.forges.base import (
    CONTEXT,
    EVENTS,
    Author,
    Base,
    Hook,
    Outcome,
    Seen,
    Status,
    number_of,
    quoted,
    row_id,
    short,
    text_of,
)
from hermes.forges.repository import Repository
from hermes.forges.talk import Reply

_MOST_DESCRIPTION = 140
_STATES = {
    Outcome.WAITING: "pending",
    Outcome.RUNNING: "pending",
    Outcome.SUCCEEDED: "success",
    Outcome.FAILED: "failure",
    Outcome.CANCELLED: "error",
    Outcome.LOST: "error",
}
#: Of the classic tokens, which say what they may: one of these is enough.
_SCOPES = {
    "commit statuses: the scope repo:status": {"repo", "public_repo", "repo:status"},
    "webhooks: the scope admin:repo_hook": {"repo", "admin:repo_hook", "write:repo_hook"},
    "comments on pull requests: the scope repo (public_repo for a public repository)": {
        "repo",
        "public_repo",
    },
}


@dataclass(frozen=True)
class GitHub(Repository):
    """One repository, by its name."""

    hook_fields: ClassVar[dict[str, Any]] = {"name": "web"}
    hook_url: ClassVar[tuple[str, ...]] = ("config", "url")
    writers: ClassVar[tuple[str, ...]] = ("admin", "maintain", "write")  # permissions, of those who may push

    @property
    def at(self) -> str:
        """Its path."""
        return f"/repos/{self.name}"

    async def look(self) -> Seen:
        """Also whether it is still called so: a renamed one is led to by a redirection, and refused."""
        reply = await self.talk.ask("GET", self.at)
        said, lacks = reply.said, self._lacks(reply)
        return Seen(text_of(said, "full_name"), bool(said.get("private")), lacks, text_of(said, "ssh_url"))

    def _lacks(self, reply: Reply) -> tuple[str, ...]:
        lacks = []
        may = reply.said.get("permissions") or {}
        if not may.get("push"):
            lacks.append(f"write access to {self.name}, which commit statuses need")
        if not may.get("admin"):
            lacks.append(f"the rights of an admin of {self.name}, which webhooks need")
        scopes = reply.headers.get("x-oauth-scopes")
        if scopes is not None:
            has = {each.strip() for each in scopes.split(",")}
            lacks += [words for words, enough in _SCOPES.items() if not has & enough]
        return tuple(lacks)

    async def put_status(self, status: Status) -> None:
        """https://docs.github.com/rest/commits/statuses"""
        body = {
            "state": _STATES[status.outcome],
            "target_url": status.url,
            "description": short(status.words, _MOST_DESCRIPTION),
            "context": CONTEXT,
        }
        await self.talk.ask("POST", f"{self.at}/statuses/{status.sha}", body)

    async def base_of(self, number: int) -> Base:
        """https://docs.github.com/rest/pulls"""
        reply = await self.talk.ask("GET", f"{self.at}/pulls/{number}")
        return Base(text_of(reply.said, "base", "ref"), text_of(reply.said, "base", "sha"))

    def member(self, author: Author) -> str:
        """https://docs.github.com/rest/collaborators/collaborators#get-repository-permissions-for-a-user"""
        return f"{self.at}/collaborators/{quoted(author.login)}/permission"

    def is_writer(self, said: Any, author: Author) -> bool:
        """Of a role of one's own making (`role_name`) it is said which of the usual ones it comes to."""
        is_same = number_of(said, "user", "id") == author.user_id
        return is_same and text_of(said, "permission") in self.writers

    def comments(self, number: int) -> str:
        """A pull request is an issue, too."""
        return f"{self.at}/issues/{number}/comments"

    async def put_comment(self, number: int, body: str, comment: str = "") -> str:
        """https://docs.github.com/rest/issues/comments"""
        method, path = "POST", self.comments(number)
        if comment:
            method, path = "PATCH", f"{self.at}/issues/comments/{comment}"
        return row_id((await self.talk.ask(method, path, {"body": body})).said)

    async def put_hook(self, hook: Hook) -> bool:
        """https://docs.github.com/rest/repos/webhooks"""
        config = {"url": hook.url, "content_type": "json", "secret": hook.secret, "insecure_ssl": "0"}
        body = {"config": config, "events": list(EVENTS), "active": True}
        found = await self.find_hook(hook.url)
        if found:
            await self.talk.ask("PATCH", f"{self.at}/hooks/{found}", body)
        else:
            await self.talk.ask("POST", f"{self.at}/hooks", self.hook_fields | body)
        return not found
