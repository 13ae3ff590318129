"""Retention: what is old goes by age (HERMES_KEEP_…), and whatever is oldest when the disk is nearly full
(HERMES_FREE_LOW), never what lasts (hermes.lasting).

First the row says that it is gone, then the bytes go: who is killed between the two leaves files that the
next sweep removes, never a page that promises what is not there."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from hermes import outbox
from hermes.audit import Actor, Audit, write_down
from hermes.discard import finish, mark, sweep_orphans
from hermes.errors import Unavailable
from hermes.hold import may_remove
from hermes.journal import log
from hermes.lasting import Lasting, look_at_lasting
from hermes.old import files_of, old, size_bytes
from hermes.process import Context
from hermes.removals import Data
from hermes.shares import share_bytes
from hermes.threads import in_thread
from hermes.units import show_limit, show_size

SERVICE = Actor("", "hermes serve")
_SETTING = {
    Data.LOGS: "keep_logs",
    Data.BUILD_LOGS: "keep_logs",
    Data.ARTIFACTS: "keep_artifacts",
    Data.RESULTS: "keep_results",
    Data.INPUTS: "keep_inputs",
    Data.IMAGES: "keep_images",
    Data.CACHES: "keep_caches",
}
_TO_MAKE_ROOM = "to make room on a full disk (HERMES_FREE_LOW)"
_REMOVED = "old data removed"  # in the audit log: what, and how much it was
_YOUNG_S = 3600.0  # stays on a full disk, too
_ASKED_AGAIN = (Data.INPUTS, Data.RESULTS, Data.LOGS)  # an invocation may be, by its key, for so long:
_ASKED_AGAIN_S = 86400.0
_SWEEP_EVERY_S, _LOOK_EVERY_S = 3600.0, 60.0
_AT_ONCE = 50


@dataclass(frozen=True)
class Item:
    """Something that is to go."""

    kind: Data
    subject_id: int  # a run, a build (images and build logs) or a repository (caches)
    at: float  # when it ended, or was used last
    size_bytes: int  # what others have, too, is counted to each
    why: str
    is_for_room: bool


@dataclass
class Levels:
    """How much room the disk has, and should have: bytes."""

    size: int
    free: int
    low: int
    high: int

    @property
    def is_low(self) -> bool:
        """Then something has to go."""
        return self.free < self.low


@dataclass
class Swept:
    """What went."""

    count: "Counter[Data]" = field(default_factory=Counter)
    size_bytes: "Counter[Data]" = field(default_factory=Counter)
    messages: int = 0  # rows alone

    def __str__(self) -> str:
        parts = [f"{kind} of {self.count[kind]}: {show_size(self.size_bytes[kind])}" for kind in Data]
        messages = [f"{self.messages} messages"] if self.messages else []
        return ", ".join(
            [part for kind, part in zip(Data, parts, strict=True) if self.count[kind]] + messages
        )


def look_at_room(context: Context) -> Levels:
    """By the settings."""
    disk, settings = os.statvfs(context.settings.data), context.settings
    total = disk.f_blocks * disk.f_frsize
    low, high = (share_bytes(each, total) for each in (settings.free_low, settings.free_high))
    return Levels(total, disk.f_bavail * disk.f_frsize, low, max(low, high))


async def plan(context: Context) -> list[Item]:
    """All that is to go now: by age, and as far as that is not enough, by room."""
    room, found = look_at_room(context), list[Item]()
    async with context.database.read() as session:
        lasting = await look_at_lasting(session)
    for kind, setting in _SETTING.items():
        if keep_s := getattr(context.settings, setting):
            why = f"after {show_limit(keep_s)} (HERMES_{setting.upper()})"
            found += [each async for each in _items(context, kind, lasting, time.time() - keep_s, why)]
    if room.is_low:
        missing = room.high - room.free - sum(each.size_bytes for each in found)
        found += await _for_room(context, lasting, {(each.kind, each.subject_id) for each in found}, missing)
    return found


async def count_old_messages(context: Context) -> tuple[int, str]:
    """What was said to others and is to be forgotten now, and why. Rows, whose room nobody gets back."""
    keep_s = context.settings.keep_messages
    if not keep_s:
        return 0, ""
    async with context.database.read() as session:
        count = await outbox.count_old(session, time.time() - keep_s)
    return count, f"after {show_limit(keep_s)} (HERMES_KEEP_MESSAGES)"


async def _for_room(
    context: Context, lasting: Lasting, going: set[tuple[Data, int]], missing: int
) -> list[Item]:
    found = list[Item]()
    for kind in Data:
        young_s = _ASKED_AGAIN_S if kind in _ASKED_AGAIN else _YOUNG_S
        async for each in _items(context, kind, lasting, time.time() - young_s, _TO_MAKE_ROOM):
            if missing <= 0:
                return found
            if (kind, each.subject_id) not in going:
                found.append(each)
                missing -= each.size_bytes
    return found


async def _items(
    context: Context, kind: Data, lasting: Lasting, before: float, why: str
) -> AsyncIterator[Item]:
    paths = context.paths
    async with context.database.read() as session:
        rows = await old(session, paths, kind, lasting, before)
        files = await files_of(session, paths, kind, [row_id for row_id, _ in rows])
    for begin in range(0, len(rows), _AT_ONCE):
        some = rows[begin : begin + _AT_ONCE]
        sizes = await in_thread(_sizes, [files[row_id].all for row_id, _ in some])
        for (row_id, at), size in zip(some, sizes, strict=True):
            yield Item(kind, row_id, at, size, why, why == _TO_MAKE_ROOM)


def _sizes(of: list[list[Path]]) -> list[int]:
    return [size_bytes(files) for files in of]


async def sweep(context: Context, by: Actor) -> Swept:
    """Do it; also what an earlier sweep has begun. Raises Unavailable, also while a backup is taken."""
    with may_remove(context.paths) as may:
        if not may:
            raise Unavailable("a backup is being taken; until it has ended nothing is removed")
        return await _sweep(context, by)


async def _sweep(context: Context, by: Actor) -> Swept:
    swept = Swept()
    await finish(context)
    items = await plan(context)
    for kind, of_kind in groupby(items, key=lambda each: each.kind):
        same = list(of_kind)
        for begin in range(0, len(same), _AT_ONCE):
            some = same[begin : begin + _AT_ONCE]
            if some[0].is_for_room and (room := look_at_room(context)).free >= room.high:
                break
            gone = await mark(context, kind, {each.subject_id: each.why for each in some})
            swept.count[kind] += len(gone)
            swept.size_bytes[kind] += await finish(context, kind, gone)
    await sweep_orphans(context)
    if keep_s := context.settings.keep_messages:
        swept.messages = await outbox.forget_old(context.database, time.time() - keep_s)
    if swept.count.total():
        async with context.database.write() as session:
            write_down(session, by, _REMOVED, str(swept), show_size(swept.size_bytes.total()))
    return swept


async def last_sweep(session: AsyncSession) -> Audit | None:
    """The last that removed files, as the audit log has it."""
    found = select(Audit).where(Audit.act == _REMOVED).order_by(Audit.id.desc()).limit(1)
    return (await session.scalars(found)).first()


async def keep_sweeping_old(context: Context) -> None:
    """For ever: once an hour, and whenever the disk is nearly full."""
    swept_at = float("-inf")
    while True:
        try:
            if time.monotonic() - swept_at >= _SWEEP_EVERY_S or look_at_room(context).is_low:
                swept_at = time.monotonic()
                if what := str(await sweep(context, SERVICE)):
                    log.info("old data removed", what=what)
        except (Unavailable, OSError, IntegrityError) as error:
            log.warning("old data not removed", error=str(error))
        await asyncio.sleep(_LOOK_EVERY_S)
