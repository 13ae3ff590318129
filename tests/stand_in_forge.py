"""A forge by real HTTP: the addresses of GitHub's API that Hermes uses, as Gitea has them too, and GitLab's.

It writes down every request, and it can fail, be slow, limit how often it is asked, and revoke tokens."""

import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import httpx

from tests.service import PATIENCE_S

Row = dict[str, Any]


class Call(NamedTuple):
    """One request, and what it was answered."""

    method: str
    path: str
    heads: dict[str, str]
    body: Any
    status: int


@dataclass
class There:
    """One repository of the forge."""

    name: str
    private: bool = False
    permissions: Row = field(default_factory=lambda: {"admin": True, "push": True, "pull": True})
    shas: set[str] | None = None  # None: it has every commit
    statuses: list[Row] = field(default_factory=list)
    hooks: list[Row] = field(default_factory=list)
    comments: list[Row] = field(default_factory=list)
    keys: list[Row] = field(default_factory=list)  # deploy keys
    pulls: dict[int, Row] = field(default_factory=dict)
    people: dict[str, tuple[int, str]] = field(default_factory=dict)  # {login: (id, permission)}
    odd: "Answer | None" = None  # what it says of people instead

    def states(self, sha: str) -> list[str]:
        """What a commit was said to be, in the order in which it came."""
        return [each["state"] for each in self.statuses if each["sha"] == sha]

    def last(self, sha: str) -> Row:
        """What counts of them."""
        return next(each for each in reversed(self.statuses) if each["sha"] == sha)


class Forge(ThreadingHTTPServer):
    """`fails`: the statuses of the next answers; `limited`: until when all are refused, by `limit`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.calls: list[Call] = []
        self.fails: list[int] = []
        self.tokens: dict[str, str | None] = {"good": None}  # {token: the scopes that it shows}
        self.there: dict[str, There] = {}
        self.limited_until = 0.0
        self.limit_heads: Callable[[float], dict[str, str]] = retry_after
        self.page_size = 30
        self.git_url = ""  # who answers to git, at the same address
        self.folder = Path()  # of its repository
        self.ssh = ""  # `git@localhost:2222`, where it says that it answers to SSH
        self.more_heads: dict[str, str] = {}  # of every answer
        self.is_answering = threading.Event()  # until it is set, who asks waits
        self.is_answering.set()
        self.ids = itertools.count(101)
        self.one_by_one = threading.Lock()

    @property
    def url(self) -> str:
        """As people name it; a name, as what it means is looked at when it is connected to."""
        return f"http://localhost:{self.server_port}"

    def add(self, name: str, **values: Any) -> There:
        """A repository that is there."""
        self.there[name] = There(name, **values)
        return self.there[name]

    def asked(self, method: str, pattern: str) -> list[Call]:
        """Which requests there were."""
        return [each for each in self.calls if each.method == method and re.search(pattern, each.path)]

    def limit(self, seconds: float, heads: "Callable[[float], dict[str, str]] | None" = None) -> None:
        """Refuse everything for a while."""
        self.limit_heads = heads or retry_after
        self.limited_until = time.time() + seconds


def retry_after(left_s: float) -> dict[str, str]:
    """As GitHub's secondary limits say it."""
    return {"Retry-After": str(int(left_s) + 1)}


def used_up(left_s: float) -> dict[str, str]:
    """As its primary one does."""
    return {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time() + left_s) + 1)}


@contextmanager
def forging() -> Iterator[Forge]:
    """One that answers."""
    with Forge() as forge:
        threading.Thread(target=forge.serve_forever, args=(0.02,), daemon=True).start()
        yield forge
        forge.shutdown()


class Answer(NamedTuple):
    """What a handler says."""

    status: int
    said: Any = None
    heads: tuple[tuple[str, str], ...] = ()


_MISSING = Answer(404, {"message": "Not Found"})


