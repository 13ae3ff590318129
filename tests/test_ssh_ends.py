"""How a push over SSH ends early: by its client, by its size, by a fault, by a restart. Nothing is lost."""

import asyncio
import os
import re
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from random import Random

import pytest

from tests.programs import arrivals, command_lines, go_on, shell, told
from tests.service import PATIENCE_S, Pushed, Service, living, wait_for
from tests.ssh import QUIET, Person, command, packets, person, wait_for_no_git

MIB = 1 << 20


@pytest.fixture(scope="module")
def brief(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance that is stopped and started here; a push has at most 2 MiB."""
    env = {"HERMES_EXECUTOR": "local", "HERMES_REDIS_URL": "none", "HERMES_POLL": "1"}
    env["HERMES_PUSH_SIZE"] = "2M"
    with living(Service(tmp_path_factory.mktemp("brief"), env)) as one:
        yield one


@pytest.fixture(scope="module")
def alice(brief: Service, tmp_path_factory: pytest.TempPathFactory) -> Person:
    """Somebody who pushes."""
    return person(brief, tmp_path_factory.mktemp("ends"), "alice")


# ---- the client


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_client_that_is_ended_detaches_and_the_run_goes_on(alice: Person, number: signal.Signals) -> None:
    repo = f"ended-{number.name.lower()}"
    script, files = told("echo begun", "echo finished")
    tree = alice.service.worktree(files)
    detached = alice.service.log.count("push detached")
    with alice.begin(tree, repo) as client:
        next(line for _, line in arrivals(client) if line == "begun")
        os.killpg(client.pid, number)
    assert client.returncode != 0
    wait_for(lambda: alice.service.log.count("push detached") > detached)  # not at the end of the run
    go_on(script)
    run = alice.service.run_of(Pushed(0, "", tree.git("rev-parse", "HEAD"), "alice", repo, tree))
    assert run["state"] == "succeeded"
    assert alice.service.read_log("runs", run["id"]) == b"begun\nfinished\n"


def test_clients_that_are_killed_at_any_moment_leave_whole_pushes_or_none(alice: Person) -> None:
    random = Random(7)
    trees = [alice.service.worktree({**QUIET, "n": str(n), "noise": os.urandom(MIB)}) for n in range(8)]
    clients = []
    for number, tree in enumerate(trees):
        clients.append(alice.begin(tree, f"killed-{number}"))
        time.sleep(random.uniform(0, 0.5))
        os.killpg(clients[-1].pid, signal.SIGKILL)
    for client in clients:
        client.communicate()
    wait_for_no_git(alice.service)
    wait_for(lambda: not _open_pushes(alice.service))
    for number, tree in enumerate(trees):  # what is there is whole, and the rest can be pushed
        pushed = alice.push(tree, f"killed-{number}")
        assert pushed.code == 0, pushed.output
        assert alice.refs(f"killed-{number}") == {"refs/heads/main": pushed.sha}
    applied = _pushes(alice.service, "applied")
    assert len([ref for ref in applied if ref.startswith("killed-")]) == len(trees)


def _pushes(service: Service, state: str) -> list[str]:
    query = "SELECT repo.name FROM push JOIN repo ON repo.id = push.repo_id WHERE push.state = ?"
    with closing(sqlite3.connect(service.data / "hermes.db")) as database:
        return [name for (name,) in database.execute(query, (state,))]


def _open_pushes(service: Service) -> list[str]:
    return _pushes(service, "received")


# ---- size and faults


@pytest.mark.parametrize("size", [4 * MIB, 40 * MIB])
def test_a_push_that_is_too_large_ends_with_words(alice: Person, size: int) -> None:
    tree = alice.service.worktree({**QUIET, "noise": os.urandom(size)})
    pushed = alice.push(tree, f"large-{size}")
    assert pushed.code == 1, pushed.output
    words = "the push has more than 2.0 MiB"
    assert f"hermes  refused  {words}" in pushed.lines, pushed.output
    assert f" ! [remote rejected] HEAD -> main ({words})" in pushed.lines
    assert alice.refs(f"large-{size}") == {}
    wait_for_no_git(alice.service)


async def test_a_git_of_ours_that_dies_is_said_in_words(alice: Person) -> None:
    tree = alice.service.worktree(QUIET)
    sha = tree.git("rev-parse", "HEAD")
    head = f"{'0' * 40} {sha} refs/heads/main\0report-status side-band-64k".encode()
    async with (
        alice.connection() as connection,
        command(connection, "git-receive-pack alice/fault.git") as process,
    ):
        _ = [each async for each in packets(process)]
        process.stdin.write(b"%04x%s0000PACK\0\0\0\2\0\0\0\3" % (len(head) + 4, head))
        killed = await asyncio.to_thread(wait_for, lambda: _kill(alice.service, "receive-pack"))
        assert killed
        said = await asyncio.wait_for(process.stdout.read(), PATIENCE_S)
    assert said[4:] == b"\x03the server cannot do this now; try again\n"
    logged = re.compile(r"git request failed .*git receive-pack ended with -9")
    wait_for(lambda: logged.search(alice.service.log))


def _kill(service: Service, program: str) -> bool:
    found = False
    for number, line in command_lines().items():
        if str(service.data / "repos") in line and program in line and "--stateless-rpc" in line:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
                found = True
    return found


# ---- the service


def test_a_restart_tells_who_follows_and_keeps_the_host_key(alice: Person) -> None:
    service = alice.service
    key = (service.data / "ssh_host_ed25519_key").read_bytes()
    tree = service.worktree(shell("echo begun; sleep 600"))
    lines = []
    with (
        subprocess.Popen([*alice.words("-p", str(service.ssh_port)), "-N", "git@127.0.0.1"]) as idle,
        alice.begin(tree, "restart") as client,
    ):
        for _, line in arrivals(client):
            lines.append(line)
            if line == "begun":
                assert service.stop() == 0 and not service.was_killed, service.log[-3000:]
    assert (client.returncode, idle.returncode) == (0, 255), lines
    assert "hermes  the service restarts; all goes on, see the page above" in lines, lines
    assert lines[-1].startswith(" * [new branch]"), lines
    service.start()
    assert (service.data / "ssh_host_ed25519_key").read_bytes() == key
    assert set(alice.refs("restart")) == {"refs/heads/main"}  # strict checking of the host's key


def test_no_port_no_ssh(alice: Person) -> None:
    """The last one here."""
    service = alice.service
    assert service.stop() == 0
    service.env["HERMES_SSH_PORT"] = "0"
    service.start()
    assert "git over ssh" not in service.log.rpartition("serving")[0].rpartition("SIGTERM received")[2]
    done = alice.ssh("id")
    assert done.returncode == 255 and "Connection refused" in done.stderr
    wait_for(service.answers)
