"""What nobody gets by a connection over SSH: a shell, files, other networks, an agent, other folders."""

import asyncio
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service import Service, free_port, wait_for
from tests.ssh import (
    HOST,
    Person,
    command,
    person,
    run,
    wait_for_no_git,
)

MIB = 1 << 20
NO_SHELL = "Hi alice! You are signed in, and there is no shell here: git push and git clone work."


@pytest.fixture(scope="module")
def alice(local_service: Service, tmp_path_factory: pytest.TempPathFactory) -> Person:
    """Somebody who gets in."""
    return person(local_service, tmp_path_factory.mktemp("hostile"), "alice")


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
            wait_for(lambda: _says_nothing(port, inner), 10)
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
                said = await asyncio.wait_for(process.stdout.read(), 10)
            assert b"Traceback" not in said
    await asyncio.to_thread(wait_for_no_git, alice.service)


@pytest.fixture(autouse=True)
def no_traceback(alice: Person) -> Iterator[None]:
    """Nothing of this surprises us."""
    yield
    assert "Traceback" not in alice.service.log
