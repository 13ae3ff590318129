"""GitLab: https://docs.gitlab.com/api; a pull request is a merge request there, a comment a note."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from hermes.forges.base import (
    CONTEXT,
    MOST_PAGES,
    Base,
    Hook,
    Outcome,
    Seen,
    Status,
    quoted,
    row_id,
    short,
    text_of,
)
from hermes.forges.talk import Denied, Rejected, Talk

_MOST_DESCRIPTION = 255
_STATES = {
    Outcome.WAITING: "pending",
    Outcome.RUNNING: "running",
    Outcome.SUCCEEDED: "success",
    Outcome.FAILED: "failed",
    Outcome.CANCELLED: "canceled",
    Outcome.LOST: "failed",
}
_DEVELOPER, _MAINTAINER = 30, 40  # levels of access
_EVENTS = ("push_events", "tag_push_events", "merge_requests_events", "note_events", "releases_events")


@dataclass(frozen=True)
class GitLab:
    """One project, by its path."""

    talk: Talk
    name: str

    @property
    def _at(self) -> str:
        return f"/projects/{quoted(self.name)}"

    async def look(self) -> Seen:
        """https://docs.gitlab.com/api/projects"""
        said = (await self.talk.ask("GET", self._at)).said
        may = said.get("permissions") or {}
        parts = [may.get(each) or {} for each in ("project_access", "group_access")]
        level = max(int(part.get("access_level") or 0) for part in parts)
        lacks = []
        if level < _DEVELOPER:
            lacks.append(f"the role Developer in {self.name}, which commit statuses need")
        if level < _MAINTAINER:
            lacks.append(f"the role Maintainer in {self.name}, which webhooks need")
        name = text_of(said, "path_with_namespace")
        return Seen(name, text_of(said, "visibility") != "public", tuple(lacks))

    async def put_status(self, status: Status) -> None:
        """https://docs.gitlab.com/api/commits: a state that it has already is refused, and is no fault."""
        body = {
            "state": _STATES[status.outcome],
            "target_url": status.url,
            "description": short(status.words, _MOST_DESCRIPTION),
            "name": CONTEXT,
        }
        try:
            await self.talk.ask("POST", f"{self._at}/statuses/{status.sha}", body)
        except Rejected as error:
            if error.status != 400 or "transition" not in str(error).lower():
                raise

    async def base_of(self, number: int) -> Base:
        """https://docs.gitlab.com/api/merge_requests"""
        said = (await self.talk.ask("GET", f"{self._at}/merge_requests/{number}")).said
        return Base(text_of(said, "target_branch"), text_of(said, "diff_refs", "base_sha"))

    async def find_comment(self, number: int, mark: str) -> str:
        """Only one that this token's user has written."""
        try:
            me = text_of((await self.talk.ask("GET", "/user")).said, "username")
        except Denied:
            me = ""
        for row in await self._list(f"{self._at}/merge_requests/{number}/notes"):
            is_ours = not me or text_of(row, "author", "username") == me
            if is_ours and text_of(row, "body").startswith(mark):
                return row_id(row)
        return ""

    async def put_comment(self, number: int, body: str, comment: str = "") -> str:
        """https://docs.gitlab.com/api/notes"""
        path = f"{self._at}/merge_requests/{number}/notes"
        method = "PUT" if comment else "POST"
        reply = await self.talk.ask(method, f"{path}/{comment}" if comment else path, {"body": body})
        return row_id(reply.said)

    async def put_hook(self, hook: Hook) -> bool:
        """https://docs.gitlab.com/api/project_webhooks"""
        body: dict[str, Any] = dict.fromkeys(_EVENTS, True)
        body |= {"url": hook.url, "token": hook.secret, "enable_ssl_verification": True}
        found = await self._find_hook(hook.url)
        await self.talk.ask("PUT" if found else "POST", f"{self._at}/hooks{'/' * bool(found)}{found}", body)
        return not found

    async def remove_hook(self, url: str) -> bool:
        """The same."""
        found = await self._find_hook(url)
        if found:
            await self.talk.ask("DELETE", f"{self._at}/hooks/{found}")
        return bool(found)

    async def _find_hook(self, url: str) -> str:
        rows = await self._list(f"{self._at}/hooks")
        return next((row_id(row) for row in rows if text_of(row, "url") == url), "")

    async def _list(self, path: str) -> list[Any]:
        rows: list[Any] = []
        query: dict[str, Any] = {"per_page": 50}
        for _ in range(MOST_PAGES):
            reply = await self.talk.ask("GET", path, **query)
            rows += reply.said if isinstance(reply.said, list) else []
            if not reply.following:
                break
            query = dict(parse_qsl(reply.following))
        return rows
