"""One push: head → early policy → git receives into quarantine → policy → recorded → ref moved → applied.

The order is what makes an accepted push safe: a crash between any two of these steps loses nothing that
was acknowledged, and what it leaves as `received` is resolved by looking at the ref (hermes.reconcile)."""

import asyncio
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from gitserver import branches, protocol, reattach
from gitserver.access import Caller
from gitserver.advice import advice, broken
from gitserver.body import Body
from gitserver.child import Git
from gitserver.head import HEADER_BYTES
from gitserver.policy import Change, PushPolicy
from gitserver.quarantine import ObjectLimits, check_count
from hermes import pushes
from hermes.errors import HermesError, Refused, TooMany, UserError
from hermes.fairness import check_queue
from hermes.git import set_head, sync_names
from hermes.images import ImageTable
from hermes.instance import look_at_instance
from hermes.journal import log
from hermes.options import PushOptions, parse_options
from hermes.plan import Instance
from hermes.pools import PoolTable
from hermes.process import Context
from hermes.queue import BUILDS, CHANGED, RANKS
from hermes.tables import Push, Repo, Run, User
from hermes.threads import in_thread
from hermes.throttle import Throttle
from hermes.tree import TreeLimits
from hermes.trust import NEXT_STEP, distrust

T = TypeVar("T")
_GOOD_FOR_S = 1.0


@dataclass
class Received:
    """A push that was answered. `answer` is whole; if it was not `refused`, more follows before its flush."""

    answer: bytes
    head: protocol.PushHead
    options: PushOptions = field(default_factory=PushOptions)
    applied: list[tuple[Change, Push, Run | None]] = field(default_factory=list)
    refused: bool = False
    follow: int = 0  # a run to show besides


@dataclass(frozen=True)
class Door:
    """What all pushes share."""

    context: Context
    images: ImageTable
    pools: PoolTable
    git: Git
    rate: Throttle
    _seen: dict[str, tuple[float, Instance]] = field(default_factory=dict)

    async def here(self) -> Instance:
        """What this instance has; a runner's word is good for a second."""
        until, instance = self._seen.get("", (0.0, None))
        if instance is None or time.monotonic() > until:
            async with self.context.database.read() as session:
                instance = await look_at_instance(session, self.context.settings, self.images, self.pools)
            if instance.gpus is not None:  # nobody alive yet: somebody may be at any moment
                self._seen[""] = time.monotonic() + _GOOD_FOR_S, instance
        return instance


