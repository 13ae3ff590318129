"""Files that came in parts: finished when one is all here and nobody said so; removed when nobody goes on."""

import asyncio
import time

from sqlalchemy import delete, select

from hermes.audit import Actor
from hermes.errors import Unavailable, UserError
from hermes.journal import log
from hermes.tables import Upload, User
from hermes.threads import in_thread
from hermes.uploads import Uploads

_KEPT_S = 86400.0
_LOOK_S, _AGAIN_S = 3600.0, 30.0
_SERVICE = Actor("", "hermes serve")


async def keep_tidy(uploads: Uploads) -> None:
    """For ever: when the service begins, then now and then."""
    while True:
        wait_s = _LOOK_S
        try:
            await tidy(uploads)
        except (Unavailable, OSError) as error:
            log.warning("uploads not looked at", error=str(error))
            wait_s = _AGAIN_S
        await asyncio.sleep(wait_s)


async def tidy(uploads: Uploads) -> None:
    """Once."""
    async with uploads.context.database.read() as session:
        query = select(Upload, User).join(User, User.id == Upload.user_id).where(Upload.run_id.is_(None))
        rows = (await session.execute(query.order_by(Upload.id))).all()
    for upload, user in rows:
        size_bytes, at = await in_thread(_look, uploads, upload)
        if size_bytes == upload.size_bytes and user.disabled_at is None:
            await _finish(uploads, user, upload)
        if max(at, upload.created_at) < time.time() - _KEPT_S:
            await _remove(uploads, upload)


def _look(uploads: Uploads, upload: Upload) -> tuple[int, float]:
    """How much is here, and when something came last."""
    try:
        found = uploads.context.paths.input(upload.token).stat()
    except FileNotFoundError:
        return -1, 0.0
    return found.st_size, found.st_mtime


async def _finish(uploads: Uploads, user: User, upload: Upload) -> None:
    """Whoever sent it may never ask again. What is refused now may be taken later, or goes in the end."""
    try:
        await uploads.finish(_SERVICE, user, upload)
        log.info("upload finished", upload=upload.id)
    except UserError as error:
        log.info("upload not finished", upload=upload.id, why=str(error))


async def _remove(uploads: Uploads, upload: Upload) -> None:
    """First the row, then its file: who is killed between leaves a file that nobody owns, which is swept."""
    async with uploads.context.database.write() as session:
        waits = (Upload.id == upload.id, Upload.run_id.is_(None))
        gone = (await session.scalars(delete(Upload).where(*waits).returning(Upload.id))).all()
    if gone:
        await in_thread(uploads.context.paths.input(upload.token).unlink, missing_ok=True)
        log.info("upload removed that was not finished", upload=upload.id)
