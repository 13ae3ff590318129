"""The answer to a push: git's own report first, then our lines, a sign of life in silence, then the flush.

Git's last four bytes are held back, so the client keeps listening while no git process is held. The report
goes first: a client that leaves already knows that its refs moved."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gitserver.follow import Follower
from gitserver.policy import Change
from gitserver.protocol import FATAL, FLUSH, KEEP_ALIVE, PROGRESS, band
from gitserver.push import Received
from gitserver.voice import Voice
from hermes.cron import next_time, show_time
from hermes.functions import taken_version
from hermes.journal import log
from hermes.patience import get_patiently, read_patiently, with_signs
from hermes.plan import Plan
from hermes.process import Context
from hermes.pushes import BRANCHES
from hermes.states import State
from hermes.tables import Build, Push, Repo, Run
from hermes.timetable import ScheduleWant
from hermes.visibility import disagreement
from hermes.words import bad_end

_KEEP_ALIVE_S = (
    2.5  # an empty packet, which git does not show: for proxies, and node, which hangs up after 5 s
)
_STILL_S = 30.0  # a line, for people
_LOOK_S = 1.0  # whether it is time for one of them, and whether the service stops


class _Pulse:
    """When something was last sent, and last seen."""

    def __init__(self) -> None:
        self._sent_at = self._seen_at = time.monotonic()

    def shown(self) -> None:
        """The user has seen something."""
        self._sent_at = self._seen_at = time.monotonic()

    def sign(self, follower: Follower) -> bytes:
        """What silence calls for now, if anything."""
        now = time.monotonic()
        if now - self._seen_at > _STILL_S:
            self.shown()
            return band(PROGRESS, follower.still())
        if now - self._sent_at > _KEEP_ALIVE_S:
            self._sent_at = now
            return KEEP_ALIVE
        return b""


def at_once(received: Received) -> bytes | None:
    """All bytes of the response where nothing is waited for; None: they come from `answer`."""
    if received.refused or not received.head.has_sideband:
        return received.answer
    if received.follow or any(change.plan is not None for change, _, _ in received.applied):
        return None
    voice, words = _voice(received), [change.words for change, _, _ in received.applied if change.words]
    said = b"".join(band(PROGRESS, voice.say(each)) for each in words)
    return received.answer.removesuffix(FLUSH) + said + FLUSH


def _voice(received: Received) -> Voice:
    return Voice(received.head.at_terminal, received.options.numbers.get("width", 0))


async def answer(
    context: Context, received: Received, where: str, closing: asyncio.Event
) -> AsyncGenerator[bytes]:
    """All bytes of the response. `where` is `owner/name`; `closing` is set when the service stops."""
    if all_ := at_once(received):
        yield all_
        return
    yield received.answer.removesuffix(FLUSH)
    follower = Follower(context, _voice(received))
    try:
        pulse = _Pulse()
        async with (
            aclosing(_words(context, follower, received, where)) as words,
            aclosing(_with_end(context, received, words)) as whole,
            aclosing(with_signs(whole, _LOOK_S)) as packets,
        ):
            async for packet in packets:
                if packet:
                    yield packet
                    pulse.shown()
                elif sign := pulse.sign(follower):
                    yield sign
                if closing.is_set() and not _is_end(packet):
                    words_of_end = follower.say("the service restarts; all goes on, see the page above")
                    yield band(PROGRESS, words_of_end) + FLUSH
                    break
    except asyncio.CancelledError:
        log.info("push detached", pushes=[push.id for _, push, _ in received.applied])
        raise
    finally:
        follower.close()


async def _with_end(
    context: Context, received: Received, words: AsyncIterator[bytes]
) -> AsyncGenerator[bytes]:
    """The words in packets, and the end of the response."""
    async for data in words:
        yield band(PROGRESS, data)
    verdict = await _verdict(context, received) if "check" in received.options else b""
    yield verdict or FLUSH  # band 3 is the end: git's helper dies of what it cannot pass on after it


def _is_end(packet: bytes) -> bool:
    return packet == FLUSH or packet[4:5] == bytes([FATAL])


async def _words(
    context: Context, follower: Follower, received: Received, where: str
) -> AsyncGenerator[bytes]:
    for change, push, run in received.applied:
        async with aclosing(_of_push(context, follower, received, where, (change, push, run))) as chunks:
            async for data in chunks:
                yield data
    if received.follow:
        yield follower.say(f"run {received.follow}    {context.settings.public_url}/runs/{received.follow}")
        async with aclosing(follower.run(received.follow)) as chunks:
            async for data in chunks:
                yield data


async def _of_push(
    context: Context,
    follower: Follower,
    received: Received,
    where: str,
    what: tuple[Change, Push, Run | None],
) -> AsyncGenerator[bytes]:
    change, push, run = what
    for warning in change.plan.warnings if change.plan else ():
        yield follower.say(f"warning: {warning}")
    for line in await _remarks(context, push, change.plan, where):
        yield follower.say(line)
    build = await _build_of(context, push, change.plan)
    if build is None:
        if change.words:
            yield follower.say(change.words)
        return
    page = f"{context.settings.public_url}/{where}/commit/{push.new_sha[:12]}"
    yield follower.say(f"{push.ref.removeprefix('refs/heads/')} at {push.new_sha[:7]}  {page}")
    if "detach" in received.options:
        return
    async with aclosing(follower.build(build.id)) as chunks:
        async for data in chunks:
            yield data
    if run is not None and await _is_built(context, build.id):
        async with aclosing(follower.run(run.id)) as chunks:
            async for data in chunks:
                yield data
    elif run is not None:
        yield follower.say(f"run {run.id}    not started: build {build.id} did not succeed")


async def _remarks(context: Context, push: Push, plan: Plan | None, where: str) -> list[str]:
    """What the manifest says that is not so: settings decide who reads, and versions stay what they are."""
    if plan is None or (plan.public is None and not plan.version and not plan.schedules):
        return []

    async def read(session: AsyncSession) -> tuple[Repo, str]:
        repo = await session.get_one(Repo, push.repo_id)
        return repo, await taken_version(session, repo, plan, push.new_sha)

    repo, taken = await read_patiently(context.database, read)
    lines = []
    if plan.public is not None and push.ref == BRANCHES + repo.default_branch:
        lines.append(disagreement(plan, repo, where, context.settings.public_url))
    if push.ref == BRANCHES + repo.default_branch:
        lines += [f"schedule {each.cron}  {_next_of(each)}" for each in plan.schedules]
    if taken:
        lines.append(
            f"version {plan.version} was built from {taken[:7]} and stays that; this commit is "
            f"{where}@{push.new_sha[:7]} (raise `version` to give it one)"
        )
    return [line for line in lines if line]


def _next_of(each: ScheduleWant) -> str:
    now = time.time()
    return f"next {show_time(next_time(each.cron, each.timezone, now), each.timezone, now)}"


async def _build_of(context: Context, push: Push, plan: Plan | None) -> Build | None:
    if plan is None:
        return None
    same = select(Build).where(
        Build.repo_id == push.repo_id, Build.commit_sha == push.new_sha, Build.inputs == plan.build_inputs()
    )
    return await read_patiently(context.database, lambda session: session.scalar(same))


async def _is_built(context: Context, build_id: int) -> bool:
    build = await get_patiently(context.database, Build, build_id)
    return build.state is State.BUILT


async def _verdict(context: Context, received: Received) -> bytes:
    """Band 3 makes the client exit 1, with the refs truthfully shown as moved."""
    runs = [run.id for _, _, run in received.applied if run is not None]
    for change, push, _ in received.applied:
        build = await _build_of(context, push, change.plan)
        if build is not None and build.state is not State.BUILT:
            return band(FATAL, f"build {build.id} {bad_end(build)}\n".encode())
    for run_id in [*runs, *([received.follow] if received.follow else [])]:
        now = await get_patiently(context.database, Run, run_id)
        if now.state is not State.SUCCEEDED:
            return band(FATAL, f"run {run_id} {bad_end(now)}\n".encode())
    return b""