class Receiver:
    """Receives one push into one repository."""

    def __init__(self, door: Door, caller: Caller, repo: Repo, owner: str, name: str) -> None:
        assert caller.user is not None
        self._door, self._context = door, door.context
        self._user: User = caller.user
        self._repo = repo
        path = door.context.paths.repo(repo.id)
        self._target = branches.Target(path, owner, name, repo.default_branch, repo.protected)
        self._reasons: dict[str, str] = {}
        self._words = ""
        self._policy: asyncio.Task[PushPolicy] | None = None
        self._changes: list[tuple[Change, Push]] = []

    async def receive(self, head: protocol.PushHead, body: Body) -> Received:
        """Take the push or refuse it, in words. Raises Unavailable for faults of ours."""
        ref = head.commands[0].ref if head.commands else ""
        try:
            options = parse_options(list(head.options))
            if run := await reattach.asked_for(self._context, self._user, self._repo, head, options):
                await body.discard()
                answer = protocol.report(head, dict.fromkeys(head.refs, ""), "")
                return Received(answer, head, options, follow=run)
            await self._look_at_head(head, body)
        except UserError as error:
            await _discard(body)
            return self._refuse(head, error, ref)
        return await self._receive(head, body, options, ref)

    async def _receive(self, head: protocol.PushHead, body: Body, options: PushOptions, ref: str) -> Received:
        async def prepare() -> None:
            """Git has started, and is soon at work: the time to prepare what it will ask."""
            await self._check_room(head)
            self._policy = _begin(self._look_around(options))

        body.hold_until(prepare)
        try:
            answer = await self._door.git.receive(
                self._target.path,
                body,
                lambda quarantine: self._decide(head, quarantine),
                self._user.name,
            )
        except UserError as error:  # of the body, or of what it was held for
            await _discard(body)
            return self._refuse(head, error, ref)
        if self._reasons:
            return self._refused(head)
        report = protocol.read_report(answer, head)
        if report.unpack != "ok":
            return self._refuse(head, self._broken(report.words), ref)
        await in_thread(sync_names, self._target.path, report.moved)
        applied = await self._apply(report.moved)
        if more := advice(report.refs.values()):
            answer = protocol.band(protocol.PROGRESS, more.encode()) + answer if head.has_sideband else answer
        return Received(answer, head, options, applied, refused=not report.moved)

    async def _look_at_head(self, head: protocol.PushHead, body: Body) -> None:
        """What can be refused before the pack is read. Raises UserError."""
        settings = self._context.settings
        wait_s = self._door.rate.wait_s(self._user.name)
        if wait_s:
            raise TooMany(f"more than {settings.push_rate} pushes in a minute", wait_s)
        self._door.rate.count(self._user.name)
        branches.check_commands(head.commands, settings.push_refs)
        for command in head.commands:
            try:
                branches.check_ref(command.ref)
            except UserError as error:
                self._note(command.ref, error)
                raise
        if head.has_pack:
            ahead = await anext(body, b"")
            body.put_back(ahead)
            header = ahead[head.size_bytes : head.size_bytes + HEADER_BYTES]
            check_count(protocol.pack_objects(header), ObjectLimits.of(settings))

    async def _check_room(self, head: protocol.PushHead) -> None:
        settings, path = self._context.settings, self._target.path
        await in_thread(branches.check_room, path, head.commands, settings.repo_refs, settings.repo_size)

    async def _look_around(self, options: PushOptions) -> PushPolicy:
        settings = self._context.settings
        here = (await self._door.here()).as_seen_by(self._user.name)
        trees = TreeLimits(settings.tree_files, settings.tree_size)
        why = await self._distrust() if here.is_unfenced else None
        return PushPolicy(self._target, trees, ObjectLimits.of(settings), here, options, why)

    async def _distrust(self) -> Refused | None:
        """Why nothing of this user may run here; what only stores commits is welcome all the same."""
        async with self._context.database.read() as session:
            why = await distrust(session, self._context.settings, self._user.id)
        return Refused(why, NEXT_STEP) if why else None

    async def _decide(self, head: protocol.PushHead, quarantine: Path | None) -> bool:
        """Look at every update; record the push if all are good. Runs while git waits in its hook."""
        fault: tuple[str, HermesError] | None
        assert self._policy is not None  # git asks when it has read the commands
        try:
            policy = await self._policy
            changes, fault = await in_thread(policy.examine, head.commands, quarantine)
            if fault is None:
                await self._record(changes)
        except HermesError as error:
            fault = head.commands[0].ref, error
        if fault is not None:
            self._note(*fault)
        return fault is None

    async def _record(self, changes: list[Change]) -> None:
        ranks = sum(len(change.plan.ranks) for change in changes if change.plan and change.plan.runs)
        async with self._context.database.write() as session:
            if ranks:
                await check_queue(session, self._context.settings, self._user.id, ranks)
            for change in sorted(changes, key=lambda change: change.update.ref not in pushes.USUAL):
                push = await pushes.receive(
                    session, self._repo, self._user.id, change.update, change.plan, change.subject
                )
                self._changes.append((change, push))

    async def _apply(self, moved: set[str]) -> list[tuple[Change, Push, Run | None]]:
        """The refs moved: queue what follows from it, before the client hears of it."""
        applied = []
        async with self._context.database.write() as session:
            repo = await session.get_one(Repo, self._repo.id)  # read once: `apply` finds it in the session
            for change, push in self._changes:
                session.add(push)
                if change.update.ref in moved:
                    applied.append((change, push, await pushes.apply(session, push)))
                else:
                    await pushes.abandon(session, push, "git refused the ref")
            if repo.default_branch != self._target.default_branch:  # before the row says that it is so
                await in_thread(set_head, self._target.path, repo.default_branch)
        starts = any(push.plan is not None for _, push, _ in applied)
        self._context.doorbell.ring_soon(*(BUILDS, RANKS) if starts else (), CHANGED)
        return applied

    def _note(self, ref: str, error: HermesError) -> None:
        is_theirs = isinstance(error, UserError)
        words = protocol.one_line(str(error)) if is_theirs else "the server cannot take pushes now"
        hint = error.hint if isinstance(error, UserError) else "try again in a minute"
        self._reasons[ref] = words
        self._words = f"hermes  refused  {words}\n" + (f"hermes           {hint}\n" if hint else "")
        log.info("push refused", repo=self._repo.id, ref=ref, reason=str(error))

    def _refuse(self, head: protocol.PushHead, error: UserError, ref: str) -> Received:
        if not self._reasons:
            self._note(ref, error)
        return self._refused(head)

    def _broken(self, words: str) -> UserError:
        return broken(words, self._target.path, self._context.settings.push_size)

    def _refused(self, head: protocol.PushHead) -> Received:
        return Received(protocol.report(head, self._reasons, self._words), head, refused=True)


def _begin(work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
    """Its end is asked for later, or not at all: then its error is nobody's business."""
    task = asyncio.create_task(work)
    task.add_done_callback(lambda task: task.cancelled() or task.exception())
    return task


async def _discard(body: Body) -> None:
    """What the client still sends; if it goes on for too long, it may meet a closed door."""
    with suppress(UserError):
        await body.discard()
