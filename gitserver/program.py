"""A program at work beside the server: its pipes, read and written only when they are ready, and its end.

All are started by one thread that has left the network: a namespace for each would be 2 ms of every push.
Asyncio's own subprocesses wake the loop a dozen times before the first byte."""

import asyncio
import ctypes
import os
import subprocess
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from fcntl import F_SETPIPE_SZ, fcntl
from functools import cache

_CLONE_NEWNET = 0x40000000  # sched.h
_PIPE_BYTES = 1 << 18  # what waits in a pipe while somebody else is at work
_PIPE = subprocess.PIPE


class Program:
    """One that runs. Its output has one reader, its input one writer."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin is not None and process.stdout is not None
        self._process, self._stdin, self._stdout = process, process.stdin, process.stdout
        for pipe in (self._stdin, self._stdout):
            os.set_blocking(pipe.fileno(), False)
            with suppress(OSError):  # more than the kernel gives this user
                fcntl(pipe, F_SETPIPE_SZ, _PIPE_BYTES)

    async def write(self, data: bytes) -> None:
        """All of it. Raises BrokenPipeError when nobody reads any more."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._stdin.fileno(), rest) :]
            except BlockingIOError:
                await _writable(self._stdin.fileno())

    def close_input(self) -> None:
        """No more comes."""
        self._stdin.close()

    async def read(self, most_bytes: int = 1 << 16) -> bytes:
        """What is there, as soon as something is; empty at the end."""
        return await read_pipe(self._stdout.fileno(), most_bytes)

    async def wait(self) -> int:
        """Its exit code, when it has ended."""
        while self._process.poll() is None:
            handle = os.pidfd_open(self._process.pid)
            try:
                await _readable(handle)
            finally:
                os.close(handle)
        return self._process.returncode

    @property
    def returncode(self) -> int | None:
        """None: it runs."""
        return self._process.poll()

    async def output(self) -> AsyncGenerator[bytes]:
        """What it writes, to its end."""
        while chunk := await self.read():
            yield chunk

    def terminate(self) -> None:
        """SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

    def close(self) -> None:
        """The pipes; nobody waits at them any more."""
        self._stdin.close()
        self._stdout.close()


async def start(
    words: Sequence[str], env: Mapping[str, str], fds: Sequence[int], hold: Callable[[int], None]
) -> Program:
    """Start it with `fds` inherited; `hold` bounds it by its process id, in the same moment."""

    def started() -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(words, env=env, stdin=_PIPE, stdout=_PIPE, bufsize=0, pass_fds=fds)
        hold(process.pid)
        return process

    starting = asyncio.get_running_loop().run_in_executor(_offline_thread(), started)
    try:
        return Program(await asyncio.shield(starting))
    except asyncio.CancelledError:  # it is on its way, and nobody else would end it
        starting.add_done_callback(_forget)
        raise


def _forget(starting: "asyncio.Future[subprocess.Popen[bytes]]") -> None:
    if starting.cancelled() or starting.exception():
        return
    process = starting.result()
    process.kill()
    with process:  # closes its pipes, and waits: killed before it did anything, it is gone at once
        pass


@cache
def _offline_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "offline", initializer=_leave_network)


def _leave_network() -> None:
    """This thread, and what it starts, from now on in a network namespace with nothing in it; where that is
    not allowed (it takes an administrator's rights), in the one that is there."""
    ctypes.CDLL(None).unshare(_CLONE_NEWNET)


async def read_pipe(fd: int, most_bytes: int) -> bytes:
    """From a pipe that does not block."""
    while True:
        try:
            return os.read(fd, most_bytes)
        except BlockingIOError:
            await _readable(fd)


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, _tell, ready)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


async def _writable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(fd, _tell, ready)
    try:
        await ready
    finally:
        loop.remove_writer(fd)


def _tell(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
