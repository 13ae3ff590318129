"""Programs beside the server: their pipes, their end, and that they have no network."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from gitserver.gate import Gate
from gitserver.program import Program, start
from hermes.git import git_env
from tests.conftest import missing
from tests.service import PATIENCE_S

NETWORK = "/proc/self/ns/net"


def held(_pid: int) -> None:
    """Without bounds."""


async def begin(*words: str, hold: Callable[[int], None] = held) -> Program:
    return await start(words, git_env(), (), hold)


async def output(program: Program) -> bytes:
    found = b""
    while chunk := await program.read():
        found += chunk
    return found


async def test_what_is_started_has_a_network_namespace_with_nothing_in_it() -> None:
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode != 0:
        missing("the right to make a network namespace")
    program = await begin("sh", "-c", f"readlink {NETWORK}; cat /proc/net/dev")
    lines = (await output(program)).decode().splitlines()
    assert await program.wait() == 0
    program.close()
    assert lines[0] != os.readlink(NETWORK)
    assert [line.split(":")[0].strip() for line in lines[3:]] == ["lo"]


async def test_more_than_a_pipe_holds_goes_in_and_comes_out_whole() -> None:
    data = os.urandom(5 << 20)
    program = await begin("cat")
    reading = asyncio.create_task(output(program))
    await program.write(data)
    program.close_input()
    assert await reading == data
    assert await program.wait() == 0
    program.close()


async def test_who_reads_nothing_breaks_the_pipe_and_not_the_server() -> None:
    program = await begin("sh", "-c", "exec <&-; exit 3")
    with pytest.raises(BrokenPipeError):
        while True:
            await program.write(bytes(1 << 20))
    assert await program.wait() == 3
    program.close()


async def test_program_that_is_waited_for_can_be_ended() -> None:
    program = await begin("sleep", "600")
    waiting = asyncio.create_task(program.wait())
    await asyncio.sleep(0)
    assert program.returncode is None
    program.terminate()
    assert await waiting == -15
    program.close()


async def test_bound_is_there_before_the_start_is_over() -> None:
    pids: list[int] = []
    program = await begin("true", hold=pids.append)
    assert len(pids) == 1
    assert await program.wait() == 0
    program.close()


async def test_start_that_is_cancelled_leaves_no_process() -> None:
    pids: list[int] = []
    starting = asyncio.create_task(
        begin(sys.executable, "-c", "import time; time.sleep(600)", hold=pids.append)
    )
    await asyncio.sleep(0)
    starting.cancel()
    with suppress(asyncio.CancelledError):
        await starting
    while not pids or Path(f"/proc/{pids[0]}").exists():
        await asyncio.sleep(0.01)


class _Late:
    """A judge who decides when git has gone."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def expect(self) -> None:
        """Git asks soon."""

    async def decide(self, quarantine: Path | None) -> bool:
        """It was killed meanwhile."""
        self._gate.close_far_side()
        return True


async def test_a_verdict_that_nobody_waits_for_breaks_nothing() -> None:
    with closing(Gate()) as gate:
        os.write(gate.fds[0], b"/quarantine\n")
        await asyncio.wait_for(gate.keep(_Late(gate)), PATIENCE_S)
