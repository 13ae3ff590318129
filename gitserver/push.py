"""One push: head → early policy → git receives into quarantine → policy → recorded → ref moved → applied.

The order is what makes an accepted push safe: a crash between any two of these steps loses nothing that
was acknowledged, and what it leaves as `received` is resolved by looking at the ref (hermes.reconcile)."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from gitserver import child, protocol
from gitserver.body import TooLarge, after, drain
from gitserver.policy import Change, PushPolicy, check_count, check_ref
from hermes import pushes
from hermes.accounts import Identity
from hermes.errors import HermesError, Unavailable, UserError
from hermes.images import ImageTable
from hermes.instance import look_at_instance
from hermes.journal import log
from hermes.options import PushOptions, parse_options
from hermes.process import Context
from hermes.queue import BUILDS, CHANGED, RANKS
from hermes.tables import Push, Repo, Run
from hermes.threads import in_thread
from hermes.tree import TreeLimits

Chunks = AsyncIterator[bytes]


@dataclass
class Received:
    """A push that was answered. `answer` is whole; if it was not `refused`, more follows before its flush."""

    answer: bytes
    head: protocol.PushHead
    options: PushOptions = field(default_factory=PushOptions)
    applied: list[tuple[Change, Push, Run | None]] = field(default_factory=list)
    refused: bool = False


async def read_head(chunks: Chunks) -> tuple[bytes, protocol.PushHead]:
    """The commands at the start of the body. Raises BadProtocol."""
    data = b""
    async for chunk in chunks:
        data += chunk
        head = protocol.parse_head(data)
        if head is not None:
            return data, head
    raise protocol.BadProtocol("the request ended in the middle of its commands")


class Receiver:
    """Receives one push into one repository."""

    def __init__(
        self, context: Context, images: ImageTable, identity: Identity, repo: Repo, name: str
    ) -> None:
        self._context, self._images = context, images
        self._identity, self._repo, self._name = identity, repo, name
        self._path: Path = context.paths.repo(repo.id)
        self._reasons: dict[str, str] = {}
        self._words = ""
        self._changes: list[tuple[Change, Push]] = []

    async def receive(self, data: bytes, head: protocol.PushHead, chunks: Chunks) -> Received:
        """Take the push or refuse it, in words. Raises Unavailable for faults of ours."""
        ref = head.commands[0].ref if head.commands else ""
        try:
            check_count(head.commands)
            options = parse_options(list(head.options))
            for command in head.commands:
                ref = command.ref
                check_ref(ref)
        except UserError as error:
            await drain(chunks)
            return self._refuse(head, error, ref)
        policy = await self._policy(options)

        async def ask(quarantine: Path | None) -> bool:
            return await self._decide(policy, head, quarantine)

        limit = self._context.settings.push_size
        try:
            answer = await child.receive(self._path, after(data, chunks), ask, limit)
        except TooLarge as error:
            return self._refuse(head, error, ref)
        if self._reasons:
            return self._refused(head)
        moved = protocol.accepted_refs(answer, head)
        applied = await self._apply(moved)
        return Received(answer, head, options, applied, refused=not moved)

    async def _policy(self, options: PushOptions) -> PushPolicy:
        settings = self._context.settings
        async with self._context.database.read() as session:
            here = await look_at_instance(session, settings, self._images)
        limits = TreeLimits(settings.tree_files, settings.tree_size)
        return PushPolicy(self._path, self._name, limits, here, options)

    async def _decide(self, policy: PushPolicy, head: protocol.PushHead, quarantine: Path | None) -> bool:
        """Look at every update; record the push if all are good. Runs while git waits in its hook."""
        changes = []
        for update in head.commands:
            try:
                changes.append(await in_thread(policy.look, update, quarantine))
            except HermesError as error:
                self._note(update.ref, error)
                return False
        try:
            await self._record(changes)
        except Unavailable as error:
            self._note(head.commands[0].ref, error)
            return False
        return True

    async def _record(self, changes: list[Change]) -> None:
        async with self._context.database.write() as session:
            user_id = self._identity.user.id
            for change in changes:
                push = await pushes.receive(
                    session, self._repo, user_id, change.update, change.plan, change.subject
                )
                self._changes.append((change, push))

    async def _apply(self, moved: set[str]) -> list[tuple[Change, Push, Run | None]]:
        """The refs moved: queue what follows from it, before the client hears of it."""
        applied = []
        async with self._context.database.write() as session:
            for change, push in self._changes:
                session.add(push)
                if change.update.ref in moved:
                    applied.append((change, push, await pushes.apply(session, push)))
                else:
                    await pushes.abandon(session, push, "git refused the ref")
        await self._context.doorbell.ring(BUILDS, RANKS, CHANGED)
        return applied

    def _note(self, ref: str, error: HermesError) -> None:
        words = str(error) if isinstance(error, UserError) else f"the server cannot take pushes now ({error})"
        hint = error.hint if isinstance(error, UserError) else "try again in a minute"
        self._reasons[ref] = words
        self._words = f"hermes  refused  {words}\n" + (f"hermes           {hint}\n" if hint else "")
        log.info("push refused", repo=self._repo.id, ref=ref, reason=words)

    def _refuse(self, head: protocol.PushHead, error: UserError, ref: str) -> Received:
        self._note(ref, error)
        return self._refused(head)

    def _refused(self, head: protocol.PushHead) -> Received:
        answer = protocol.report(head, self._reasons, self._words)
        return Received(answer, head, refused=True)
