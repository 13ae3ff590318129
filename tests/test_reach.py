"""Every route, for every role, on what is hidden, public and not there: nobody gets or learns more."""

import asyncio
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from starlette.routing import BaseRoute, Mount, Route

from gitserver.child import Git
from gitserver.door import Door
from hermes.images import load_images
from hermes.pools import load_pools
from hermes.process import open_context
from hermes.serve import make_app
from hermes.settings import Settings
from hermes.throttle import Throttle
from tests.access_tools import browsing, open_house, secret_of
from tests.programs import shell
from tests.reach import ROLES, SIGN_IN, TABLE, Rule
from tests.service import Service, wait_for
from tests.ssh import make_key, public

#: Of names that may be seen; how like that which was asked for they are depends on that alone.
NEAR = "did you mean [^?]+[?]|`hermes functions list` says which you may invoke"
LEAVES = 'echo words; echo file >"$HERMES_OUTPUT_DIR/out.txt"'
GIT = "/{owner}/{name}"
RAW = re.compile(" /api/|/logs?$|/log/|/result$|/events$|zip$|^GET /artifacts/")
Objects = dict[str, str]


RARELY = '[on]\nschedule = "0 0 1 1 *"\nupload = "*.txt"\n'


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance of its own: its people mistake their tokens often."""
    settings = {"HERMES_TRUST": "all", "HERMES_LOGIN_FAILURES": "100000"}
    yield from open_house(tmp_path_factory.mktemp("reach"), **settings)


@pytest.fixture(scope="module")
def secrets(house: Service) -> dict[str, str]:
    """A token of each role; collaborators are made in `objects`."""
    found = {"nobody": "", "owner": house.token}
    found |= {name: house.add_user(name) for name in ("other", "reader", "writer")}
    return found | {"admin": house.admin("user", "add", "--admin", "root").stdout.strip()}


def objects_of(house: Service, name: str, manifest: str) -> Objects:
    """A repository with all that there can be of one, and what its addresses are made of."""
    pushed = house.push(shell(LEAVES, manifest), repo=f"alice/{name}")
    run = house.run_of(pushed)
    assert run["state"] == "succeeded", run
    artifact = httpx.URL(run["artifacts"][0]["url"]).path.split("/")[2]
    notification = told(house, f"repos/alice/{name}/")
    found = {"owner": "alice", "repo": name, "sha": pushed.sha, "run": run["id"], "build": run["build"]}
    with house.client() as client:
        upload = client.put(f"/api/v1/functions/alice/{name}/inbox/out.txt", content=b"words").json()
    house.settled(pushed)
    known = {key: str(value) for key, value in found.items()} | {"upload": str(upload["id"])}
    known |= {"repo_notification": notification, "attempt": "999999", "number": "1", "act": "pause"}
    return known | {"artifact": artifact, "rank": "0", "function": name}


def told(house: Service, whose: str) -> str:
    """The number of a notification."""
    wish = {"kind": "webhook", "target": "https://hermes.invalid/"}
    with house.client() as client:
        answer = client.post(f"/api/v1/{whose}notifications", json=wish)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.fixture(scope="module")
def objects(
    house: Service, secrets: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Objects]:
    """What is private, what is public, and names and numbers of what does not exist."""
    private, opened = (
        objects_of(house, "hidden-one", RARELY),
        objects_of(house, "open-one", "public = true\n" + RARELY),
    )
    key = public(make_key(tmp_path_factory.mktemp("key")))
    with browsing(house, house.token) as owner:
        for repo in ("hidden-one", "open-one"):
            for user, role in (("reader", "read"), ("writer", "write")):
                form = {"do": "set-collaborator", "user": user, "role": role}
                assert owner.post(f"/alice/{repo}/settings", data=form).status_code == 303
        secret_of(owner.post("/settings/tokens", data={"name": "to be revoked"}))
        secret_of(owner.post("/settings/tokens", data={"name": "to be revoked by a program"}))
        assert owner.post("/settings/keys", data={"key": key}).status_code == 303
        tokens = re.findall(r"/tokens/(\d+)/revoke", owner.get("/settings/tokens").text)
        rows = {
            "token": tokens[0],
            "token_id": tokens[1],
            "arrival": "999999",
            "key": re.findall(r"/keys/(\d+)/remove", owner.get("/settings/keys").text)[0],
            "notification": told(house, ""),
        }
    kinds = ("run", "build", "artifact", "upload", "token", "token_id", "key", "notification")
    numbers = dict.fromkeys((*kinds, "repo_notification", "attempt", "arrival"), "999999")
    names = {"owner": "alice", "repo": "no-such-one", "function": "no-such-one", "rank": "0"}
    names |= {"number": "1", "act": "pause"}
    missing = names | {"sha": "f" * 40} | numbers
    return {"private": private | rows, "public": opened | rows, "missing": missing}


async def registered(folder: Path) -> set[str]:
    """`METHOD /path` of everything that the composed application answers."""
    settings = Settings(data=folder, redis_url="none")
    async with open_context(settings) as context:
        images, pools = load_images(settings.images), load_pools(settings.pools)
        door = Door(context, images, pools, Git(settings), Throttle(1, 1))
        return set(walk(make_app(door, asyncio.Event()).routes))


def walk(routes: list[BaseRoute], under: str = "") -> Iterator[str]:
    for route in routes:
        if isinstance(route, Mount) and route.path.startswith("/static/"):
            continue  # files of ours, for everybody
        assert isinstance(route, Route | Mount), f"what is {route}?"
        if isinstance(route, Mount):
            yield from walk(route.routes, under + route.path)
        else:
            yield from (f"{method} {under}{route.path}" for method in (route.methods or set()) - {"HEAD"})


async def test_the_table_has_every_route_and_no_other(tmp_path: Path) -> None:
    assert await registered(tmp_path) == {key.partition("?")[0] for key in TABLE}


class Visit:
    """One role at every address of the table."""

    def __init__(self, stack: ExitStack, house: Service, role: str, secret: str) -> None:
        self.role, self.secret = role, secret
        self.browser = stack.enter_context(browsing(house, secret))
        self.program = stack.enter_context(house.client(secret))
        self.nobody = stack.enter_context(house.client(""))

    def doors(self, key: str) -> dict[str, httpx.Client]:
        """How this address is asked: by cookie, by token, or by git."""
        if GIT in key:
            return {"git": self.nobody}
        if "{token}" in key or "{key}" in key:  # what is taken away is taken once
            return {"browser": self.browser}
        program = {"program": self.program}
        return program if " /api/" in key else {"browser": self.browser} | program

    def ask(self, client: httpx.Client, key: str, rule: Rule, where: Objects) -> httpx.Response:
        """The answer, and nothing of it is kept open."""
        method, path = address(key, where)
        headers, auth = {}, None
        if client is self.nobody:
            service = re.search(r"git-\w+-pack", path)
            headers = {"Content-Type": f"application/x-{service[0]}-request"} if service else {}
            auth = ("", self.secret) if self.secret else None
        data = rule.body if rule.body and method in ("POST", "PUT") else None
        if rule.parts:
            parts = {part: (None, text) for part, text in rule.parts.items()}
            return client.request(method, path, files=parts, headers=headers, auth=auth)
        if rule.json:
            return client.request(method, path, json=dict(rule.json), headers=headers, auth=auth)
        return client.request(method, path, data=rule.form or None, content=data, headers=headers, auth=auth)


def address(key: str, where: Objects) -> tuple[str, str]:
    """The method and the path of a row for these objects."""
    method, _, path = key.partition(" ")
    if path.endswith(".git/info/refs"):
        path += "?service=git-upload-pack"
    name = where["repo"] if GIT in key or "/functions/" in key else "out.txt"
    name = "API_TOKEN" if "/secrets/" in key else name
    file = "objects/batch" if GIT in key else "main.sh" if "/source/" in key else "out.txt"
    function = f"{where['function']}:9.9.9" if method == "DELETE" else where["function"]
    notification = where["repo_notification" if "/repos/" in key else "notification"]
    if method == "DELETE" and "/repos/" in key:
        notification = "999999"
    values = where | {"name": name, "path": file, "function": function, "notification": notification}
    return method, re.sub(r"\{(\w+)(?::path)?\}", lambda match: values[match[1]], path)


def expected(status: int, door: str, key: str) -> int:
    """A browser that has to sign in is led there; so is a program that sends no token to a page."""
    if status != SIGN_IN:
        return status
    return 401 if door == "git" or (door == "program" and RAW.search(key)) else 303


@pytest.mark.parametrize("role", ROLES)
def test_each_role_gets_what_the_table_says(
    house: Service, secrets: dict[str, str], objects: dict[str, Objects], role: str
) -> None:
    wrong = []
    live = "/runs?state=queued&state=starting&state=running"
    wait_for(lambda: not house.api(live)["runs"])  # what the role before has started: latest means it
    with ExitStack() as stack:
        visit = Visit(stack, house, role, secrets[role])
        for key, rule in TABLE.items():
            for kind, row in (("private", rule.private), ("public", rule.public), ("missing", rule.missing)):
                where = objects[kind]
                if kind == "missing" and "receive-pack" in key:  # it is there afterwards
                    where = where | {"repo": f"new-{time.monotonic_ns()}"}
                for door, client in visit.doors(key).items() if row else ():
                    answer = visit.ask(client, key, rule, where)
                    status = expected(row[ROLES.index(role)], door, key)
                    if answer.status_code != status:
                        wrong.append(f"{key} {kind} by {door}: {answer.status_code}, not {status}")
    assert not wrong, "\n".join(wrong)


def plain(answer: httpx.Response, path: str, where: Objects) -> tuple[Any, ...]:
    """All of an answer that could tell something, without the names that were asked for. `Connection` tells
    whether a body came before its answer, which is chance."""

    def without(text: str) -> str:
        for name in (path, where["repo"], where["sha"], where["sha"][:12]):
            text = text.replace(name, "NAME")
        return re.sub(NEAR, "NEAR", text)

    return (
        answer.status_code,
        without(answer.text),
        without(unquote(answer.headers.get("location", ""))),
        sorted(set(answer.headers) - {"date", "content-length", "connection"}),
    )


@pytest.mark.parametrize("role", ["nobody", "other"])
def test_hidden_and_missing_are_the_same(
    house: Service, secrets: dict[str, str], objects: dict[str, Objects], role: str
) -> None:
    compared = 0
    with ExitStack() as stack:
        visit = Visit(stack, house, role, secrets[role])
        for key, rule in TABLE.items():
            if not rule.missing or rule.private[ROLES.index(role)] not in (SIGN_IN, 401, 404):
                continue
            for client in visit.doors(key).values():
                seen = []
                for kind in ("private", "missing"):
                    answer = visit.ask(client, key, rule, objects[kind])
                    seen.append(plain(answer, address(key, objects[kind])[1], objects[kind]))
                assert seen[0] == seen[1], key
                compared += 1
    assert compared > 40


@pytest.mark.parametrize("scope", ["read", "push", "deploy"])
def test_a_token_that_is_for_git_opens_nothing_else(
    house: Service, objects: dict[str, Objects], scope: str
) -> None:
    with browsing(house, house.token) as owner, ExitStack() as stack:
        where, form = "/settings/tokens", {"name": scope, "scope": scope}
        if scope == "deploy":
            where, form = "/alice/hidden-one/settings", {"do": "make-token", "name": "ci", "scope": "read"}
        visit = Visit(stack, house, "owner", "")
        visit.secret = secret_of(owner.post(where, data=form))
        visit.program.headers["Authorization"] = f"Bearer {visit.secret}"
        for key, rule in TABLE.items():
            client = visit.nobody if GIT in key else visit.program
            status = visit.ask(client, key, rule, objects["private"]).status_code
            if GIT not in key:
                open_to_all = SIGN_IN not in rule.private
                assert status == (rule.private[0] if open_to_all else 401), key
            elif "receive-pack" in key:
                assert status == (200 if scope == "push" else 403), key
            else:
                assert status == rule.private[-1], key
        if scope == "deploy":
            for kind in ("public", "missing"):
                key = "GET /{owner}/{name}.git/info/refs"
                assert visit.ask(visit.nobody, key, TABLE[key], objects[kind]).status_code == 404, kind
