"""All watched folders: looked at every second by plain scanning, which sees files on every file system."""

import asyncio
import time
from collections.abc import Sequence

from sqlalchemy import select, update

from hermes.errors import Unavailable, UserError
from hermes.journal import log
from hermes.process import Context
from hermes.tables import Watch
from hermes.uploads import Uploads
from hooks.delivery import deliver_all
from hooks.watch import Watching

_LOOK_S = 1.0
_SHARE = 20.0  # a look takes at most so small a part of the time: of large folders they are rarer
_AGAIN_S = 10.0  # after one that could not be looked at


class Watcher:
    """For one service."""

    def __init__(self, context: Context, uploads: Uploads) -> None:
        self._context, self._uploads = context, uploads
        self._folders: dict[int, Watching] = {}
        self._not_before: dict[int, float] = {}
        self._is_owed = True  # outputs may have to be written

    async def keep_watching(self) -> None:
        """For ever; where no folder is watched, only that is looked at now and then."""
        read_at = float("-inf")
        while True:
            began, scanned_s = time.monotonic(), 0.0
            try:
                if began - read_at >= self._context.settings.poll:
                    await self._read()
                    read_at = began
                for each in list(self._folders.values()):
                    await self._look(each)
                    scanned_s += each.scanned_s
                if self._is_owed:
                    self._is_owed = await deliver_all(self._context)
            except (Unavailable, OSError) as error:
                log.warning("watched folders not looked at", error=str(error))
                await asyncio.sleep(_AGAIN_S)
            idle_s = _LOOK_S if self._folders or self._is_owed else self._context.settings.poll
            await asyncio.sleep(max(idle_s, scanned_s * _SHARE))

    async def _read(self) -> None:
        async with self._context.database.read() as session:
            rows = (await session.scalars(select(Watch).where(Watch.removed_at.is_(None)))).all()
        known = {each.watch.id: each for each in self._folders.values() if _is_same(each.watch, rows)}
        self._folders = {row.id: known.get(row.id) or Watching(self._uploads, row) for row in rows}

    async def _look(self, folder: Watching) -> None:
        watch, now = folder.watch, time.monotonic()
        if now < self._not_before.get(watch.id, 0.0):
            return
        error = ""
        try:
            if await folder.look():
                self._is_owed = True
        except UserError as wrong:
            error = wrong.whole
        except OSError as wrong:
            error = f"nothing can be taken from it now: {wrong.strerror}"
        if error:
            self._not_before[watch.id] = now + _AGAIN_S
        if error != watch.error:
            await self._say(watch, error)

    async def _say(self, watch: Watch, error: str) -> None:
        """For `hermes admin watch list`."""
        async with self._context.database.write() as session:
            await session.execute(update(Watch).where(Watch.id == watch.id).values(error=error))
        watch.error = error
        if error:
            log.warning("watched folder", folder=watch.folder, error=error)


def _is_same(watch: Watch, rows: Sequence[Watch]) -> bool:
    """Nobody has changed what it starts, for whom."""
    wanted = (watch.function, watch.user_id, watch.out)
    return any(row.id == watch.id and (row.function, row.user_id, row.out) == wanted for row in rows)
