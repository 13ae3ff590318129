"""A forge for tests: repositories behind git's own HTTP server that can want a token, redirect or be slow;
deliveries in the shapes that GitHub, Gitea and GitLab publish, signed as they sign them."""

import asyncio
import base64
import hmac
import json
import secrets
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.types import Receive, Scope, Send

from bench.http_backend import make_app
from hermes.database import Database
from hermes.git import git_env
from hermes.repos import find_repo
from hermes.secret_keys import key_file
from hermes.settings import load_settings
from hermes.upstreams import HOOK_SECRET, TOKEN, Place, connect, make_hook_secret
from tests.access_tools import ask
from tests.service import Service, WorkTree, free_port, wait_for

SHAPES = Path(__file__).parent / "payloads"
ONE, TWO, NOTHING = "1" * 40, "2" * 40, "0" * 40
Json = dict[str, Any]


class Forge:
    """Its repositories lie in `folder`, by `OWNER/NAME.git`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.token = ""  # who does not show it is refused
        self.redirect = ""  # where everybody is sent
        self.slow_s = 0.0
        self.asked: list[str] = []  # paths, in order
        self.most = self._now = 0  # requests at a time
        self._serve = make_app(folder)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Every request."""
        if scope["type"] == "lifespan":
            return
        self.asked.append(scope["path"])
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            await self._reply(scope, receive, send)
        finally:
            self._now -= 1

    async def _reply(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.slow_s:
            await asyncio.sleep(self.slow_s)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        if self.redirect:
            await _answer(send, 302, [(b"location", (self.redirect + scope["path"]).encode())])
        elif self.token and self.token not in _decoded(headers.get("authorization", "")):
            await _answer(send, 401, [(b"www-authenticate", b'Basic realm="forge"')])
        else:
            await self._serve(scope, receive, send)


def _decoded(header: str) -> str:
    return base64.b64decode(header.partition(" ")[2]).decode()


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


@contextmanager
def open_forge(folder: Path) -> Iterator[Forge]:
    """It answers until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    forge = Forge(folder)
    config = uvicorn.Config(forge, port=forge.port, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for(lambda: server.started)
    try:
        yield forge
    finally:
        server.should_exit = True
        thread.join()


@dataclass
class Followed:
    """A repository on the forge, and the one here that follows it."""

    service: Service
    forge: Forge
    name: str  # on the forge
    here: str  # OWNER/NAME here
    secret: str
    kind: str = "github"
    tree: WorkTree = field(init=False)

    def push(self, *refs: str) -> str:
        """Somebody pushes there; returns the commit."""
        self.tree.git(
            "push", "-q", "--force", str(self.forge.folder / f"{self.name}.git"), *(refs or ("HEAD:main",))
        )
        return self.tree.git("rev-parse", "HEAD")

    def commit(self, message: str = "work", *refs: str) -> str:
        """Somebody commits and pushes there."""
        self.tree.commit(message)
        return self.push(*refs)

    def deliver(self, event: str, payload: Json, **options: Any) -> httpx.Response:
        """As the forge sends it."""
        return deliver(self.service, Delivery(self.kind, event, payload, self.secret), **options)

    @property
    def state(self) -> Json:
        """As the API says."""
        return self.service.api(f"/repos/{self.here}/upstream")

    def arrivals(self) -> list[Json]:
        """The newest first."""
        found: list[Json] = self.state["arrivals"]
        return found

    def settled(self, count: int = 1) -> list[Json]:
        """When so many have come and none is at work."""

        def look() -> list[Json] | None:
            found = self.arrivals()
            busy = [each for each in found if each["state"] == "waiting"]
            return found if len(found) >= count and not busy else None

        return wait_for(look)


def follow(
    service: Service, forge: Forge, repo: str, files: dict[str, str | bytes], **options: Any
) -> Followed:
    """A repository `octo/REPO` there with one commit, and `alice/REPO` here that follows it. `older`: a
    branch that is there before."""
    kind, token = options.get("kind", "github"), options.get("token", "")
    bare = forge.folder / "octo" / f"{repo}.git"
    bare.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(bare)], check=True, env=git_env())
    secret = make_hook_secret()
    with service.client() as client:  # git's probe makes the row
        answer = client.get(
            f"/{service.user}/{repo}.git/info/refs?service=git-receive-pack",
            auth=(service.user, service.token),
        )
        assert answer.status_code == 200, answer.text
    api_url = options.get("api_url", f"{forge.url}/api")
    place = Place(kind, f"octo/{repo}", options.get("base_url", forge.url), api_url)
    found = Followed(service, forge, f"octo/{repo}", f"{service.user}/{repo}", secret, kind)
    found.tree = service.worktree(files, repo)
    if older := options.get("older"):
        found.push(f"HEAD:refs/heads/{older}")
    asyncio.run(_connect(service, repo, place, {HOOK_SECRET: secret, TOKEN: token}))
    found.push()
    return found


async def _connect(service: Service, name: str, place: Place, given: dict[str, str]) -> None:
    settings = load_settings(service.environment())
    database = Database(settings.database)
    try:
        async with database.write() as session:
            repo = await find_repo(session, service.user, name)
            assert repo is not None
            await connect(session, key_file(settings), repo.id, repo.owner_id, place, given)
    finally:
        await database.close()


def shape(name: str, **changes: Any) -> Json:
    """A published payload, with these fields changed: `repository__full_name="octo/pi"`."""
    found: Json = json.loads((SHAPES / f"{name}.json").read_text())
    for path, value in changes.items():
        *folders, last = path.split("__")
        place = found
        for each in folders:
            place = place[each]
        place[last] = value
    return found


@dataclass
class Delivery:
    """One, as it is sent."""

    kind: str
    event: str
    payload: Json
    secret: str
    delivery_id: str = ""

    def __post_init__(self) -> None:
        self.delivery_id = self.delivery_id or secrets.token_hex(16)

    def headers(self, body: bytes) -> dict[str, str]:
        """As each forge sends them."""
        digest = hmac.digest(self.secret.encode(), body, "sha256").hex()
        common = {"Content-Type": "application/json"}
        if self.kind == "github":
            own = {"X-GitHub-Event": self.event, "X-GitHub-Delivery": self.delivery_id}
            return (
                common | own | {"X-Hub-Signature-256": f"sha256={digest}", "User-Agent": "GitHub-Hookshot/1"}
            )
        if self.kind == "gitea":
            own = {"X-Gitea-Event": self.event, "X-Gitea-Delivery": self.delivery_id}
            return common | own | {"X-Gitea-Signature": digest, "X-Hub-Signature-256": f"sha256={digest}"}
        own = {"X-Gitlab-Event": self.event, "X-Gitlab-Event-UUID": self.delivery_id}
        return common | own | {"Idempotency-Key": self.delivery_id, "X-Gitlab-Token": self.secret}


def deliver(
    service: Service, delivery: Delivery, *, path: str = "", body: Any = None, **headers: Any
) -> httpx.Response:
    """Send it; `headers` replace (None: leave out) those that are sent, with `_` for `-`."""
    content = json.dumps(delivery.payload).encode()
    sent: dict[str, str | bytes] = dict(delivery.headers(content))
    for name, value in headers.items():
        sent = {key: each for key, each in sent.items() if key.lower() != name.replace("_", "-").lower()}
        sent |= {} if value is None else {name.replace("_", "-"): value}
    with service.client("") as client:
        address = f"/webhooks/{delivery.kind}{path}"
        raw = {name.encode(): each.encode() if isinstance(each, str) else each for name, each in sent.items()}
        return client.post(address, content=content if body is None else body, headers=raw)


def at_rest(service: Service) -> None:
    """Nothing is built or run any more: what a stop interrupts is another test's business."""
    busy = "SELECT count(*) FROM {} WHERE state IN ('queued', 'building', 'starting', 'running')"
    wait_for(lambda: not any(ask(service, busy.format(table))[0][0] for table in ("build", "run")))


def now() -> str:
    """As GitHub writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
