"""Git's receive-pack and upload-pack as children of the server: fed, read, bounded, ended with SIGTERM."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from hermes.errors import Unavailable
from hermes.git import git_command, git_env

HOOKS = Path(__file__).parent / "hooks"
_MAX_ANSWER_BYTES = 4 << 20
_END_S = 10.0
_AT_ONCE = asyncio.Semaphore(8)  # pack programs at a time

#: Measured in docs/performance.md and by git's own documentation of each key (git-scm.com/docs/git-config).
_CONFIG = {
    "core.hooksPath": str(HOOKS.absolute()),
    "core.fsync": "all",
    "core.bigFileThreshold": "16m",
    "receive.fsckObjects": "true",
    "receive.fsck.zeroPaddedFilemode": "ignore",
    "receive.fsck.missingSpaceBeforeDate": "ignore",
    "receive.fsck.badTimezone": "ignore",
    "receive.unpackLimit": "1",
    "receive.advertisePushOptions": "true",
    "receive.autogc": "false",
    "receive.denyDeleteCurrent": "ignore",
    "receive.denyNonFastForwards": "false",
    "uploadpack.allowFilter": "true",
    "uploadpack.allowReachableSHA1InWant": "true",
    "gc.auto": "0",
}

Ask = Callable[[Path | None], Awaitable[bool]]


def _command(repo: Path, program: str, *args: str, max_bytes: int = 0) -> list[str]:
    config = _CONFIG | ({"receive.maxInputSize": str(max_bytes)} if max_bytes else {})
    flags = [word for key, value in config.items() for word in ("-c", f"{key}={value}")]
    whole = git_command(repo)
    return [*whole[:-1], *flags, program, "--stateless-rpc", *args, str(repo)]


async def advertise(repo: Path, program: str, protocol: str) -> bytes:
    """The refs, as the first answer of both programs."""
    command = _command(repo, program, "--http-backend-info-refs")
    async with _AT_ONCE:
        child = await asyncio.create_subprocess_exec(
            *command, env=_env(protocol), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await child.communicate()
    if child.returncode != 0:
        raise Unavailable(f"git {program} ended with {child.returncode}")
    return output


def _env(protocol: str) -> dict[str, str]:
    return git_env({"GIT_PROTOCOL": protocol} if protocol in ("version=1", "version=2") else {})


async def upload(repo: Path, body: AsyncIterator[bytes], protocol: str) -> AsyncIterator[bytes]:
    """Serve a fetch or a clone: git's own answer, as it comes."""
    async with _AT_ONCE:
        child = await asyncio.create_subprocess_exec(
            *_command(repo, "upload-pack"),
            env=_env(protocol),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert child.stdout is not None
        try:
            await _feed(child, body)
            while chunk := await child.stdout.read(1 << 16):
                yield chunk
        finally:
            await _end(child)


async def receive(repo: Path, body: AsyncIterator[bytes], ask: Ask, max_bytes: int) -> bytes:
    """Let git receive a push; `ask` is called with the quarantine and says whether it may go on.

    Returns git's whole answer. Raises Unavailable if git gave none."""
    ask_read, ask_write = os.pipe()
    verdict_read, verdict_write = os.pipe()
    env = _env("") | {"HERMES_ASK_FD": str(ask_write), "HERMES_VERDICT_FD": str(verdict_read)}
    async with _AT_ONCE:
        try:
            child = await asyncio.create_subprocess_exec(
                *_command(repo, "receive-pack", max_bytes=max_bytes),
                env=env,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                pass_fds=(ask_write, verdict_read),
            )
        finally:
            os.close(ask_write)
            os.close(verdict_read)
        try:
            _fed, answer, _asked = await asyncio.gather(
                _feed(child, body), _answer(child), _gate(ask_read, verdict_write, ask)
            )
            await child.wait()
        finally:
            os.close(verdict_write)
            await _end(child)
    if not answer:
        raise Unavailable(f"git receive-pack ended with {child.returncode}")
    return answer


async def _gate(ask_fd: int, verdict_fd: int, ask: Ask) -> None:
    """Wait for the hook's question, if it comes to that, and answer it."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ask_fd, "rb", buffering=0)
    )
    try:
        line = await reader.readline()
        if line.endswith(b"\n"):  # else git refused the push before it asked
            quarantine = Path(line[:-1].decode()) if line != b"\n" else None
            os.write(verdict_fd, b"ok\n" if await ask(quarantine) else b"no\n")
    finally:
        transport.close()


async def _feed(child: asyncio.subprocess.Process, body: AsyncIterator[bytes]) -> None:
    """Everything that the client sends; what git does not want any more is read and dropped."""
    assert child.stdin is not None
    broken = False
    async for chunk in body:
        if broken:
            continue
        try:
            child.stdin.write(chunk)
            await child.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            broken = True
    with suppress(BrokenPipeError, ConnectionResetError):
        child.stdin.close()
        await child.stdin.wait_closed()


async def _answer(child: asyncio.subprocess.Process) -> bytes:
    assert child.stdout is not None
    parts, size = [], 0
    while chunk := await child.stdout.read(1 << 16):
        size += len(chunk)
        if size > _MAX_ANSWER_BYTES:
            raise Unavailable("git's answer is too long")
        parts.append(chunk)
    return b"".join(parts)


async def _end(child: asyncio.subprocess.Process) -> None:
    """SIGTERM lets git remove its quarantine; SIGKILL only when that does not help."""
    if child.returncode is not None:
        return
    with suppress(ProcessLookupError):
        child.terminate()
    try:
        async with asyncio.timeout(_END_S):
            await child.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()
