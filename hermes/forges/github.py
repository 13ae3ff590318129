"""GitHub and GitHub Enterprise: https://docs.github.com/rest (version 2022-11-28)."""

from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from hermes.forges.base import (
    CONTEXT,
    EVENTS,
    MOST_PAGES,
    Base,
    Hook,
    Outcome,
    Seen,
    Status,
    row_id,
    short,
    text_of,
)
from hermes.forges.talk import Denied, Reply, Talk

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
class GitHub:
    """One repository, by its name."""

    talk: Talk
    name: str
    hook_fields: ClassVar[dict[str, Any]] = {"name": "web"}
    page_size: ClassVar[str] = "per_page"

    @property
    def _at(self) -> str:
        return f"/repos/{self.name}"

    async def look(self) -> Seen:
        """Also whether it is still called so: a renamed one is led to by a redirection, and refused."""
        reply = await self.talk.ask("GET", self._at)
        return Seen(text_of(reply.said, "full_name"), bool(reply.said.get("private")), self._lacks(reply))

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
        await self.talk.ask("POST", f"{self._at}/statuses/{status.sha}", body)

    async def base_of(self, number: int) -> Base:
        """https://docs.github.com/rest/pulls"""
        reply = await self.talk.ask("GET", f"{self._at}/pulls/{number}")
        return Base(text_of(reply.said, "base", "ref"), text_of(reply.said, "base", "sha"))

    async def find_comment(self, number: int, mark: str) -> str:
        """Only one that this token's user has written: somebody else may copy the mark."""
        me = await self._login()
        for row in await self._list(f"{self._at}/issues/{number}/comments"):
            is_ours = not me or text_of(row, "user", "login") == me
            if is_ours and text_of(row, "body").startswith(mark):
                return row_id(row)
        return ""

    async def _login(self) -> str:
        """ "" for the token of an app, which is nobody."""
        try:
            return text_of((await self.talk.ask("GET", "/user")).said, "login")
        except Denied:
            return ""

    async def put_comment(self, number: int, body: str, comment: str = "") -> str:
        """https://docs.github.com/rest/issues/comments"""
        method, path = "POST", f"{self._at}/issues/{number}/comments"
        if comment:
            method, path = "PATCH", f"{self._at}/issues/comments/{comment}"
        return row_id((await self.talk.ask(method, path, {"body": body})).said)

    async def put_hook(self, hook: Hook) -> bool:
        """https://docs.github.com/rest/repos/webhooks"""
        config = {"url": hook.url, "content_type": "json", "secret": hook.secret, "insecure_ssl": "0"}
        body = {"config": config, "events": list(EVENTS), "active": True}
        found = await self._find_hook(hook.url)
        if found:
            await self.talk.ask("PATCH", f"{self._at}/hooks/{found}", body)
        else:
            await self.talk.ask("POST", f"{self._at}/hooks", self.hook_fields | body)
        return not found

    async def remove_hook(self, url: str) -> bool:
        """The same."""
        found = await self._find_hook(url)
        if found:
            await self.talk.ask("DELETE", f"{self._at}/hooks/{found}")
        return bool(found)

    async def _find_hook(self, url: str) -> str:
        rows = await self._list(f"{self._at}/hooks")
        return next((row_id(row) for row in rows if text_of(row, "config", "url") == url), "")

    async def _list(self, path: str) -> list[Any]:
        """All pages, within a bound."""
        rows: list[Any] = []
        query: dict[str, Any] = {self.page_size: 50}
        for _ in range(MOST_PAGES):
            reply = await self.talk.ask("GET", path, **query)
            rows += reply.said if isinstance(reply.said, list) else []
            if not reply.following:
                break
            query = dict(parse_qsl(reply.following))
        return rows
