"""What a forge tells us, in our words: refs to look at, approvals of strangers' commits, or nothing for us.

A payload is believed in what happened and never in where: addresses are made of what is configured here."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from hermes.errors import UserError
from hermes.forges.base import Author
from hermes.names import check_branch
from hermes.refs import BRANCHES, RELEASES, TAGS, pull_ref

LABEL = "hermes"  # whoever sets it on a pull request lets its commit run
_COMMAND = re.compile(r"\s*/hermes run(?:[ \t]+([0-9a-fA-F]{7,40}))?[ \t]*(?:\r?\n|$)")
_SHA = re.compile(r"[0-9a-f]{40}")
_PAGES = {  # what stands between a repository's page and that of a pull request, a commit, a release
    "github": ("/pull/", "/commit/", "/releases/tag/"),
    "gitea": ("/pulls/", "/commit/", "/releases/tag/"),
    "gitlab": ("/-/merge_requests/", "/-/commit/", "/-/releases/"),
}


def commit_page(kind: str, sha: str) -> str:
    """Its path there, below the repository's."""
    return _PAGES[kind][1] + sha


class BadEvent(UserError):
    """It is signed as it should be, and says something that cannot be."""


class Wish(NamedTuple):
    """Look at this ref. `state`: of hermes.arrivals.STATES."""

    ref: str
    sha: str
    words: str
    path: str  # of a page there, below the repository's
    sender: str = ""
    pull_request: int | None = None
    state: str = "waiting"
    reason: str = ""
    told_at: float | None = None


class Approval(NamedTuple):
    """Somebody lets a stranger's commit run. `sha`: its beginning, "" for whichever waits; `told_at`: it must
    have come before that. `author`: of a comment, who must be one that may write there, and `is_said`:
    its message says so; of a label the forge has seen to that."""

    pull_request: int
    sha: str
    sender: str
    told_at: float | None = None
    author: Author | None = None
    is_said: bool = False


class Ignored(NamedTuple):
    """There is nothing to do, and why."""

    why: str


Outcome = Wish | Approval | Ignored


class Payload:
    """A JSON object of a stranger, asked for fields by path. Raises BadEvent for what cannot be."""

    def __init__(self, content: Any) -> None:
        self._content = content

    def get(self, path: str) -> Any:
        """`repository.full_name`; None where there is nothing."""
        found = self._content
        for name in path.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        return found

    def text(self, path: str, default: str | None = None) -> str:
        """A string."""
        found = self.get(path)
        if isinstance(found, str) and "\0" not in found:
            return found[:4096]
        if default is not None:
            return default
        raise BadEvent(f"its {path} is not a text")

    def number(self, path: str) -> int:
        """A number of a pull request or of a user."""
        found = self.get(path)
        if isinstance(found, int) and not isinstance(found, bool) and 0 < found < 1 << 31:
            return found
        raise BadEvent(f"its {path} is not a number")

    def sha(self, path: str) -> str:
        """A commit's id."""
        if _SHA.fullmatch(found := self.text(path)):
            return found
        raise BadEvent(f"its {path} is not the id of a commit")

    def time(self, path: str) -> float | None:
        """Unix seconds, of ISO 8601; None for what is none."""
        try:
            return datetime.fromisoformat(self.text(path, "").replace(" UTC", "Z")).timestamp()
        except ValueError:
            return None

    def names(self, path: str, key: str) -> set[str]:
        """Of a list of objects what each has as `key`."""
        found = self.get(path)
        rows = found if isinstance(found, list) else []
        return {str(each.get(key)) for each in rows if isinstance(each, Mapping)}


def pushed(kind: str, ref: str, sha: str, sender: str) -> Wish:
    """A branch or a tag has moved, appeared or gone."""
    gone = set(sha) == {"0"}
    path = "" if gone else commit_page(kind, sha)
    wish = Wish(ref, sha, f"{'deleted' if gone else 'pushed'} by {sender or 'somebody'}", path, sender)
    if not ref.startswith((BRANCHES, TAGS)):
        return wish._replace(state="refused", reason="it is not a branch or a tag")
    return _with_good_name(wish, ref.split("/", 2)[2])


def released(kind: str, tag: str, sender: str) -> Wish:
    """A release was published: its tag is run."""
    wish = Wish(RELEASES + tag, "", f"released by {sender}", _PAGES[kind][2] + tag, sender)
    return _with_good_name(wish, tag)


def proposed(kind: str, number: int, branch: str, sha: str, sender: str) -> Wish:
    """A pull request of a branch beside its target: as a push of it."""
    wish = Wish(BRANCHES + branch, sha, f"pull request {number} by {sender}", _PAGES[kind][0] + str(number))
    return _with_good_name(wish._replace(sender=sender, pull_request=number), branch)


def stranger(kind: str, number: int, sha: str, sender: str, told_at: float | None) -> Wish:
    """A pull request of somebody else's repository: it waits until somebody who may has looked at it."""
    why = what_lets_run(kind, sha)
    path, words = _PAGES[kind][0] + str(number), f"pull request {number} by {sender}"
    return Wish(pull_ref(number), sha, words, path, sender, number, "held", why, told_at)


def what_lets_run(kind: str, sha: str) -> str:
    """A stranger's commit, in words. Of a label Gitea does not say who has set it."""
    label = "" if kind == "gitea" else f" or label `{LABEL}`"
    return f"a collaborator's comment `/hermes run {sha[:12]}`{label} lets it run"


def commented(number: int, named: str, author: Author, said_at: float | None, newest: str = "") -> Approval:
    """A comment lets the commit run that it names, or the newest one of its moment."""
    if named:
        return Approval(number, named, author.login, None, author)
    return Approval(number, newest, author.login, said_at or 0.0, author)


def closed(kind: str, number: int, sender: str) -> Wish:
    """A stranger's pull request was closed: what is here of it goes."""
    path, words = _PAGES[kind][0] + str(number), f"pull request {number} closed by {sender}"
    return Wish(pull_ref(number), "0" * 40, words, path, sender, number)


def command_of(body: str) -> tuple[bool, str]:
    """Whether a comment begins with our command, and the commit that it names ("": none)."""
    found = _COMMAND.match(body)
    return (False, "") if found is None else (True, (found[1] or "").lower())


def _with_good_name(wish: Wish, name: str) -> Wish:
    try:
        check_branch(name)
    except UserError as error:
        return wish._replace(state="refused", reason=str(error))
    return wish
