"""What Hermes wants of any forge, and the words that all of them share."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

CONTEXT = "hermes"  # under which a commit's state stands there; rules for branches name it
#: What webhooks are asked for; a forge has its own words for them.
EVENTS = ("push", "pull_request", "issue_comment", "release")


class Outcome(StrEnum):
    """How it stands with a commit."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # the user's program, or its build
    CANCELLED = "cancelled"
    LOST = "lost"  # a fault of ours


@dataclass(frozen=True)
class Status:
    """What a commit is said to be; `url` is our page of it."""

    sha: str
    outcome: Outcome
    words: str
    url: str


@dataclass(frozen=True)
class Hook:
    """A webhook of ours there."""

    url: str
    secret: str


@dataclass(frozen=True)
class Seen:
    """A repository there, as the token shows it; `lacks`: what the token may not do, in words; `ssh_url`:
    where it is said to be cloned from over SSH."""

    name: str
    is_private: bool
    lacks: tuple[str, ...]
    ssh_url: str = ""


@dataclass(frozen=True)
class Base:
    """Where a pull request is to go."""

    ref: str
    sha: str


class Author(NamedTuple):
    """Who has written something there. A name may become somebody else's, the number does not."""

    login: str
    user_id: int


class Forge(Protocol):
    """One repository of a forge. Every method raises what `Talk.ask` does."""

    async def look(self) -> Seen:
        """The repository, and what the token may do there."""

    async def put_status(self, status: Status) -> None:
        """Say how it stands with a commit; the last one that is put counts."""

    async def base_of(self, number: int) -> Base:
        """Of a pull request."""

    async def may_write(self, author: Author) -> bool:
        """Whether they may push there. What is not said clearly means no."""

    async def find_comment(self, number: int, mark: str) -> str:
        """The id of our comment there that begins with the mark; "" if there is none."""

    async def put_comment(self, number: int, body: str, comment: str = "") -> str:
        """Write one, or change ours; returns its id."""

    async def put_hook(self, hook: Hook) -> bool:
        """Make it, or bring the one with its address up to date. True: it is new."""

    async def remove_hook(self, url: str) -> bool:
        """Whether there was one."""

    async def put_key(self, title: str, public: str) -> bool:
        """A deploy key that may read. True: it is new."""

    async def remove_key(self, public: str) -> bool:
        """Whether there was one."""


def text_of(row: Any, *path: str) -> str:
    """A text at a place of an answer; "" where it has none."""
    for key in path:
        row = row.get(key) if isinstance(row, dict) else None
    return row if isinstance(row, str) else ""


def number_of(row: Any, *path: str) -> int | None:
    """A whole number at a place of an answer."""
    for key in path:
        row = row.get(key) if isinstance(row, dict) else None
    return row if isinstance(row, int) and not isinstance(row, bool) else None


def row_id(row: Any) -> str:
    """Of something that was made there."""
    found = row.get("id") if isinstance(row, dict) else None
    return str(found) if isinstance(found, int | str) else ""


def quoted(name: str) -> str:
    """`group/project` as one part of a path."""
    return quote(name, safe="")


def short(words: str, most: int) -> str:
    """As many characters as there is room for."""
    return words if len(words) <= most else words[: most - 1] + "…"
