"""The database is locked by somebody else, or restarts amid work: who can wait does, who cannot is told."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, aclosing, closing, contextmanager
from pathlib import Path

import httpx
import pytest

from gitserver.protocol import FATAL, KEEP_ALIVE, PushHead, band
from gitserver.push import Received
from gitserver.stream import answer
from hermes.options import PushOptions
from hermes.process import open_context
from hermes.settings import Settings
from tests import postgres
from tests.conftest import missing
from tests.cutting import Cutter
from tests.leftovers import the_process
from tests.programs import arrivals, begin_push, end_of, go_on, shell, told
from tests.promises import Told, all_is_kept
from tests.service import PATIENCE_S, Pushed, Service, living, wait_for
from tests.test_faultpoints import strike
from tests.test_races import state_of

HELLO = shell("echo hello")
ENV = {"HERMES_EXECUTOR": "local", "HERMES_TRUST": "all", "HERMES_CPUS": "8", "HERMES_POLL": "1s"}
#: Says when it has the lock, waits for a line, holds it so many seconds more, and says when it lets go.
LOCK = """
import sqlite3, sys, time
database = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
database.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
time.sleep(float(sys.stdin.readline()))
print(time.monotonic(), flush=True)
database.execute("COMMIT")
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    more = {"HERMES_LEASE": "15s", "HERMES_FAULTPOINT": "file"}
    with living(Service(tmp_path_factory.mktemp("locked"), ENV | more)) as one:
        yield one


