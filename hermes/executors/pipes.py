"""What a command without an engine prints: its pipes, read as it comes until they end or nobody is left."""

import fcntl
import os
import select
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO

from hermes.executors.base import Sink
from hermes.logs import MIXED, STDERR, STDOUT

_SIZE_BYTES = 1 << 20  # of a pipe, where the kernel lets us: a program that prints much waits less often
_LOOK_S = 2.0


def open_pipes(process: "subprocess.Popen[bytes]") -> dict[IO[bytes], int]:
    """Its pipes and which streams they carry. One pipe holds both in the order in which they came."""
    found = {process.stdout: STDOUT if process.stderr else MIXED, process.stderr: STDERR}
    pipes = {pipe: stream for pipe, stream in found.items() if pipe is not None}
    for pipe in pipes:
        with suppress(OSError):  # so many of one user are enough
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _SIZE_BYTES)
    return pipes


def drain(pipes: dict[IO[bytes], int], sink: Sink, end: Callable[[], float]) -> None:
    """Hand all to `sink` until each pipe has ended, or the monotonic clock has passed `end`; closes them."""
    left = {pipe.fileno(): (pipe, stream) for pipe, stream in pipes.items()}
    try:
        poll = select.poll()
        for descriptor in left:
            poll.register(descriptor, select.POLLIN)
        while left and time.monotonic() < end():
            for descriptor, _event in poll.poll(1000 * _LOOK_S):
                if chunk := os.read(descriptor, _SIZE_BYTES):
                    sink(chunk, left[descriptor][1])
                else:
                    poll.unregister(descriptor)
                    del left[descriptor]
    finally:
        close(pipes)


def close(pipes: dict[IO[bytes], int]) -> None:
    """Nobody reads them any more."""
    for pipe in pipes:
        pipe.close()
