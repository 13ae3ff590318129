"""Git's receive-pack and upload-pack as children of the server: fed, read, bounded, ended with SIGTERM."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from gitserver.body import Body
from gitserver.places import Places
from hermes.errors import Unavailable
from hermes.git import GitLimits, git_command, git_env
from hermes.pushes import HIDDEN
from hermes.settings import Settings

HOOKS = Path(__file__).parent / "hooks"
_MAX_ANSWER_BYTES = 4 << 20
_END_S = 10.0
_PIPE = asyncio.subprocess.PIPE

#: Measured in docs/performance.md and by git's own documentation of each key (git-scm.com/docs/git-config).
_CONFIG = {
    "core.hooksPath": str(HOOKS.absolute()),
    "core.fsync": "all",
    "core.bigFileThreshold": "16m",
    "core.packedGitWindowSize": "32m",  # a clone of a large file maps it in parts
    "pack.threads": "4",
    "pack.windowMemory": "256m",
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
    "transfer.hideRefs": HIDDEN,
}

Ask = Callable[[Path | None], Awaitable[bool]]


class Git:
    """Git's programs for this instance. Pushes and fetches have places of their own, so that many slow
    clones do not keep a push waiting."""

    def __init__(self, settings: Settings) -> None:
        self._limits = GitLimits(settings.git_memory, settings.git_time, offline=True)
        self._pushes, self._fetches = Places(settings.git_slots), Places(settings.git_slots)
        self._push_bytes = settings.push_size

    @property
    def at_work(self) -> int:
        """Pushes and fetches that are packed now."""
        return self._pushes.taken + self._fetches.taken

    def _command(self, repo: Path, program: str, *args: str) -> list[str]:
        config = _CONFIG | {"receive.maxInputSize": str(self._push_bytes)}
        flags = [word for key, value in config.items() for word in ("-c", f"{key}={value}")]
        whole = git_command(repo, limits=self._limits)
        return [*whole[:-1], *flags, program, *args, str(repo)]

    async def advertise(self, repo: Path, program: str, protocol: str) -> bytes:
        """The refs, as the first answer of both programs."""
        command = self._command(repo, program, "--stateless-rpc", "--http-backend-info-refs")
        child = await asyncio.create_subprocess_exec(
            *command, env=_env(protocol), stdin=asyncio.subprocess.DEVNULL, stdout=_PIPE
        )
        output, _ = await child.communicate()
        if child.returncode != 0:
            raise Unavailable(f"git {program} ended with {child.returncode}")
        return output

    async def upload(
        self, repo: Path, body: AsyncIterator[bytes], protocol: str, who: str, *args: str
    ) -> AsyncGenerator[bytes]:
        """Serve a fetch or a clone for `who`: git's own answer, as it comes. `--stateless-rpc` in `args`:
        over HTTP, where the whole request is read first; else both sides talk at once."""
        async with self._fetches.take(who):
            child = await asyncio.create_subprocess_exec(
                *self._command(repo, "upload-pack", *args), env=_env(protocol), stdin=_PIPE, stdout=_PIPE
            )
            assert child.stdout is not None
            feeding = asyncio.create_task(_feed(child, body))
            try:
                if "--stateless-rpc" in args:
                    await feeding
                while chunk := await child.stdout.read(1 << 16):
                    yield chunk
            finally:
                feeding.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await feeding
                await _end(child)

    async def receive(self, repo: Path, body: Body, ask: Ask, who: str) -> bytes:
        """Let git receive a push of `who`; `ask` is called with the quarantine and says whether it may go on.

        Returns git's whole answer. Raises Unavailable if git gave none."""
        async with self._pushes.take(who):
            ask_read, ask_write = os.pipe()
            verdict_read, verdict_write = os.pipe()
            env = _env("") | {"HERMES_ASK_FD": str(ask_write), "HERMES_VERDICT_FD": str(verdict_read)}
            try:
                child = await asyncio.create_subprocess_exec(
                    *self._command(repo, "receive-pack", "--stateless-rpc"),
                    env=env,
                    stdin=_PIPE,
                    stdout=_PIPE,
                    pass_fds=(ask_write, verdict_read),
                )
            finally:
                os.close(ask_write)
                os.close(verdict_read)
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(_feed(child, body))
                    tasks.create_task(_gate(ask_read, verdict_write, ask))
                    answer = await _answer(child)
                    body.enough()
                await child.wait()
            except BaseExceptionGroup as group:
                raise group.exceptions[0] from None
            finally:
                os.close(verdict_write)
                await _end(child)
        if not answer:
            raise Unavailable(f"git receive-pack ended with {child.returncode}")
        return answer


def _env(protocol: str) -> dict[str, str]:
    return git_env({"GIT_PROTOCOL": protocol} if protocol in ("version=1", "version=2") else {})


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
