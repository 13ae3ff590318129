"""An instance for tests of access, what people do on its pages without scripts, and who gets in by git."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.programs import git
from tests.service import PATIENCE_S, Pushed, Service, WorkTree, living
from tests.ssh import QUIET

SECRET = re.compile(r"hermes_[\w-]{40,}")


def open_house(folder: Path, **settings: str) -> Iterator[Service]:
    """An instance of one user, alice. People may mistake their tokens often here: tests do."""
    env = {
        "HERMES_EXECUTOR": "local",
        "HERMES_CPUS": "2",
        "HERMES_LOGIN_FAILURES": "1000",
    }
    with living(Service(folder, env | settings)) as one:
        yield one


@contextmanager
def browsing(service: Service, token: str) -> Iterator[httpx.Client]:
    """A browser without scripts; signed in if there is a token."""
    with service.client("") as client:
        client.headers["Accept"] = "text/html"
        if token:
            answer = client.post("/signin", data={"token": token})
            assert answer.status_code == 303, answer.text
        yield client


def stored(service: Service, repo: str) -> Pushed:
    """A repository with one commit that nothing was built of."""
    pushed = service.push(QUIET, repo=repo)
    assert pushed.code == 0, pushed.output
    return pushed


def secret_of(page: httpx.Response) -> str:
    """The token that a page shows this once."""
    assert page.status_code == 201, page.text
    found = SECRET.search(page.text)
    assert found
    return found[0]


def may_fetch(service: Service, repo: str, token: str, user: str) -> bool:
    """Whether git gets in with that."""
    done = git(service, "ls-remote", f"{service.url}/{repo}.git", token=token, user=user)
    return done.returncode == 0


def push_again(service: Service, tree: WorkTree, repo: str, token: str, user: str) -> Pushed:
    """Another commit on main."""
    tree.commit("more")
    return service.push(tree, repo=repo, token=token, user=user)


def execute(service: Service, sql: str, *values: object) -> None:
    """Change rows: only what nobody can do from outside, such as letting months pass."""
    with closing(sqlite3.connect(service.data / "hermes.db", timeout=PATIENCE_S)) as database, database:
        database.execute(sql, values)


def ask(service: Service, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """Read rows that no page shows."""
    with closing(sqlite3.connect(service.data / "hermes.db", timeout=PATIENCE_S)) as database:
        return database.execute(sql, values).fetchall()
