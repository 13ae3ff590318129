"""What one client cannot do over SSH: leave git's two programs and its repositories, and take all of ours."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from random import Random

import asyncssh
import httpx
import pytest

from tests.conftest import missing
from tests.programs import arrivals, shell
from tests.service import PATIENCE_S, Service, free_port, wait_for
from tests.ssh import (
    HOST,
    QUIET,
    Idlers,
    Person,
    command,
    network,
    packets,
    person,
    resident_bytes,
    run,
    wait_for_no_git,
)

MIB = 1 << 20
NO_SHELL = "Hi alice! You are signed in, and there is no shell here: git push and git clone work."


@pytest.fixture(scope="module")
def alice(local_service: Service, tmp_path_factory: pytest.TempPathFactory) -> Person:
    """Somebody who gets in."""
    return person(local_service, tmp_path_factory.mktemp("limits"), "alice")


@pytest.fixture(scope="module", autouse=True)
def idlers(alice: Person) -> Idlers:
    """Two hundred, opened before the first test here and looked at by the last: they wait for 20 s."""
    before = resident_bytes(alice.service)

    def beside_others() -> Idlers | None:
        """Nobody else has to wait for their end: on a machine that stands still it comes, too."""
        found = Idlers(alice.service.ssh_port, 200)
        wait_for(lambda: len(found.made_room) >= 100)
        assert httpx.get(f"{alice.service.url}/healthz", timeout=PATIENCE_S).status_code == 200
        assert alice.ssh("id").stderr.strip() == NO_SHELL
        return found if len(found.closed_after) < 200 else None

    found = wait_for(beside_others)
    assert resident_bytes(alice.service) - before < 40 * MIB
    assert len(found.made_room) < 110, "for each other, and for the one who came meanwhile"
    return found


@pytest.fixture(scope="module", autouse=True)
def unplugged(alice: Person, idlers: Idlers) -> Iterator[float]:
    """A push is followed from behind a link that goes down, without a word, before the first test here.
    Yields when."""
    if os.geteuid() != 0:
        missing("root, which a network of its own needs,")
    name = f"hermes{os.getpid()}"
    with contextmanager(network)(name, f"10.213.{os.getpid() % 200}") as (prefix, host, link):
        away = Person(alice.service, alice.key, "alice", host, prefix)
        with away.begin(alice.service.worktree(shell("echo begun; sleep 3600")), "unplugged") as client:
            lines = [line for _, line in takewhile(lambda each: each[1] != "begun", arrivals(client))]
            subprocess.run(["ip", "link", "set", link, "down"], check=True)
            yield time.time()
            os.killpg(client.pid, signal.SIGKILL)
    number = next(found[1] for line in lines if (found := re.match(r"hermes  run (\d+) ", line)))
    with alice.service.client() as http:
        assert http.post(f"/api/v1/runs/{number}/cancel").is_success
    wait_for(lambda: alice.service.api(f"/runs/{number}")["state"] == "cancelled")


# ---- only git


@pytest.mark.parametrize("words", [(), ("id",), ("git",), ("git-upload-packx 'a/b'",), ("scp -t /tmp",)])
def test_there_is_no_shell(alice: Person, words: tuple[str, ...]) -> None:
    done = alice.ssh(*words, options=("-T",))
    assert (done.returncode, done.stdout, done.stderr.strip()) == (1 if words else 0, "", NO_SHELL)
    terminal = alice.ssh(*words, options=("-tt",))
    assert terminal.returncode == 255 and "PTY allocation request failed" in terminal.stderr


def test_no_files_go_in_or_out(alice: Person, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    ssh = alice.words("-P", str(alice.service.ssh_port))[1:]
    for copy in (["scp"], ["scp", "-O"]):
        done = run([*copy, *ssh, str(tmp_path / "file"), f"git@{HOST}:/tmp/never-{os.getpid()}"])
        assert done.returncode != 0
    assert not Path(f"/tmp/never-{os.getpid()}").exists()
    done = run(["sftp", *ssh, f"git@{HOST}"], stdin=subprocess.DEVNULL)
    assert done.returncode != 0 and "subsystem request failed" in done.stderr


def test_no_network_is_reached_through_us(alice: Person) -> None:
    port, inner = free_port(), alice.service.port
    local = [*alice.words("-o", "ExitOnForwardFailure=yes", "-p", str(alice.service.ssh_port)), "-N"]
    for flag in (f"-L{port}:127.0.0.1:{inner}", f"-D{port}"):
        with subprocess.Popen([*local, flag, f"git@{HOST}"], stderr=subprocess.PIPE, text=True) as client:
            wait_for(lambda: _says_nothing(port, inner))
            client.kill()
            assert client.stderr is not None and "open failed" in client.stderr.read()
    remote = alice.ssh("id", options=("-o", "ExitOnForwardFailure=yes", f"-R{port}:127.0.0.1:{inner}"))
    assert remote.returncode == 255 and "remote port forwarding failed" in remote.stderr
    unix = alice.ssh(
        "id", options=("-o", "ExitOnForwardFailure=yes", f"-R/tmp/never-{port}:127.0.0.1:{inner}")
    )
    assert unix.returncode == 255 and not Path(f"/tmp/never-{port}").exists()


def _says_nothing(port: int, inner: int) -> bool:
    """Whether something listens there, and nothing comes back through it."""
    socks = b"\x05\x01\x00" + b"\x05\x01\x00\x01\x7f\0\0\1" + inner.to_bytes(2)
    try:
        with socket.create_connection((HOST, port), 5) as there:
            there.sendall(socks + b"GET /healthz HTTP/1.0\r\n\r\n")
            said = b"".join(iter(lambda: there.recv(4096), b""))
    except ConnectionResetError:
        return True
    except OSError:
        return False
    assert b"HTTP" not in said
    return True


def test_no_agent_and_no_screen_is_forwarded(alice: Person, tmp_path: Path) -> None:
    agent = tmp_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(agent)], stdout=subprocess.DEVNULL) as process:
        wait_for(agent.exists)
        env = os.environ | {"DISPLAY": ":99"}
        done = alice.ssh("id", options=("-v", "-o", f"IdentityAgent={agent}", "-A", "-Y"), env=env)
        process.terminate()
    assert "Requesting authentication agent forwarding" in done.stderr, done.stderr
    assert "X11 forwarding request failed" in done.stderr and "Hi alice!" in done.stderr
    assert not list(Path("/tmp").glob("asyncssh-*"))


def test_archives_are_refused_in_words(alice: Person) -> None:
    done = alice.git("archive", f"--remote={alice.url('any')}", "main")
    assert done.returncode != 0
    assert "remote error: archives are not made here; git clone --depth=1 works" in done.stderr


# ---- only repositories

PATHS = [
    "alice/pi.git; id", "alice/pi.git$(id)", "`id`/pi.git", "../../etc/passwd", "alice/../../etc",
    "-oProxyCommand=id/x", "--help", "alice", "", "alice/", "//", "alice/pi\nid", "alice/\x1b[31mred",
    "alice/" + "x" * 10_000, "a/" * 5_000, "alice/.git", "alice/..git", "~/pi", "alice/pi.git/hooks",
    "/etc/passwd", "ä/ü.git",
]  # fmt: skip


@pytest.mark.parametrize("program", ["git-upload-pack", "git-receive-pack", "git receive-pack"])
async def test_what_is_not_a_repository_is_refused_in_words(alice: Person, program: str) -> None:
    async with alice.connection() as connection:
        for path in PATHS:
            for quoted in (f"'{path}'", path):
                async with command(connection, f"{program} {quoted}") as process:
                    process.stdin.write_eof()
                    said, more = await process.stdout.read(), await process.stderr.read()
                await process.wait_closed()
                words = (said[4:] + more).decode()
                assert process.exit_status == 1, (path, words)
                assert re.match(r"ERR \S|Hi alice! ", words) and words.count("\n") == 1, (path, words)
                assert not re.search(r"uid=|root:|Traceback|/repos/|\x1b", words), words
                assert len(words) < 500


@pytest.mark.parametrize("sent", [b"", b"0000", b"zzzz", b"0001", b"fff0" + b"a" * 70_000, b"\0" * 200_000])
async def test_what_is_not_git_is_answered_and_ended(alice: Person, sent: bytes) -> None:
    async with alice.connection() as connection:
        for program in ("git-receive-pack", "git-upload-pack"):
            async with command(connection, f"{program} alice/not-git-{len(sent)}.git") as process:
                process.stdin.write(sent)
                process.stdin.write_eof()
                said = await asyncio.wait_for(process.stdout.read(), PATIENCE_S)
            assert b"Traceback" not in said
    await asyncio.to_thread(wait_for_no_git, alice.service)


# ---- our memory


async def test_variables_signals_and_window_changes_are_not_kept(alice: Person) -> None:
    before = resident_bytes(alice.service)
    async with alice.connection() as connection:
        variables = {f"V{number}": "x" * 30_000 for number in range(1000)}  # 30 MB
        async with command(connection, "git-receive-pack alice/flood.git", env=variables) as process:
            _ = [each async for each in packets(process)]
            for _ in range(5_000):
                process.channel.send_signal("USR1")
                process.channel.change_terminal_size(80, 24)
            process.stdin.write(b"0000")
            process.stdin.write_eof()
            await asyncio.wait_for(process.wait(), PATIENCE_S)
            assert process.exit_status == 0
    assert resident_bytes(alice.service) - before < 16 * MIB


async def test_a_client_that_does_not_read_holds_no_clone_in_our_memory(alice: Person) -> None:
    tree = alice.service.worktree({**QUIET, "data.bin": os.urandom(32 * MIB)})
    pushed = await asyncio.to_thread(alice.push, tree, "unread")
    assert pushed.code == 0, pushed.output
    before = resident_bytes(alice.service)
    clone = "git-upload-pack alice/unread.git"
    async with alice.connection() as connection, command(connection, clone, window=1 << 31) as process:
        _ = [each async for each in packets(process)]
        process.stdin.write(f"0032want {pushed.sha}\n00000009done\n".encode())
        assert await process.stdout.readexactly(8) == b"0008NAK\n"
        connection._transport.pause_reading()  # type: ignore[union-attr]
        await asyncio.sleep(1)
        assert resident_bytes(alice.service) - before < 16 * MIB
        assert (await asyncio.to_thread(alice.ssh, "id")).stderr.strip() == NO_SHELL
        connection.abort()
    await asyncio.to_thread(wait_for_no_git, alice.service)


async def test_clients_that_leave_while_they_sign_in_leave_nothing(alice: Person) -> None:
    class Leaver(asyncssh.SSHClient):
        def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
            asyncio.get_running_loop().call_later(Random().uniform(0, 0.3), conn.abort)

    async def leave() -> None:
        with suppress(asyncssh.Error, OSError):
            async with alice.connection(client_factory=Leaver) as connection:
                await connection.run("git-receive-pack alice/leaver.git")

    for _ in range(4):
        await asyncio.gather(*(leave() for _ in range(25)))
    assert (await asyncio.to_thread(alice.ssh, "id")).stderr.strip() == NO_SHELL
    pushed = await asyncio.to_thread(alice.push, alice.service.worktree(QUIET), "leaver")
    assert pushed.code == 0, pushed.output
    await asyncio.to_thread(wait_for_no_git, alice.service)


async def test_so_many_commands_at_a_time_and_no_more(alice: Person) -> None:
    async with alice.connection() as connection:
        with pytest.raises(asyncssh.ChannelOpenError, match="at most 10 commands at a time"):
            for _ in range(11):
                await connection.create_process("git-receive-pack alice/many.git", encoding=None)
    async with alice.connection() as connection:
        for _ in range(30):  # one after the other there is no end
            assert (await connection.run("id")).exit_status == 1


async def test_so_many_connections_of_one_user_and_no_more(alice: Person, tmp_path: Path) -> None:
    greedy = await asyncio.to_thread(person, alice.service, tmp_path, "greedy")
    held = []
    with ExitStack() as stack:
        for _ in range(100):
            held.append(await asyncssh.connect(
                HOST, alice.service.ssh_port, username="git", known_hosts=None, config=None, agent_path=None,
                client_keys=[str(greedy.key)],
            ))  # fmt: skip
            stack.callback(held[-1].abort)
        done = await asyncio.to_thread(greedy.ssh, "id")
        assert done.returncode == 255
        assert "greedy has 100 connections already; close some" in done.stderr
        assert (await asyncio.to_thread(alice.ssh, "id")).stderr.strip() == NO_SHELL


def test_who_does_not_sign_in_is_closed_after_a_while(alice: Person, idlers: Idlers) -> None:
    """One of the last here: it takes 20 s."""
    closed = idlers.wait()
    assert len(closed) == 200
    assert 100 <= len(idlers.made_room) < 200  # for each other, and for people who came meanwhile
    assert max(closed) > 19


def test_who_is_gone_without_a_word_is_noticed(alice: Person, unplugged: float) -> None:
    """The last one here: it takes 30 s."""
    detached = re.compile(r" (\S+)Z \[info     \] push detached ")

    def noticed() -> list[float]:
        times = (datetime.fromisoformat(f"{at}+00:00") for at in detached.findall(alice.service.log))
        return [at.timestamp() for at in times if at.timestamp() > unplugged]

    first = wait_for(noticed)[0]
    assert 10 < first - unplugged < 600  # it is 30 s; the kernel waits for 15 minutes


@pytest.fixture(autouse=True)
def no_traceback(alice: Person) -> Iterator[None]:
    """Nothing of this surprises us."""
    yield
    assert "Traceback" not in alice.service.log
