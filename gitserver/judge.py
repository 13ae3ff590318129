"""Decides about one push while git waits in its hook: what is accepted is recorded before git moves a ref."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from gitserver import branches, protocol
from gitserver.door import Door
from gitserver.inspection import Inspection
from gitserver.policy import Change, PushPolicy
from gitserver.quarantine import ObjectLimits
from hermes import pushes
from hermes.at_once import Ask, ask_in
from hermes.cause import Sender
from hermes.errors import DiskFull, HermesError, Refused, TooMany, UserError
from hermes.fairness import check_queue
from hermes.faultpoint import faultpoint
from hermes.journal import log
from hermes.options import PushOptions
from hermes.tables import Push, Repo, User
from hermes.threads import in_thread
from hermes.tree import TreeLimits
from hermes.trust import NEXT_STEP, distrust

T = TypeVar("T")


@dataclass
class Refusal:
    """Which refs are refused, and why, in words for the client; empty: nothing is."""

    repo_id: int
    reasons: dict[str, str] = field(default_factory=dict)
    words: str = ""
    passes: bool = False  # what was in the way was ours, or is a matter of time

    def note(self, ref: str, error: HermesError) -> None:
        """This is why."""
        is_theirs = isinstance(error, UserError)
        self.passes = not is_theirs or isinstance(error, TooMany | DiskFull)
        words = protocol.one_line(str(error)) if is_theirs else "the server cannot take pushes now"
        hint = error.hint if isinstance(error, UserError) else "try again in a minute"
        self.reasons[ref] = words
        self.words = f"hermes  refused  {words}\n" + (f"hermes           {hint}\n" if hint else "")
        log.info("push refused", repo=self.repo_id, ref=ref, reason=str(error))


@dataclass(frozen=True)
class Case:
    """A push, as far as it is known before git has looked at it."""

    user: User
    repo: Repo
    target: branches.Target
    head: protocol.PushHead
    options: PushOptions
    sender: Sender


class Judge:
    """Of one case; `changes` are those that were accepted."""

    def __init__(self, door: Door, case: Case, refusal: Refusal) -> None:
        self._door, self._context, self._case = door, door.context, case
        self._refusal = refusal
        self._policy: asyncio.Task[PushPolicy] | None = None
        self._inspection: Inspection | None = None
        self.changes: list[tuple[Change, Push]] = []

    async def prepare(self) -> None:
        """Git has started, and is soon at work: the time to prepare what it will ask. Raises Refused."""
        settings, target = self._context.settings, self._case.target
        commands = self._case.head.commands
        await in_thread(branches.check_room, target.path, commands, settings.repo_refs, settings.repo_size)
        self._policy = _begin(self._look_around())

    def expect(self) -> None:
        """Everything was sent: git asks soon."""
        if self._inspection is None:
            self._inspection = Inspection(self._case.target.path)

    async def decide(self, quarantine: Path | None) -> bool:
        """Look at every update; record the push if all are good. Runs while git waits in its hook."""
        fault: tuple[str, HermesError] | None
        commands = self._case.head.commands
        assert self._policy is not None  # git asks when it has read the commands
        self.expect()
        assert self._inspection is not None
        try:
            policy = await self._policy
            changes, fault = await self._inspection.ask(policy, commands, quarantine)
            faultpoint("push.quarantined")
            if fault is None:
                await self._record(changes)
                faultpoint("push.recorded")
        except HermesError as error:
            fault = commands[0].ref, error
        if fault is not None:
            self._refusal.note(*fault)
        return fault is None

    async def rest(self) -> None:
        """Git has ended, whatever it has asked."""
        if self._inspection is not None:
            await self._inspection.end()

    async def _look_around(self) -> PushPolicy:
        settings, user = self._context.settings, self._case.user
        here = (await self._door.outlook.here()).as_seen_by(user.name)
        trees = TreeLimits(settings.tree_files, settings.tree_size)
        why = await self._distrust() if here.is_unfenced else None
        limits = ObjectLimits.of(settings)
        return PushPolicy(self._case.target, trees, limits, here, self._case.options, why)

    async def _distrust(self) -> Refused | None:
        """Why nothing of this user may run here; what only stores commits is welcome all the same."""
        settings, user_id = self._context.settings, self._case.user.id
        why = await self._context.database.read_at_once(lambda ask: distrust(ask, settings, user_id))
        return Refused(why, NEXT_STEP) if why else None

    async def _record(self, changes: list[Change]) -> None:
        ranks = sum(len(change.plan.ranks) for change in changes if change.plan and change.plan.runs)
        repo_id, user_id, database = self._case.repo.id, self._case.user.id, self._context.database
        sender = self._case.sender
        changes = sorted(changes, key=lambda change: change.update.ref not in pushes.USUAL)

        def record(ask: Ask) -> list[tuple[Change, Push]]:
            return [(each, _receive(ask, repo_id, sender, each)) for each in changes]

        if not ranks:
            self.changes = await database.write_at_once(record)
            return
        async with database.write() as session:
            await check_queue(session, self._context.settings, user_id, ranks)
            self.changes = await session.run_sync(lambda plain: record(ask_in(plain)))


def _receive(ask: Ask, repo_id: int, sender: Sender, each: Change) -> Push:
    without = each.is_without_schedules
    return pushes.receive(
        ask, repo_id, sender, each.update, each.plan, each.subject, is_without_schedules=without
    )


def _begin(work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
    """Its end is asked for later, or not at all: then its error is nobody's business."""
    task = asyncio.create_task(work)
    task.add_done_callback(lambda task: task.cancelled() or task.exception())
    return task
