"""What is alike with every forge, but for the names of paths and fields."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from hermes.deploy_keys import is_same_key
from hermes.forges.base import Author, row_id, text_of
from hermes.forges.talk import Denied, Rejected, Talk

_MOST_PAGES = 20  # of a list there: hooks, comments


@dataclass(frozen=True)
class Repository(ABC):
    """One, by its name there."""

    talk: Talk
    name: str
    page_size: ClassVar[str] = "per_page"
    login: ClassVar[str] = "login"  # of a user, what people call them
    author: ClassVar[str] = "user"  # of a comment
    hook_url: ClassVar[tuple[str, ...]] = ("url",)  # where a webhook has its address
    keys: ClassVar[str] = "keys"  # the path of its deploy keys
    reads_only: ClassVar[tuple[str, bool]] = ("read_only", True)  # of one that does

    @property
    @abstractmethod
    def at(self) -> str:
        """Its path."""

    @abstractmethod
    def comments(self, number: int) -> str:
        """The path of the comments on a pull request."""

    @abstractmethod
    def member(self, author: Author) -> str:
        """The path of what somebody may do there."""

    @abstractmethod
    def is_writer(self, said: Any, author: Author) -> bool:
        """Whether the answer says that this very user may write."""

    async def may_write(self, author: Author) -> bool:
        """Who is no member is not found; nobody is called `.` or `..`, which lead to other addresses."""
        if not author.login.strip("."):
            return False
        try:
            said = (await self.talk.ask("GET", self.member(author))).said
        except Rejected:
            return False
        except Denied as error:
            if error.status == 404:
                return False
            raise
        return self.is_writer(said, author)

    async def find_comment(self, number: int, mark: str) -> str:
        """Only one that this token's user has written: somebody else may copy the mark."""
        me = await self._login()
        for row in await self._list(self.comments(number)):
            is_ours = not me or text_of(row, self.author, self.login) == me
            if is_ours and text_of(row, "body").startswith(mark):
                return row_id(row)
        return ""

    async def _login(self) -> str:
        """ "" for the token of an app, which is nobody."""
        try:
            return text_of((await self.talk.ask("GET", "/user")).said, self.login)
        except Denied:
            return ""

    async def remove_hook(self, url: str) -> bool:
        """Whether there was one."""
        found = await self.find_hook(url)
        if found:
            await self.talk.ask("DELETE", f"{self.at}/hooks/{found}")
        return bool(found)

    async def find_hook(self, url: str) -> str:
        """The id of the webhook with this address; "" if there is none."""
        rows = await self._list(f"{self.at}/hooks")
        return next((row_id(row) for row in rows if text_of(row, *self.hook_url) == url), "")

    async def put_key(self, title: str, public: str) -> bool:
        """One that may write is replaced: none of ours was made so."""
        path, (name, value) = f"{self.at}/{self.keys}", self.reads_only
        for row in await self._keys(public):
            if row.get(name) == value:
                return False
            await self.talk.ask("DELETE", f"{path}/{row_id(row)}")
        await self.talk.ask("POST", path, {"title": title, "key": public, name: value})
        return True

    async def remove_key(self, public: str) -> bool:
        """Whether there was one."""
        found = await self._keys(public)
        for row in found:
            await self.talk.ask("DELETE", f"{self.at}/{self.keys}/{row_id(row)}")
        return bool(found)

    async def _keys(self, public: str) -> list[dict[str, Any]]:
        """Those there that are this one."""
        rows = await self._list(f"{self.at}/{self.keys}")
        return [row for row in rows if is_same_key(text_of(row, "key"), public)]

    async def _list(self, path: str) -> list[Any]:
        """All pages, within a bound."""
        rows: list[Any] = []
        query: dict[str, Any] = {self.page_size: 50}
        for _ in range(_MOST_PAGES):
            reply = await self.talk.ask("GET", path, **query)
            rows += reply.said if isinstance(reply.said, list) else []
            if not reply.following:
                break
            query = dict(parse_qsl(reply.following))
        return rows