@contextmanager
def locked(service: Service) -> Iterator["subprocess.Popen[str]"]:
    """Another process holds the database, until the block ends or for as long as it is told to."""
    command = [sys.executable, "-c", LOCK, str(service.data / "hermes.db")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, bufsize=1, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "locked\n"
        yield holder
        holder.kill()


def forget_last_use(service: Service) -> None:
    """Of the token: a use of it is worth a note again."""
    with closing(sqlite3.connect(service.data / "hermes.db", timeout=PATIENCE_S)) as rows, rows:
        rows.execute("UPDATE token SET last_used_at = 0")


def is_over(service: Service) -> bool:
    """Whether the lease of what runs has ended: nobody could renew it."""
    with closing(sqlite3.connect(service.data / "hermes.db", timeout=30)) as rows:
        ((until,),) = rows.execute("SELECT lease_until FROM rank WHERE state = 'running'").fetchall()
    return bool(until < time.time())


def is_held(holder: "subprocess.Popen[str]") -> bool:
    return holder.poll() is None


def succeeded(service: Service, pushed: Pushed, says: bytes = b"hello\n") -> Told:
    assert pushed.code == 0, pushed.output
    assert service.run_of(pushed, 120)["state"] == "succeeded"
    return Told(pushed, says)


@pytest.mark.fault(18)
def test_who_writes_while_the_database_is_locked_waits_and_succeeds(service: Service) -> None:
    first = service.push(HELLO, repo="waits-before")
    run = service.run_of(first)
    trees = [service.worktree(HELLO, f"waits-{number}") for number in range(3)]
    with locked(service) as holder, service.client() as client:
        assert holder.stdin is not None and holder.stdout is not None
        page = client.get(f"/runs/{run['id']}", headers={"Accept": "text/html"})
        assert page.status_code == 200 and is_held(holder)
        holder.stdin.write("4\n")
        pushes = [begin_push(service, tree, tree.folder.name) for tree in trees]
        again = client.post(f"/api/v1/runs/{run['id']}/again", json={})
        answered_at = time.monotonic()  # one clock for all processes
        assert again.status_code == 201 and answered_at > float(holder.stdout.readline())
        assert [end_of(each)[0] for each in pushes] == [0, 0, 0]
    pushed = [
        Pushed(0, "", tree.git("rev-parse", "HEAD"), service.user, tree.folder.name, tree) for tree in trees
    ]
    kept = [succeeded(service, each) for each in pushed]
    wait_for(lambda: service.api(f"/runs/{again.json()['id']}")["state"] == "succeeded")
    all_is_kept(service, [*kept, Told(first, b"hello\n")])


@pytest.mark.fault(19)
def test_who_has_waited_too_long_is_told_and_nothing_is_half_done(service: Service) -> None:
    first = succeeded(service, service.push(HELLO, repo="refused"))
    run = service.run_of(first.pushed)
    tree = first.pushed.tree
    tree.write({"more": "more"}).commit("a second one")
    fresh = service.worktree(HELLO, "refused-anew")
    script, files = told("echo begun", "echo finished")
    at_work = service.worktree(files, "at-work")
    with begin_push(service, at_work, "at-work") as follower:
        for _, words in arrivals(follower):
            if words == "begun":
                break
        forget_last_use(service)
        with locked(service) as holder, service.client() as client:
            go_on(script)
            pushes = [begin_push(service, tree, "refused"), begin_push(service, fresh, "refused-anew")]
            answer = client.post(f"/api/v1/runs/{run['id']}/again", json={})
            ends = [end_of(each) for each in pushes]
            wait_for(lambda: "not written yet" in service.log)  # that a program has ended
            wait_for(lambda: is_over(service))
            assert is_held(holder)
            assert client.get("/api/v1/runs").status_code == 200  # who reads waits for nobody
        follower.communicate(timeout=PATIENCE_S)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
    error = answer.json()["error"]
    assert error["code"] == "unavailable" and error["hint"], json.dumps(error)
    assert [code for code, _ in ends] == [1, 128], ends
    assert "hermes  refused  the server cannot take pushes now" in ends[0][1]
    assert "the server cannot do this now; try again" in ends[1][1]
    kept = [Told(Pushed(1, "", tree.git("rev-parse", "HEAD"), service.user, "refused", tree), b"hello\n")]
    kept += [succeeded(service, service.push(tree, repo="refused"))]
    kept += [succeeded(service, service.push(fresh, repo="refused-anew"))]
    worked = Pushed(0, "", at_work.git("rev-parse", "HEAD"), service.user, "at-work", at_work)
    kept += [succeeded(service, worked, b"begun\nfinished\n")]
    assert (
        service.run_of(worked)["ranks"][0]["attempt"] == 1
    )  # its end was written down when that was possible
    all_is_kept(service, [*kept, first])


@pytest.mark.fault(19)
def test_a_push_whose_database_goes_after_its_ref_has_moved_is_taken_when_it_is_back(
    service: Service,
) -> None:
    """And not a minute later, when it would be taken for one that nobody is at any more."""
    first = succeeded(service, service.push(HELLO, repo="half"))
    tree = first.pushed.tree
    tree.write({"more": "more"}).commit("a second one")
    web = the_process(service, "hermes web")
    came_by = strike(service, "push.moved", stops=True)
    with begin_push(service, tree, "half") as client:
        wait_for(lambda: came_by() and state_of(web) == "T")
        with locked(service):
            os.kill(web, signal.SIGCONT)
            code, words = end_of(client)
    assert code == 1 and "the server cannot do this now; try again" in words, (code, words)
    pushed = Pushed(0, "", tree.git("rev-parse", "HEAD"), service.user, "half", tree)
    kept = succeeded(service, pushed)
    with closing(sqlite3.connect(service.data / "hermes.db", timeout=30)) as rows:
        query = "SELECT run.created_at - push.created_at FROM run JOIN push ON push.id = run.push_id"
        ((waited_s,),) = rows.execute(f"{query} WHERE push.new_sha = ?", (pushed.sha,)).fetchall()
    assert waited_s < 60
    all_is_kept(service, [kept, first])


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    binaries = postgres.find_binaries()
    if binaries is None:
        missing("PostgreSQL")
        return
    with postgres.serving(binaries) as one:
        yield one


@pytest.fixture(scope="module")
def on_postgres(server: postgres.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    env = ENV | {"HERMES_DATABASE_URL": server.url, "HERMES_FAULTPOINT": "file"}
    with living(Service(tmp_path_factory.mktemp("restarted"), env)) as one:
        yield one


@contextmanager
def watching(service: Service, *paths: str) -> Iterator[list[httpx.Response]]:
    """Answers that have begun, to be read to their end."""
    with service.client() as client, ExitStack() as all_:
        yield [all_.enter_context(client.stream("GET", path)) for path in paths]


@pytest.mark.fault(20)
@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_postgresql_that_restarts_amid_work_loses_nothing(
    on_postgres: Service, server: postgres.Server, how: str
) -> None:
    service = on_postgres
    tree = service.worktree(shell("echo begun; sleep 6; echo finished"), f"amid-{how}")
    with begin_push(service, tree, f"amid-{how}") as follower:
        for _, words in arrivals(follower):
            if words == "begun":
                break
        trees = [service.worktree(HELLO, f"{how}-{number}") for number in range(3)]
        pushes = [begin_push(service, each, each.folder.name) for each in trees]
        run = service.api("/runs")["runs"][0]["id"]
        waited = service.log.count("a stream waits")
        with watching(service, f"/runs/{run}/log?follow=1", f"/runs/{run}/events") as watchers:
            server.stop(how)
            wait_for(lambda: service.log.count("a stream waits") > waited)
            server.start()
            seen, events = (each.read().decode() for each in watchers)
        ends = [end_of(each) for each in pushes]
        followed = end_of(follower)
    assert seen == "begun\nfinished\n" and "event: end\n" in events, events
    assert followed[0] == 0 and "finished" in followed[1] and "succeeded" in followed[1], followed
    for code, words in ends:
        assert code == 0 or "the server cannot" in words, (code, words)
    wait_for(service._is_up)
    shas = [each.git("rev-parse", "HEAD") for each in trees]
    kept = [
        Told(Pushed(code, words, sha, service.user, each.folder.name, each), b"hello\n")
        for (code, words), sha, each in zip(ends, shas, trees, strict=True)
    ]
    kept += [succeeded(service, service.push(each, repo=each.folder.name)) for each in trees]
    worked = Pushed(0, "", tree.git("rev-parse", "HEAD"), service.user, f"amid-{how}", tree)
    kept += [succeeded(service, worked, b"begun\nfinished\n")]
    all_is_kept(service, kept)


@pytest.mark.fault(20)
def test_a_push_whose_database_goes_before_it_has_committed_is_taken_when_it_is_back(
    on_postgres: Service, server: postgres.Server
) -> None:
    service = on_postgres
    tree = service.worktree(HELLO, "uncommitted")
    web = the_process(service, "hermes web")
    came_by = strike(service, "push.queued", stops=True)
    with begin_push(service, tree, "uncommitted") as client:
        wait_for(lambda: came_by() and state_of(web) == "T")
        server.stop("immediate")
        server.start()
        os.kill(web, signal.SIGCONT)
        code, words = end_of(client)
    assert code == 1 and "the server cannot do this now; try again" in words, (code, words)
    pushed = Pushed(0, "", tree.git("rev-parse", "HEAD"), service.user, "uncommitted", tree)
    all_is_kept(service, [succeeded(service, pushed)])


async def test_the_verdict_of_a_push_is_waited_for_with_signs_of_life(
    on_postgres: Service, server: postgres.Server
) -> None:
    """`-o check` asks when everything has been told; what tells it is lazy, so it is known when that is."""
    run = on_postgres.run_of(on_postgres.push(shell("exit 3"), "detach", repo="verdict"))
    head = PushHead((), frozenset({"side-band-64k"}), ())
    received = Received(b"0000", head, PushOptions(frozenset({"check"})), follow=run["id"])
    settings = Settings(data=on_postgres.data, database_url=server.url)
    async with (
        open_context(settings) as context,
        aclosing(answer(context, received, "alice/verdict", asyncio.Event())) as packets,
    ):
        async for packet in packets:
            if b"exit code 3" in packet:
                break
        server.stop("fast")
        waited = [await anext(packets) for _ in range(2)]
        server.start()
        rest = [packet async for packet in packets]
    assert waited == [KEEP_ALIVE, KEEP_ALIVE]
    assert rest[-1] == band(FATAL, f"run {run['id']} failed: exit code 3\n".encode())
    assert set(rest[:-1]) <= {KEEP_ALIVE}
    wait_for(on_postgres._is_up)


@pytest.mark.parametrize(
    ("asked", "said"),
    [(b" side-band-64k", b"\x03the server"), (b"", b"ERR the server")],
    ids=["band", "line"],
)
def test_a_push_whose_database_goes_between_its_two_requests_ends_with_words(
    on_postgres: Service, server: postgres.Server, asked: bytes, said: bytes
) -> None:
    """Of a status other than 200 git shows the number alone."""
    pushed = on_postgres.push(HELLO, repo=f"between{len(asked)}")
    head = f"{'0' * 40} {pushed.sha} refs/heads/more\0report-status".encode() + asked
    kind = {"Content-Type": "application/x-git-receive-pack-request"}
    server.stop("fast")
    try:
        with on_postgres.client("") as client:
            answer = client.post(
                f"/{on_postgres.user}/{pushed.repo}.git/git-receive-pack",
                auth=(on_postgres.user, on_postgres.token),
                content=b"%04x%s0000PACK\0\0\0\2\0\0\0\0" % (len(head) + 4, head),
                headers=kind,
            )
    finally:
        server.start()
    assert answer.status_code == 200
    assert answer.content[4:] == said + b" cannot do this now; try again\n"


@pytest.mark.parametrize("protocol", ["0", "2"])
def test_a_fetch_whose_database_goes_between_its_two_requests_ends_with_words(
    on_postgres: Service, server: postgres.Server, tmp_path: Path, protocol: str
) -> None:
    """Git itself asks; what stands in between stops the database when it has the refs."""
    name = f"fetched{protocol}"
    assert on_postgres.push(HELLO, repo=name).code == 0
    stopped = threading.Event()

    def stop_at(sent: bytes) -> None:
        if sent.startswith(b"POST /") and not stopped.is_set():
            stopped.set()
            server.stop("fast")

    with Cutter(on_postgres.port, stop_at) as way:
        url = way.url.replace("//", f"//{on_postgres.user}:{on_postgres.token}@")
        command = ["git", "-c", f"protocol.version={protocol}", "clone", "-q"]
        command += [f"{url}/{on_postgres.user}/{name}.git", str(tmp_path / "copy")]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
        finally:
            server.start()
    assert stopped.is_set()
    assert done.returncode == 128 and "HTTP 503" not in done.stderr
    assert "remote error: the server cannot do this now; try again" in done.stderr
