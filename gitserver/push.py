"""One push: head → early policy → git receives into quarantine → policy → recorded → ref moved → applied.

The order is what makes an accepted push safe: a crash between any two of these steps loses nothing that
was acknowledged, and what it leaves as `received` is resolved by looking at the ref (hermes.reconcile)."""

from contextlib import suppress
from dataclasses import dataclass, field

from gitserver import branches, protocol, reattach
from gitserver.access import Caller
from gitserver.advice import advice, broken
from gitserver.body import Body
from gitserver.door import Door
from gitserver.head import HEADER_BYTES
from gitserver.judge import Case, Judge, Refusal
from gitserver.policy import Change
from gitserver.quarantine import ObjectLimits, check_count
from hermes import pushes
from hermes.at_once import Ask
from hermes.cause import Sender
from hermes.errors import TooMany, Unavailable, UserError
from hermes.faultpoint import faultpoint
from hermes.git import set_head, sync_names
from hermes.options import PushOptions, parse_options
from hermes.queue import BUILDS, CHANGED, RANKS, SCHEDULES
from hermes.tables import Push, Repo, Run, User
from hermes.threads import in_thread

Applied = tuple[Change, Push, Run | None]
_NOT_MOVED = "git refused the ref"


@dataclass
class Received:
    """A push that was answered. `answer` is whole; if it was not `refused`, more follows before its flush."""

    answer: bytes
    head: protocol.PushHead
    options: PushOptions = field(default_factory=PushOptions)
    applied: list[Applied] = field(default_factory=list)
    refused: bool = False
    follow: int = 0  # a run to show besides


class Receiver:
    """Receives one push into one repository; `sender`: if it is not a push of the caller's own."""

    def __init__(
        self, door: Door, caller: Caller, repo: Repo, owner: str, name: str, sender: Sender | None = None
    ) -> None:
        assert caller.user is not None
        self._door, self._context = door, door.context
        self._user: User = caller.user
        self._sender = sender or Sender(caller.user.id)
        self._repo = repo
        path = door.context.paths.repo(repo.id)
        self._target = branches.Target(path, owner, name, repo.default_branch, repo.protected)
        self._refusal = Refusal(repo.id)

    @property
    def passes(self) -> bool:
        """Whether what it refused may be taken later: the fault was ours, or it was a matter of time."""
        return self._refusal.passes

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
        faultpoint("push.begun")
        case = Case(self._user, self._repo, self._target, head, options, self._sender)
        judge = Judge(self._door, case, self._refusal)
        body.hold_until(judge.prepare)
        try:
            answer = await self._door.git.receive(self._target.path, body, judge, self._user.name)
        except UserError as error:  # of the body, or of what it was held for
            await _discard(body)
            return self._refuse(head, error, ref)
        finally:
            await judge.rest()
        if self._refusal.reasons:
            return self._refused(head)
        report = protocol.read_report(answer, head)
        if report.unpack != "ok":
            return self._refuse(head, self._broken(report.words), ref)
        faultpoint("push.moved")
        await in_thread(sync_names, self._target.path, report.moved)
        faultpoint("push.synced")
        recorded = [push.id for _, push in judge.changes]  # rows do not say it when a commit has failed
        try:
            applied = await self._apply(judge.changes, report.moved)
        except Unavailable:
            self._context.half.update(recorded)
            raise
        if more := advice(report.refs.values()):
            answer = protocol.band(protocol.PROGRESS, more.encode()) + answer if head.has_sideband else answer
        return Received(answer, head, options, applied, refused=not report.moved)

    async def _look_at_head(self, head: protocol.PushHead, body: Body) -> None:
        """What can be refused before the pack is read. Raises UserError."""
        settings = self._context.settings
        self._context.room.require()
        wait_s = self._door.rate.wait_s(self._user.name)
        if wait_s:
            raise TooMany(f"more than {settings.push_rate} pushes in a minute", wait_s)
        self._door.rate.count(self._user.name)
        branches.check_commands(head.commands, settings.push_refs)
        for command in head.commands:
            try:
                branches.check_ref(command.ref, is_followed=self._sender.trigger == "webhook")
            except UserError as error:
                self._refusal.note(command.ref, error)
                raise
        if head.has_pack:
            ahead = await anext(body, b"")
            body.put_back(ahead)
            header = ahead[head.size_bytes : head.size_bytes + HEADER_BYTES]
            check_count(protocol.pack_objects(header), ObjectLimits.of(settings))

    async def _apply(self, changes: list[tuple[Change, Push]], moved: set[str]) -> list[Applied]:
        """The refs moved: queue what follows from it, before the client hears of it."""
        if self._target.default_branch and all(_is_stored_only(push) for _, push in changes):
            applied = await self._context.database.write_at_once(lambda ask: _settle(ask, changes, moved))
        else:
            applied = await self._queue(changes, moved)
        faultpoint("push.applied")
        starts = any(push.plan is not None for _, push, _ in applied)
        self._context.doorbell.ring_soon(*(BUILDS, RANKS) if starts else (), SCHEDULES, CHANGED)
        faultpoint("push.rung")
        return applied

    async def _queue(self, changes: list[tuple[Change, Push]], moved: set[str]) -> list[Applied]:
        applied = []
        async with self._context.database.write() as session:
            repo = await session.get_one(Repo, self._repo.id)  # read once: `apply` finds it in the session
            for change, push in changes:
                session.add(push)
                if change.update.ref in moved:
                    applied.append((change, push, await pushes.apply(session, push)))
                else:
                    await pushes.abandon(session, push, _NOT_MOVED)
            if repo.default_branch != self._target.default_branch:  # before the row says that it is so
                await in_thread(set_head, self._target.path, repo.default_branch)
            faultpoint("push.queued")
        return applied

    def _refuse(self, head: protocol.PushHead, error: UserError, ref: str) -> Received:
        if not self._refusal.reasons:
            self._refusal.note(ref, error)
        return self._refused(head)

    def _broken(self, words: str) -> UserError:
        return broken(words, self._target.path, self._context.settings.push_size)

    def _refused(self, head: protocol.PushHead) -> Received:
        report = protocol.report(head, self._refusal.reasons, self._refusal.words)
        return Received(report, head, refused=True)


def _is_stored_only(push: Push) -> bool:
    return push.plan is None and push.schedules is None


def _settle(ask: Ask, changes: list[tuple[Change, Push]], moved: set[str]) -> list[Applied]:
    """All of `apply` where nothing is to be built and the repository has its default branch."""
    applied: list[Applied] = []
    for change, push in changes:
        if change.update.ref in moved:
            pushes.settle(ask, push, "applied")
            applied.append((change, push, None))
        else:
            pushes.settle(ask, push, "abandoned", _NOT_MOVED)
    return applied


async def _discard(body: Body) -> None:
    """What the client still sends; if it goes on for too long, it may meet a closed door."""
    with suppress(UserError):
        await body.discard()
