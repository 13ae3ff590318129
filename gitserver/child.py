"""Git's receive-pack and upload-pack as children of the server: fed, read, bounded, ended with SIGTERM."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import closing, suppress
from pathlib import Path

from gitserver.body import Body
from gitserver.gate import Gate, Judge
from gitserver.places import Places
from gitserver.program import Program, start
from hermes.errors import Unavailable, UserError
from hermes.git import GitLimits, git_env
from hermes.pushes import HIDDEN
from hermes.settings import Settings

HOOKS = Path(__file__).parent / "hooks"
_MAX_ANSWER_BYTES = 4 << 20
_END_S = 10.0
_NICENESS = 5  # pages and other people's pushes are answered while git unpacks
_PROTOCOL = re.compile(r"[A-Za-z0-9=:._-]{1,200}")  # what git itself may find in GIT_PROTOCOL

#: Measured in docs/performance.md and by git's own documentation of each key (git-scm.com/docs/git-config).
_CONFIG = {
    "core.hooksPath": str(HOOKS.absolute()),
    "core.alternateRefsCommand": "true",  # the alternate of a quarantine is the repository itself
    "core.fsync": "all",
    "core.bigFileThreshold": "16m",
    "core.packedGitWindowSize": "32m",  # a clone of a large file maps it in parts
    "pack.threads": "4",
    "core.packedGitLimit": "256m",
    "pack.windowMemory": "64m",
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
    "uploadpackfilter.allow": "false",  # sparse and combined ones walk a tree once for each of its paths
    "uploadpackfilter.blob:none.allow": "true",
    "uploadpackfilter.blob:limit.allow": "true",
    "uploadpackfilter.tree.allow": "true",
    "uploadpackfilter.object:type.allow": "true",
    "uploadpack.allowReachableSHA1InWant": "true",
    "gc.auto": "0",
    "transfer.hideRefs": HIDDEN,
}


class Git:
    """Git's programs for this instance. Pushes and fetches have places of their own, so that many slow
    clones do not keep a push waiting."""

    def __init__(self, settings: Settings) -> None:
        self._limits = GitLimits(settings.git_memory, settings.git_time, _NICENESS)
        self._pushes, self._fetches = Places(settings.git_slots), Places(settings.git_slots)
        self._push_bytes = settings.push_size

    @property
    def at_work(self) -> int:
        """Pushes and fetches that are packed now."""
        return self._pushes.taken + self._fetches.taken

    async def _start(self, words: list[str], protocol: str = "", gate: Gate | None = None) -> Program:
        config = _CONFIG | {"receive.maxInputSize": str(self._push_bytes)}
        flags = [word for key, value in config.items() for word in ("-c", f"{key}={value}")]
        env = {"GIT_PROTOCOL": protocol} if _PROTOCOL.fullmatch(protocol) else {}
        env = git_env(env | (gate.env if gate else {}))
        return await start(["git", *flags, *words], env, gate.fds if gate else (), self._limits.hold)

    async def advertise(self, repo: Path, program: str, protocol: str) -> bytes:
        """The refs, as the first answer of both programs."""
        words = [program, "--stateless-rpc", "--http-backend-info-refs", str(repo)]
        child = await self._start(words, protocol)
        try:
            child.close_input()
            output = b"".join([chunk async for chunk in child.output()])
            if (code := await child.wait()) != 0:
                raise Unavailable(f"git {program} ended with {code}")
            return output
        finally:
            await _end(child)

    async def upload(
        self, repo: Path, body: AsyncIterator[bytes], protocol: str, who: str, *args: str
    ) -> AsyncGenerator[bytes]:
        """Serve a fetch or a clone for `who`: git's own answer, as it comes. `--stateless-rpc` in `args`:
        over HTTP, where the whole request is read first; else both sides talk at once."""
        async with self._fetches.take(who):
            words = ["upload-pack", *args, str(repo)]
            child = await self._start(words, protocol)
            feeding = asyncio.create_task(_feed(child, body))
            try:
                if "--stateless-rpc" in args:
                    await feeding
                sent = False
                async for chunk in child.output():
                    sent = True
                    yield chunk
                if "--stateless-rpc" in args and not sent and await child.wait() != 0:
                    raise UserError("git could not serve this request", "the service's log says why")
            finally:
                feeding.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await feeding
                await _end(child)

    async def receive(self, repo: Path, body: Body, judge: Judge, who: str) -> bytes:
        """Let git receive a push of `who`; `judge` is shown the quarantine and says whether it may go on.

        Returns git's whole answer. Raises Unavailable if git gave none."""
        async with self._pushes.take(who):
            with closing(Gate()) as gate:
                words = ["receive-pack", "--stateless-rpc", str(repo)]
                child = await self._start(words, gate=gate)
                gate.close_far_side()
                try:
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(_feed_whole(child, body, judge))
                        tasks.create_task(gate.keep(judge))
                        answer = await _answer(child)
                        body.enough()
                    await child.wait()
                except BaseExceptionGroup as group:
                    raise group.exceptions[0] from None
                finally:
                    await _end(child)
        if not answer:
            raise Unavailable(f"git receive-pack ended with {child.returncode}")
        return answer


async def _feed_whole(child: Program, body: AsyncIterator[bytes], judge: Judge) -> None:
    await _feed(child, body)
    judge.expect()


async def _feed(child: Program, body: AsyncIterator[bytes]) -> None:
    """Everything that the client sends; what git does not want any more is read and dropped."""
    broken = False
    async for chunk in body:
        if broken:
            continue
        try:
            await child.write(chunk)
        except BrokenPipeError:
            broken = True
    child.close_input()


async def _answer(child: Program) -> bytes:
    parts, size = [], 0
    async for chunk in child.output():
        size += len(chunk)
        if size > _MAX_ANSWER_BYTES:
            raise Unavailable("git's answer is too long")
        parts.append(chunk)
    return b"".join(parts)


async def _end(child: Program) -> None:
    """SIGTERM lets git remove its quarantine; SIGKILL only when that does not help."""
    try:
        if child.returncode is None:
            await _kill(child)
    finally:
        child.close()


async def _kill(child: Program) -> None:
    with suppress(ProcessLookupError):
        child.terminate()
    try:
        async with asyncio.timeout(_END_S):
            await child.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()
