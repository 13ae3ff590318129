"""One watched folder: what is new and whole in it starts runs, each file once, over restarts of ours."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select

from hermes.audit import Actor, Audit, write_down
from hermes.errors import UserError
from hermes.functions import Function, parse_function
from hermes.inputs import check_input_name
from hermes.journal import log
from hermes.plan import Plan
from hermes.tables import Upload, User, Watch
from hermes.threads import in_thread
from hermes.units import show_size
from hermes.uploads import Incoming, Uploads, matches
from hooks.folder import Changing, Seen, copy_whole, scan

_SETTLED_S = 2.0  # unchanged for so long: nobody writes to it any more
_LOOK_AGAIN_S = 30.0  # at what no pattern wants: a push may have changed that
BY = Actor("", "watched folder")


@dataclass
class Watching:
    """What this process knows of one."""

    uploads: Uploads
    watch: Watch
    _known: set[tuple[str, str]] | None = None  # name and mark: taken, or refused for good
    _since: dict[str, tuple[str, float]] = field(default_factory=dict)  # as it is since when
    _unwanted: set[tuple[str, str]] = field(default_factory=set)
    _cleared_at: float = 0.0
    scanned_s: float = 0.0  # what the last look at all of it took, without what was taken

    async def look(self) -> int:
        """Take what is new and whole; returns how many. Raises UserError, OSError: for none of it now."""
        if self._known is None:
            self._known = await self._remembered()
        began = time.monotonic()
        found = await in_thread(scan, Path(self.watch.folder))
        self.scanned_s = time.monotonic() - began
        ready = [
            each for each in found if (each.name, each.mark) not in self._known and self._is_settled(each)
        ]
        there = {each.name for each in found}
        self._since = {name: since for name, since in self._since.items() if name in there}
        if time.monotonic() - self._cleared_at > _LOOK_AGAIN_S:
            self._unwanted, self._cleared_at = set(), time.monotonic()
        ready = [each for each in ready if (each.name, each.mark) not in self._unwanted]
        return await self._take_all(ready) if ready else 0

    async def _remembered(self) -> set[tuple[str, str]]:
        async with self.uploads.context.database.read() as session:
            query = select(Upload.name, Upload.mark).where(Upload.watch_id == self.watch.id)
            return {(name, mark) for name, mark in (await session.execute(query)).all()}

    def _is_settled(self, seen: Seen) -> bool:
        mark, since = self._since.get(seen.name, ("", 0.0))
        if mark != seen.mark:
            self._since[seen.name] = (seen.mark, time.monotonic())
            return False
        return time.monotonic() - since >= _SETTLED_S

    async def _take_all(self, ready: list[Seen]) -> int:
        async with self.uploads.context.database.read() as session:
            user = await session.get_one(User, self.watch.user_id)
        if user.disabled_at is not None:
            raise UserError(f"the account {user.name} is disabled", "hermes admin watch add … --as USER")
        self.uploads.context.room.require()
        function = await self.uploads.invoker.function(user, parse_function(self.watch.function))
        plan, taken = Plan.model_validate(function.build.plan), 0
        for seen in ready:
            if not matches(plan, seen.name):
                self._unwanted.add((seen.name, seen.mark))
            elif why := self._refusal(seen):
                await self._refuse(seen, why)
            else:
                taken += await self._take(user, function, seen)
        return taken

    def _refusal(self, seen: Seen) -> str:
        if seen.odd:
            return seen.odd
        try:
            check_input_name(seen.name)
        except UserError as error:
            return str(error)
        limit = self.uploads.context.settings.input_size
        if seen.size_bytes > limit:
            return f"it has {show_size(seen.size_bytes)}, more than {show_size(limit)} (HERMES_INPUT_SIZE)"
        return ""

    async def _take(self, user: User, function: Function, seen: Seen) -> int:
        paths = self.uploads.context.paths
        try:
            stored = await in_thread(copy_whole, Path(self.watch.folder), seen, paths)
        except (Changing, FileNotFoundError):
            self._since.pop(seen.name, None)  # later, when it is at rest
            return 0
        words = f"in {self.watch.folder}"
        incoming = Incoming(stored, words, watch_id=self.watch.id, mark=seen.mark)
        try:
            recorded = await self.uploads.record(user, function, incoming)
        except UserError:
            await in_thread(paths.input(stored.token).unlink)
            raise
        if not recorded.is_new:
            await in_thread(paths.input(stored.token).unlink)
        assert self._known is not None
        self._known.add((seen.name, seen.mark))
        log.info("file taken", folder=self.watch.folder, file=seen.name, run=recorded.run_id)
        return int(recorded.is_new)

    async def _refuse(self, seen: Seen, why: str) -> None:
        """Once, also over restarts."""
        assert self._known is not None
        name = seen.name.encode("utf-8", "replace").decode()
        subject, detail = f"{self.watch.folder}/{name}"[:500], why[:500]
        async with self.uploads.context.database.write() as session:
            there = select(Audit.id).where(Audit.act == "upload refused", Audit.subject == subject)
            if await session.scalar(there.where(Audit.detail == detail).limit(1)) is None:
                write_down(session, BY, "upload refused", subject, detail)
        self._known.add((seen.name, seen.mark))
        log.warning("file refused", folder=self.watch.folder, file=name, why=why)
