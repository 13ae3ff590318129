"""Requests to the API of a forge, with a token: its limits are kept, and its refusals are said in words."""

import hashlib
import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from hermes import __version__
from hermes.outward import Answer, Undelivered, request
from hermes.retry_after import now_there, retry_after_s

_MOST_BYTES = 4 << 20
_MOST_WORDS = 200
_USUAL_WAIT_S, _LONGEST_WAIT_S = 60.0, 6 * 3600.0  # for a forge that limits us and does not say for how long
_REST_S = 5.0  # of a forge that does not answer
_NEXT = re.compile(r'<([^<>]+)>;\s*rel="next"')


class Limited(Undelivered):
    """The forge, or we by its last words: not now."""

    def __init__(self, words: str, wait_s: float) -> None:
        super().__init__(words)
        self.wait_s = wait_s


class Denied(Undelivered):
    """Its token is not good for that, or it is not there any more: a person has to do something."""

    def __init__(self, words: str, hint: str, status: int) -> None:
        super().__init__(words)
        self.hint = hint
        self.status = status


class Rejected(Undelivered):
    """This one it never takes."""

    is_final = True

    def __init__(self, words: str, status: int) -> None:
        super().__init__(words)
        self.status = status


class Gates:
    """Until when nothing is asked of a forge with a token: kept in memory, by all who ask in this process."""

    def __init__(self) -> None:
        self._closed: dict[str, tuple[float, str]] = {}
        self._resting: dict[str, tuple[float, str]] = {}

    def check(self, key: str, *, even_resting: bool = False) -> None:
        """Raises Limited while it is closed, or rests."""
        for closed in (self._closed, *(() if even_resting else (self._resting,))):
            until, words = closed.get(key, (0.0, ""))
            if (wait_s := until - time.monotonic()) > 0:
                raise Limited(words, wait_s)

    def rest(self, key: str, words: str) -> None:
        """It does not answer: the others that wait for it need not find out by themselves."""
        self._resting[key] = (time.monotonic() + _REST_S, words)

    def close(self, key: str, wait_s: float, words: str) -> Limited:
        """Returns what is raised; whoever closes it for longer wins."""
        wait_s = min(max(wait_s, 1.0), _LONGEST_WAIT_S)
        until = max(time.monotonic() + wait_s, self._closed.get(key, (0.0, ""))[0])
        self._closed[key] = (until, words)
        return Limited(words, wait_s)


@dataclass(frozen=True)
class Reply:
    """What it says; `following`: path and query of the next page of a list."""

    status: int
    said: Any
    headers: Mapping[str, str]
    following: str


@dataclass(frozen=True)
class Talk:
    """With one forge, `forge` as people call it, about `about`; `heads` carry the token."""

    api_url: str
    forge: str
    about: str
    heads: Mapping[str, str]
    allowed: Iterable[Any]
    gates: Gates = field(default_factory=Gates)
    for_person: bool = False  # somebody waits for the answer: what did not answer a moment ago is asked again

    @property
    def _key(self) -> str:
        heads = json.dumps([self.api_url, sorted(self.heads.items())])
        return hashlib.sha256(heads.encode()).hexdigest()

    async def ask(self, method: str, path: str, body: Any = None, **query: Any) -> Reply:
        """Raises Limited, Denied, Rejected, and Undelivered when it may help to try again."""
        self.gates.check(self._key, even_resting=self.for_person)
        url = f"{self.api_url}{path}{'?' if query else ''}{urlencode(query)}"
        heads = {"User-Agent": f"hermes/{__version__}", "Accept": "application/json", **self.heads}
        content = b"" if body is None else json.dumps(body).encode()
        if content:
            heads["Content-Type"] = "application/json"
        try:
            answer = await request(method, url, heads, self.allowed, body=content, most_bytes=_MOST_BYTES)
        except Undelivered as error:
            raise self._rest(f"{self.forge} does not answer: {error}") from None
        self._keep_limits(answer)
        return self._read(answer)

    def _read(self, answer: Answer) -> Reply:
        try:
            said = json.loads(answer.body) if answer.body else None
        except ValueError:
            said = None
        if not 200 <= answer.status < 300:
            raise self._refusal(answer, _words(said))
        if said is None and answer.body:
            raise self._rest(f"what answers at {self.api_url} is no {self.forge} API")
        match = _NEXT.search(answer.headers.get("link", ""))
        parts = urlsplit(match[1]) if match else None  # of the same API: only its query is believed
        return Reply(answer.status, said, answer.headers, parts.query if parts else "")

    def _rest(self, words: str) -> Undelivered:
        self.gates.rest(self._key, words)
        return Undelivered(words)

    def _keep_limits(self, answer: Answer) -> None:
        """Raises Limited where it has refused because of one; after the last one allowed nothing is asked."""
        heads = answer.headers
        is_used_up = _number(heads, "x-ratelimit-remaining", "ratelimit-remaining") == 0
        wait_s = _until_reset(heads) if is_used_up else None
        words = f"{self.forge} limits how often it is asked"
        is_refused = answer.status == 429 or (answer.status == 403 and _is_limit(answer, is_used_up))
        if is_refused:
            after = retry_after_s(heads)
            wait_s = after if after is not None else wait_s
            raise self.gates.close(self._key, _USUAL_WAIT_S if wait_s is None else wait_s, words)
        if wait_s is not None:
            self.gates.close(self._key, wait_s, words)

    def _refusal(self, answer: Answer, said: str) -> Undelivered:
        status, more = answer.status, f": {said}" if said else ""
        denied = {
            401: (
                f"{self.forge} does not take the token (401{more})",
                "make a new one, and connect again",
            ),
            403: (
                f"{self.forge} does not let the token do this in {self.about} (403{more})",
                "give it the permissions that are asked for, or make a new one, and connect again",
            ),
            404: (
                f"{self.forge} shows this token no such thing in {self.about} (404{more})",
                "is the name right, and may the token see it? Then connect again",
            ),
        }
        if status in denied:
            return Denied(*denied[status], status)
        if 300 <= status < 400:
            return Denied(f"{self.about} has moved ({status})", "connect again with its new name", status)
        if status >= 500 or status == 408:
            return self._rest(f"{self.forge} has a fault ({status}{more})")
        return Rejected(f"{self.forge} does not take it ({status}{more})", status)


def _words(said: Any) -> str:
    """What it gives as the reason, on one line."""
    if not isinstance(said, dict):
        return ""
    found = [said.get("message") or said.get("error") or ""]
    errors = said.get("errors")
    for each in errors if isinstance(errors, list) else []:
        found.append(each.get("message") or each.get("code") or "" if isinstance(each, dict) else each)
    return " ".join("; ".join(str(each) for each in found if each).split())[:_MOST_WORDS]


def _number(heads: Mapping[str, str], *names: str) -> int | None:
    for name in names:
        if (text := heads.get(name, "")).isdecimal() and len(text) < 16:
            return int(text)
    return None


def _until_reset(heads: Mapping[str, str]) -> float | None:
    reset = _number(heads, "x-ratelimit-reset", "ratelimit-reset")
    return None if reset is None else reset - now_there(heads)


def _is_limit(answer: Answer, is_used_up: bool) -> bool:
    """A 403 that means "too often": GitHub's limits, primary and secondary, answer so."""
    return is_used_up or "retry-after" in answer.headers or b"rate limit" in answer.body.lower()
