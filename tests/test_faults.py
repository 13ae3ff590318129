"""What breaks below a push: Redis, runner, builder, container, the whole service. Only time is lost."""

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hermes import pushes
from hermes.accounts import add_user
from hermes.at_once import ask_in
from hermes.cause import Sender
from hermes.commit_facts import Tree
from hermes.executors.engine import connect
from hermes.git import init_bare
from hermes.images import DEFAULT_TABLE, load_images
from hermes.manifest import Manifest
from hermes.plan import Instance, make_plan
from hermes.process import Context, open_context
from hermes.pushes import RefUpdate
from hermes.reconcile import resolve_push
from hermes.redis_server import socket_path
from hermes.repos import get_or_make_writable
from hermes.settings import Settings
from hermes.tables import Push
from tests.leftovers import containers, mounts, processes, the_process
from tests.programs import arrivals, begin_push, go_on, shell, told
from tests.service import PATIENCE_S, Service, WorkTree, living, wait_for

SLOW = shell("echo begun; sleep 2; echo finished")
SLOW_BUILD = shell("echo hello", make="\t@echo compiling; sleep 2; echo compiled")


@pytest.fixture(scope="module")
def frail(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance that is broken again and again, with short leases."""
    env = {"HERMES_EXECUTOR": "docker", "HERMES_LEASE": "8s", "HERMES_POLL": "1s", "HERMES_CPUS": "8"}
    with living(Service(tmp_path_factory.mktemp("frail"), env)) as one:
        yield one


def ends(service: Service, kind: str, row_id: int) -> list[str]:
    """The ends that the journal has of a build or a rank, over all attempts."""
    with sqlite3.connect(service.data / "hermes.db") as database:
        query = "SELECT to_state FROM event WHERE kind = ? AND subject_id = ? ORDER BY id"
        states = [str(row[0]) for row in database.execute(query, (kind, row_id))]
    database.close()
    return [state for state in states if state in ("built", "succeeded", "failed", "lost", "timed_out")]


def push_and_at(
    service: Service, files: dict[str, str | bytes], line: str, *acts: Callable[[], Any]
) -> tuple[int, list[str]]:
    """Push, do harm when the line appears, the next thing when it appears again, and follow to the end: exit
    code and lines."""
    tree, left = service.worktree(files), [*acts]
    lines = []
    with begin_push(service, tree, tree.folder.name) as client:
        for _, each in arrivals(client):
            lines.append(each)
            if each == line and left:
                left.pop(0)()
    assert not left, lines
    return client.returncode, lines


def number_of(lines: list[str], kind: str) -> int:
    """The build or the run that a transcript tells of."""
    found = re.search(rf"^hermes  {kind} (\d+) ", "\n".join(lines), re.MULTILINE)
    assert found, lines
    return int(found[1])


def has(lines: list[str], pattern: str) -> bool:
    return any(re.fullmatch(pattern, line) for line in lines)


# ---- Redis


@pytest.mark.fault(12)
def test_killed_redis_is_not_noticed_by_a_push_and_comes_back(frail: Service) -> None:
    def kill() -> bool:
        with suppress(ProcessLookupError):  # somebody else was faster (`make test-redis`)
            os.kill(the_process(frail, "redis-server"), signal.SIGKILL)
            return True
        return False

    code, lines = push_and_at(frail, SLOW, "begun", lambda: wait_for(kill))
    assert code == 0 and "finished" in lines
    assert has(lines, r"hermes  run \d+    succeeded in .*"), lines
    assert frail.push(shell("echo again")).code == 0
    with frail.client("") as client:
        wait_for(lambda: client.get("/healthz").json()["redis"])


@pytest.mark.fault(11)
def test_emptied_redis_is_not_noticed_by_a_push(frail: Service) -> None:
    def empty() -> bool:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as redis:  # likewise
            redis.connect(str(socket_path(frail.data)))
            redis.sendall(b"FLUSHALL\r\n")
            return redis.recv(100) == b"+OK\r\n"
        return False

    code, lines = push_and_at(frail, SLOW_BUILD, "compiling", lambda: wait_for(empty))
    assert code == 0 and "hello" in lines, lines


@pytest.mark.fault(13)
def test_redis_that_never_answers_costs_only_time(tmp_path: Path) -> None:
    env = {"HERMES_EXECUTOR": "local", "HERMES_REDIS_URL": "redis://127.0.0.1:1", "HERMES_POLL": "1s"}
    one = Service(tmp_path / "var", env)
    one.token = one.add_user(one.user)
    one.start()
    pushed = one.push(shell("echo hello"))
    assert pushed.code == 0 and "hello" in pushed.lines
    assert one.stop() == 0
    assert "Traceback" not in one.log


# ---- our own processes


def test_killed_builder_is_started_again_and_the_build_is_tried_again(frail: Service) -> None:
    script, files = told("echo compiling", "echo compiled")
    files = shell("echo hello", make=f"\t@sh {script}") | {script: files[script]}

    def kill() -> None:
        os.kill(the_process(frail, "hermes builder"), signal.SIGKILL)

    code, lines = push_and_at(frail, files, "compiling", kill, partial(go_on, script))
    assert code == 0 and "hello" in lines, lines
    assert has(lines, r"hermes  build \d+  the builder that had it was killed; trying again"), lines
    assert has(lines, r"hermes  build \d+  with cpp, attempt 2 of 3"), lines
    assert ends(frail, "build", number_of(lines, "build")) == ["built"]


@pytest.mark.fault(10)
def test_runner_that_slept_through_its_lease_is_fenced_and_one_attempt_counts(frail: Service) -> None:
    runner, before = the_process(frail, "hermes runner"), len(frail.log)
    script, files = told("echo begun", "echo finished")

    def sleep() -> None:
        os.kill(runner, signal.SIGSTOP)
        try:
            wait_for(lambda: "fell silent" in frail.log[before:])
        finally:
            os.kill(runner, signal.SIGCONT)

    code, lines = push_and_at(frail, files, "begun", sleep, partial(go_on, script))
    assert code == 0
    assert has(lines, r"hermes  run \d+    the runner that had it fell silent; trying again"), lines
    assert lines.count("finished") == 1
    assert ends(frail, "rank", number_of(lines, "run")) == ["succeeded"]
    wait_for(lambda: not containers(frail))


def test_killed_web_process_comes_back_and_the_run_went_on(frail: Service) -> None:
    script, files = told("echo begun", "echo finished")
    tree = frail.worktree(files)
    with begin_push(frail, tree, "web-killed") as client:
        number = 0
        for _, line in arrivals(client):
            if found := re.match(r"hermes  run (\d+) ", line):
                number = int(found[1])
            if line == "begun":
                os.kill(the_process(frail, "hermes web"), signal.SIGKILL)
    assert client.returncode != 0  # the stream broke; the push itself was stored
    wait_for(frail._is_up)
    go_on(script)
    run = wait_for(lambda: (now := frail.api(f"/runs/{number}"))["ended_at"] and now)
    assert (run["state"], run["ranks"][0]["attempt"]) == ("succeeded", 1)


def test_container_that_somebody_removed_is_told_and_tried_again(frail: Service) -> None:
    def remove() -> None:
        api = connect(10)
        for each in containers(frail):
            api.remove_container(each, force=True)
        api.close()

    script, files = told("echo begun", "echo finished")
    code, lines = push_and_at(frail, files, "begun", remove, partial(go_on, script))
    assert code == 0
    assert has(lines, r"hermes  run \d+    .*container.*; trying again"), lines
    assert has(lines, r"hermes  run \d+    succeeded in .*"), lines


@pytest.mark.fault(39)
def test_sigterm_ends_everything_in_order_and_the_run_is_done_after_the_next_start(frail: Service) -> None:
    def stop() -> None:
        assert frail.process is not None
        frail.process.send_signal(signal.SIGTERM)

    script, files = told("echo begun", "echo finished")
    code, lines = push_and_at(frail, files, "begun", stop)
    assert frail.process is not None
    assert frail.process.wait(PATIENCE_S) == 0 and not frail.was_killed
    assert code == 0, lines  # the push was stored; the words say where it goes on
    assert "hermes  the service restarts; all goes on, see the page above" in lines
    assert (containers(frail), mounts(frail), processes(frail)) == ([], [], [])
    frail.start()
    number = number_of(lines, "run")
    wait_for(lambda: frail.api(f"/runs/{number}")["ranks"][0]["attempt"] == 2)
    wait_for(lambda: frail.read_log("runs", number) == b"begun\n")
    go_on(script)
    run = wait_for(lambda: (now := frail.api(f"/runs/{number}"))["ended_at"] and now)
    assert (run["state"], run["ranks"][0]["attempt"]) == ("succeeded", 2)
    assert frail.read_log("runs", number) == b"begun\nfinished\n"


def test_killed_hermes_up_takes_all_with_it_and_can_be_started_again(tmp_path: Path) -> None:
    one = Service(tmp_path / "var", {"HERMES_EXECUTOR": "local"})
    one.token = one.add_user(one.user)
    one.start()
    assert one.process is not None
    one.process.kill()
    one.process.wait()
    wait_for(lambda: not processes(one))
    one.start()
    assert one.push(shell("echo hello")).code == 0
    assert one.stop() == 0


# ---- what it needs to start


def complaint(service: Service, module: str = "hermes", *args: str) -> str:
    """What a process that cannot start says, without a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", module, *args],
        env=service.environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr


def test_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        one = Service(tmp_path / "var", {}, port=other.getsockname()[1])
        words = complaint(one, "hermes", "up")
    assert words.startswith(
        f"hermes: cannot listen on 0.0.0.0:{one.port} (Address already in use); stop what"
    )
    assert f"HERMES_PORT={one.port + 1}" in words


@pytest.mark.parametrize("place", ["/proc/nope", "/dev/null/var", "/sys/kernel"])
def test_data_directory_that_cannot_be_written_is_one_clear_line(place: str) -> None:
    words = complaint(Service(Path(place), {}), "hermes", "up")
    assert re.match(rf"hermes: HERMES_DATA='{place}': cannot write there \(.+\); make it writable", words)
    assert len(words.splitlines()) == 1


@pytest.mark.parametrize("module", ["builder", "runner"])
def test_engine_that_is_away_is_one_clear_line(tmp_path: Path, module: str) -> None:
    env = {"HERMES_EXECUTOR": "docker", "HERMES_REDIS_URL": "none", "DOCKER_HOST": "unix:///nowhere.sock"}
    last = complaint(Service(tmp_path / "var", env), module).splitlines()[-1]
    assert last.startswith(f"hermes {module}: the Docker engine does not answer (")
    assert last.endswith("is dockerd running?")


def test_redis_address_that_is_none_is_one_clear_line(tmp_path: Path) -> None:
    one = Service(tmp_path / "var", {"HERMES_REDIS_URL": "gopher://x"})
    words = complaint(one, "hermes", "admin", "user", "list")
    assert words.startswith("hermes: HERMES_REDIS_URL='gopher://x': must be none, or start with redis://")


# ---- a push that was received, and nobody knows what became of it


async def half_push(context: Context, tree: WorkTree) -> Push:
    """As a crash leaves it: the objects are there, the row says `received`."""
    sha = tree.git("rev-parse", "HEAD")
    here = Instance(load_images(DEFAULT_TABLE), 86400.0, ())
    plan = make_plan(Manifest(), Tree(frozenset(["Makefile"]), "x"), here, ancestor=False, runs=True)
    async with context.database.write() as session:
        user = await add_user(session, "ada")
        repo = await get_or_make_writable(session, user, "ada", "half")
        update = RefUpdate("refs/heads/main", "0" * 40, sha)
        push = await session.run_sync(
            lambda plain: pushes.receive(ask_in(plain), repo.id, Sender(user.id), update, plan, "subject")
        )
    bare = context.paths.repo(repo.id)
    init_bare(bare)
    tree.git("push", "-q", str(bare), "HEAD:refs/heads/objects")
    return push


def rows(data: Path, query: str) -> list[tuple[Any, ...]]:
    database = sqlite3.connect(data / "hermes.db")
    found = database.execute(query).fetchall()
    database.close()
    return found


@pytest.mark.parametrize("fate", ["moved", "moved on", "not moved"])
async def test_half_done_push_is_applied_if_its_ref_moved_and_abandoned_if_not(
    tmp_path: Path, fate: str
) -> None:
    tree = Service(tmp_path / "trees", {}).worktree({"Makefile": "all:\n"})
    async with open_context(Settings(data=tmp_path / "var", redis_url="none")) as context:
        push = await half_push(context, tree)
        bare = str(context.paths.repo(push.repo_id))
        if fate != "not moved":
            tree.git("push", "-q", bare, "HEAD:refs/heads/main")
        if fate == "moved on":
            tree.commit("a later one")
            tree.git("push", "-q", bare, "HEAD:refs/heads/main")
        await resolve_push(context, push)
        await resolve_push(context, push)  # a second look changes nothing
    applied = fate != "not moved"
    assert rows(tmp_path / "var", "SELECT state FROM push") == [("applied" if applied else "abandoned",)]
    wanted = [("queued",)] if applied else []
    assert [rows(tmp_path / "var", f"SELECT state FROM {t}") for t in ("build", "run", "rank")] == [
        wanted
    ] * 3
