"""Whose work runs where there is no container engine (HERMES_TRUST): at a push, at `again`, before a box."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Executable, delete, insert

from hermes.accounts import DEMO_USER, add_user
from hermes.database import Database
from hermes.schema import migrate
from hermes.settings import Settings
from hermes.tables import Runner
from hermes.trust import distrust
from tests.programs import run_number, shell
from tests.service import Pushed, Service, wait_for

HELLO = shell("echo hello", "public = true")
WHY = "this machine has no container engine, and what bob pushes is not trusted to run without one"
ANY = {"cpus": 1, "memory_bytes": 1 << 30, "gpus": [], "quarantine": {}}


@pytest.fixture(scope="module")
def lone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance without an engine as it comes: alice is its first user."""
    env = {"HERMES_EXECUTOR": "local", "HERMES_REDIS_URL": "none", "HERMES_POLL": "1"}
    one = Service(tmp_path_factory.mktemp("lone"), env)
    one.token = one.add_user(one.user)
    one.start()
    yield one
    assert one.stop() == 0, one.log[-3000:]
    assert "Traceback" not in one.log, one.log[-3000:]


@pytest.fixture(scope="module")
def bob(lone: Service) -> str:
    return lone.add_user("bob")


def pushes(lone: Service, token: str, *options: str, name: str = "bob", repo: str = "x") -> Pushed:
    return lone.push(lone.worktree(HELLO), *options, repo=f"{name}/{repo}", token=token, user=name)


def test_the_first_user_needs_no_setting(lone: Service) -> None:
    pushed = lone.push(HELLO)
    assert pushed.code == 0 and "hello" in pushed.lines


def test_somebody_elses_push_is_refused_with_the_next_step(lone: Service, bob: str) -> None:
    pushed = pushes(lone, bob)
    assert pushed.code == 1 and f" ! [remote rejected] HEAD -> main ({WHY})" in pushed.lines
    assert any("HERMES_TRUST=all" in line for line in pushed.lines), pushed.output
    assert pushes(lone, bob, "build-only", repo="built").code == 1


def test_somebody_elses_commits_may_be_stored(lone: Service, bob: str) -> None:
    assert pushes(lone, bob, "skip", repo="stored").code == 0


def test_an_admin_is_trusted(lone: Service) -> None:
    token = lone.admin("user", "add", "root", "--admin").stdout.strip()
    assert "hello" in pushes(lone, token, name="root").lines


def test_running_again_what_the_operator_pushed_needs_trust_too(lone: Service, bob: str) -> None:
    run = run_number(lone.push(HELLO))
    with lone.client(bob) as client:
        answer = client.post(f"/api/v1/runs/{run}/again")
    assert answer.status_code == 403 and answer.json()["error"]["message"] == WHY
    assert "HERMES_TRUST=all" in answer.json()["error"]["hint"]


def test_what_was_taken_while_an_engine_was_there_fails_in_words_and_is_not_tried_again(
    lone: Service, bob: str
) -> None:
    with engine_elsewhere(lone):
        pushed = pushes(lone, bob, "detach", repo="queued")
    assert pushed.code == 0, pushed.output
    with lone.client(bob) as client:
        path = f"/api/v1/repos/bob/queued/commits/{pushed.sha}"
        page = wait_for(lambda: (p := client.get(path).json())["runs"][0]["state"] == "failed" and p)
    (build,) = page["builds"]
    assert (build["state"], build["reason"], build["attempt"]) == ("failed", WHY, 1)


def test_a_run_that_was_taken_meanwhile_fails_in_words_too(lone: Service, bob: str) -> None:
    first = run_number(lone.push(HELLO))
    with engine_elsewhere(lone), lone.client(bob) as client:
        number = client.post(f"/api/v1/runs/{first}/again").json()["id"]
        run = wait_for(lambda: (r := client.get(f"/api/v1/runs/{number}").json())["state"] == "failed" and r)
        log = client.get(f"/runs/{number}/log").text
    assert run["reason"] == WHY and run["ranks"][0]["attempt"] == 1
    assert log.startswith(f"hermes: {WHY}; ask the operator")


@contextmanager
def engine_elsewhere(service: Service) -> Iterator[None]:
    """A runner with an engine seems to be alive, so pushes are taken; nobody but ours does them."""
    asyncio.run(
        _write(service, insert(Runner).values(name="gone", executor="docker", seen_at=time.time(), **ANY))
    )
    time.sleep(1.1)  # what the door has seen is good for a second
    yield
    asyncio.run(_write(service, delete(Runner).where(Runner.name == "gone")))
    time.sleep(1.1)


async def _write(service: Service, statement: Executable) -> None:
    async with _database(service.data) as database, database.write() as session:
        await session.execute(statement)


@asynccontextmanager
async def _database(data: Path) -> AsyncIterator[Database]:
    database = Database(Settings(data=data).database)
    try:
        yield database
    finally:
        await database.close()


def test_a_newcomer_who_tried_the_demo_first_is_the_first_user_all_the_same(tmp_path: Path) -> None:
    async def ask() -> dict[str, str]:
        async with _database(tmp_path) as database:
            await migrate(database)
            async with database.write() as session:
                names = (DEMO_USER, "ada", "ben", "cleo")
                users = [await add_user(session, name, is_admin=name == "cleo") for name in names]
            return await database.read_at_once(
                lambda ask: {user.name: distrust(ask, Settings(), user.id) for user in users}
            )

    found = asyncio.run(ask())
    assert [name for name, why in found.items() if why] == ["ben"] and "what ben pushes" in found["ben"]


def test_with_trust_in_all_everybody_may_push(local_service: Service) -> None:
    token = local_service.add_user("guest")
    pushed = local_service.push(local_service.worktree(HELLO), repo="guest/x", token=token, user="guest")
    assert pushed.code == 0 and "hello" in pushed.lines