class _Handler(BaseHTTPRequestHandler):
    server: Forge
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        if ".git/" in self.path and self.server.git_url:
            self._relay()
            return
        size = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(size)) if size else None
        self.server.is_answering.wait(PATIENCE_S)
        with self.server.one_by_one:
            answer = self._refused() or self._of(urlsplit(self.path).path, body)
            self.server.calls.append(Call(self.command, self.path, dict(self.headers), body, answer.status))
        content = b"" if answer.said is None else json.dumps(answer.said).encode()
        self.send_response(answer.status)
        for name, value in (
            *answer.heads,
            *self.server.more_heads.items(),
            ("Content-Length", str(len(content))),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _relay(self) -> None:
        """What git asks, to who knows about git."""
        body = self._read_all()
        mine = ("host", "content-length", "transfer-encoding")
        heads = {name: value for name, value in self.headers.items() if name.lower() not in mine}
        url = self.server.git_url + self.path
        answer = httpx.request(self.command, url, content=body, headers=heads, timeout=PATIENCE_S)
        content = answer.read()
        self.send_response(answer.status_code)
        self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _read_all(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _answer

    def log_message(self, *_: object) -> None:
        """Quiet."""

    @property
    def _token(self) -> str:
        words = self.headers.get("Authorization", "").split()
        return words[-1] if words else self.headers.get("PRIVATE-TOKEN", "")

    def _refused(self) -> Answer | None:
        forge, left_s = self.server, self.server.limited_until - time.time()
        if left_s > 0:
            heads = tuple(forge.limit_heads(left_s).items())
            return Answer(403, {"message": "You have exceeded a secondary rate limit."}, heads)
        if forge.fails:
            status = forge.fails.pop(0)
            return Answer(status, {"message": "out of order"}, (("Location", "http://127.0.0.1:1/"),))
        if self._token and self._token not in forge.tokens:
            return Answer(401, {"message": "Bad credentials"})
        return None

    def _of(self, path: str, body: Any) -> Answer:
        for pattern, act in _ROUTES:
            method, _, form = pattern.partition(" ")
            match = re.fullmatch(r"/api/v[134]" + form, path)
            if match and method == self.command:
                values = [unquote(each) for each in match.groups()]
                return act(self, body, *values)
        return _MISSING

    def _there(self, name: str) -> There | None:
        """Whatever the capitals."""
        found = {each.lower(): there for each, there in self.server.there.items()}.get(name.lower())
        return None if found is None or (found.private and not self._token) else found

    def _page(self, rows: list[Any]) -> Answer:
        """One page of a list, and in `Link` where the next one is."""
        at, size = int((parse_qs(urlsplit(self.path).query).get("page") or ["1"])[0]), self.server.page_size
        heads: tuple[tuple[str, str], ...] = ()
        if len(rows) > at * size:
            path = urlsplit(self.path).path
            heads = (("Link", f'<{self.server.url}{path}?page={at + 1}>; rel="next"'),)
        return Answer(200, rows[(at - 1) * size : at * size], heads)

    def me(self, body: Any) -> Answer:
        return Answer(200, {"login": f"of-{self._token}", "username": f"of-{self._token}"})

    def repository(self, body: Any, name: str) -> Answer:
        there = self._there(name)
        if there is None:
            return _MISSING
        scopes = self.server.tokens.get(self._token)
        heads = () if scopes is None else (("X-OAuth-Scopes", scopes),)
        level = 40 if there.permissions["admin"] else 30 if there.permissions["push"] else 10
        ssh_url = f"ssh://{self.server.ssh}/{there.name}.git" if self.server.ssh else ""
        gitlab = {
            "ssh_url_to_repo": ssh_url,
            "path_with_namespace": there.name,
            "visibility": "private" if there.private else "public",
            "permissions": {"project_access": {"access_level": level}, "group_access": None},
        }
        if "/api/v4/" in self.path:
            return Answer(200, gitlab, heads)
        said = {"full_name": there.name, "private": there.private, "permissions": there.permissions}
        said["ssh_url"] = ssh_url
        return Answer(200, said, heads)

    def status(self, body: Any, name: str, sha: str) -> Answer:
        there = self._there(name)
        if there is None or not there.permissions["push"]:
            return _MISSING
        if there.shas is not None and sha not in there.shas:
            return Answer(422, {"message": f"No commit found for SHA: {sha}"})
        there.statuses.append(body | {"sha": sha})
        return Answer(201, {"id": next(self.server.ids)})

    def list_hooks(self, body: Any, name: str) -> Answer:
        there = self._there(name)
        return self._page(there.hooks) if there and there.permissions["admin"] else _MISSING

    def make_hook(self, body: Any, name: str) -> Answer:
        there = self._there(name)
        if there is None or not there.permissions["admin"]:
            return _MISSING
        if any(_url(each) == _url(body) for each in there.hooks):
            errors = [{"message": "Hook already exists on this repository"}]
            return Answer(422, {"message": "Validation Failed", "errors": errors})
        there.hooks.append(body | {"id": next(self.server.ids)})
        return Answer(201, there.hooks[-1])

    def change_hook(self, body: Any, name: str, number: str) -> Answer:
        there = self._there(name)
        for hook in there.hooks if there else ():
            if str(hook["id"]) == number:
                hook.update(body)
                return Answer(200, hook)
        return _MISSING

    def remove_hook(self, body: Any, name: str, number: str) -> Answer:
        there = self._there(name)
        if there is None or number not in [str(hook["id"]) for hook in there.hooks]:
            return _MISSING
        there.hooks = [hook for hook in there.hooks if str(hook["id"]) != number]
        return Answer(204)

    def list_keys(self, body: Any, name: str) -> Answer:
        there = self._there(name)
        return self._page(there.keys) if there and there.permissions["admin"] else _MISSING

    def make_key(self, body: Any, name: str) -> Answer:
        there = self._there(name)
        if there is None or not there.permissions["admin"]:
            return _MISSING
        words = [each["key"].split()[:2] for every in self.server.there.values() for each in every.keys]
        if body["key"].split()[:2] in words:
            return Answer(
                422, {"message": "Validation Failed", "errors": [{"message": "key is already in use"}]}
            )
        row = body | {"id": next(self.server.ids), "key": " ".join(body["key"].split()[:2])}
        there.keys.append(row)
        return Answer(201, row)

    def remove_key(self, body: Any, name: str, number: str) -> Answer:
        there = self._there(name)
        if there is None or number not in [str(each["id"]) for each in there.keys]:
            return _MISSING
        there.keys = [each for each in there.keys if str(each["id"]) != number]
        return Answer(204)

    def pull(self, body: Any, name: str, number: str) -> Answer:
        there = self._there(name)
        found = there.pulls.get(int(number)) if there else None
        return Answer(200, found) if found else _MISSING

    def permission(self, body: Any, name: str, login: str) -> Answer:
        there = self._there(name)
        found = {each.lower(): person for each, person in there.people.items()} if there else {}
        if there is None or login.lower() not in found:
            return _MISSING
        user_id, may = found[login.lower()]
        said = {"permission": may, "role_name": may, "user": {"login": login, "id": user_id}}
        return there.odd or Answer(200, said)

    def member(self, body: Any, name: str, number: str) -> Answer:
        there = self._there(name)
        for login, (user_id, may) in there.people.items() if there else ():
            if there and str(user_id) == number:
                said = {"id": user_id, "username": login, "state": "active", "membership_state": "active"}
                said["access_level"] = _LEVELS[may]
                return there.odd or Answer(200, said)
        return _MISSING

    def list_comments(self, body: Any, name: str, number: str) -> Answer:
        there = self._there(name)
        if there is None:
            return _MISSING
        return self._page([each for each in there.comments if each["of"] == number])

    def comment(self, body: Any, name: str, number: str) -> Answer:
        there = self._there(name)
        if there is None:
            return _MISSING
        who = f"of-{self._token}"
        row = {"id": next(self.server.ids), "of": number, "user": {"login": who}, "author": {"username": who}}
        there.comments.append(row | body)
        return Answer(201, there.comments[-1])

    def change_comment(self, body: Any, name: str, *numbers: str) -> Answer:
        there = self._there(name)
        for row in there.comments if there else ():
            if str(row["id"]) == numbers[-1]:
                row.update(body)
                return Answer(200, row)
        return _MISSING


def _url(hook: Row) -> str:
    return str(hook["config"]["url"] if "config" in hook else hook["url"])


_LEVELS = {"owner": 50, "admin": 40, "maintain": 40, "write": 30, "read": 20, "none": 0}
_GITHUB, _GITLAB = "/repos/([^/]+/[^/]+)", "/projects/([^/]+)"
_ROUTES: tuple[tuple[str, Callable[..., Answer]], ...] = (
    ("GET /user", _Handler.me),
    (f"GET {_GITHUB}", _Handler.repository),
    (f"POST {_GITHUB}/statuses/([0-9a-f]+)", _Handler.status),
    (f"GET {_GITHUB}/hooks", _Handler.list_hooks),
    (f"POST {_GITHUB}/hooks", _Handler.make_hook),
    (f"PATCH {_GITHUB}/hooks/(\\d+)", _Handler.change_hook),
    (f"DELETE {_GITHUB}/hooks/(\\d+)", _Handler.remove_hook),
    (f"GET {_GITHUB}/keys", _Handler.list_keys),
    (f"POST {_GITHUB}/keys", _Handler.make_key),
    (f"DELETE {_GITHUB}/keys/(\\d+)", _Handler.remove_key),
    (f"GET {_GITHUB}/pulls/(\\d+)", _Handler.pull),
    (f"GET {_GITHUB}/collaborators/([^/]+)/permission", _Handler.permission),
    (f"GET {_GITHUB}/issues/(\\d+)/comments", _Handler.list_comments),
    (f"POST {_GITHUB}/issues/(\\d+)/comments", _Handler.comment),
    (f"PATCH {_GITHUB}/issues/comments/(\\d+)", _Handler.change_comment),
    (f"GET {_GITLAB}", _Handler.repository),
    (f"POST {_GITLAB}/statuses/([0-9a-f]+)", _Handler.status),
    (f"GET {_GITLAB}/hooks", _Handler.list_hooks),
    (f"POST {_GITLAB}/hooks", _Handler.make_hook),
    (f"PUT {_GITLAB}/hooks/(\\d+)", _Handler.change_hook),
    (f"DELETE {_GITLAB}/hooks/(\\d+)", _Handler.remove_hook),
    (f"GET {_GITLAB}/deploy_keys", _Handler.list_keys),
    (f"POST {_GITLAB}/deploy_keys", _Handler.make_key),
    (f"DELETE {_GITLAB}/deploy_keys/(\\d+)", _Handler.remove_key),
    (f"GET {_GITLAB}/members/all/(\\d+)", _Handler.member),
    (f"GET {_GITLAB}/merge_requests/(\\d+)", _Handler.pull),
    (f"GET {_GITLAB}/merge_requests/(\\d+)/notes", _Handler.list_comments),
    (f"POST {_GITLAB}/merge_requests/(\\d+)/notes", _Handler.comment),
    (f"PUT {_GITLAB}/merge_requests/(\\d+)/notes/(\\d+)", _Handler.change_comment),
)
