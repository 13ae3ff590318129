"""What came of files of watched folders is written beside these: `OUT/img/a.png/…` for `img/a.png`."""

import errno
import json
import time
from pathlib import Path

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.audit import write_down
from hermes.faultpoint import faultpoint
from hermes.journal import log
from hermes.process import Context
from hermes.states import TERMINAL
from hermes.tables import Artifact, Rank, Run, Upload, Watch
from hermes.threads import in_thread
from hooks.folder import write_below
from hooks.watch import BY

RECORD = ".hermes.json"  # written last: when it is there, all is
_AT_ONCE = 50
_WAITS = (Upload.watch_id.is_not(None), Upload.delivered_at.is_(None))
#: Something of somebody's lies in the way: that does not pass by itself.
_FOR_GOOD = {errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EEXIST}


async def deliver_all(context: Context) -> bool:
    """All that has ended; returns whether more is to come. Raises OSError."""
    while await _deliver_some(context) == _AT_ONCE:
        pass
    async with context.database.read() as session:
        query = select(Upload.id).where(*_WAITS).limit(1)
        return (await session.scalars(query)).first() is not None


async def _deliver_some(context: Context) -> int:
    async with context.database.read() as session:
        ended = select(Upload).join(Run, Run.id == Upload.run_id)
        ended = ended.where(*_WAITS, Run.state.in_(TERMINAL))
        uploads = (await session.scalars(ended.order_by(Upload.id).limit(_AT_ONCE))).all()
    for upload in uploads:
        await _deliver(context, upload)
    return len(uploads)


async def _deliver(context: Context, upload: Upload) -> None:
    """The newest of a name is what lies there."""
    async with context.database.read() as session:
        same = (Upload.watch_id == upload.watch_id, Upload.name == upload.name)
        newest = await session.scalar(select(func.max(Upload.id)).where(*same))
        watch = await session.get_one(Watch, upload.watch_id)
        run = await session.get_one(Run, upload.run_id)
        outputs = await _outputs(session, run)
    why = ""
    if newest == upload.id:
        try:
            await in_thread(_write, context, Path(watch.out), upload, run, outputs)
        except OSError as error:
            if error.errno not in _FOR_GOOD:
                raise
            why = f"outputs of run {run.id} cannot be written to {watch.out}/{upload.name}: {error.strerror}"
        faultpoint("upload.delivered")
    async with context.database.write() as session:
        await session.execute(update(Upload).where(Upload.id == upload.id).values(delivered_at=time.time()))
        if why:
            write_down(session, BY, "upload refused", f"{watch.folder}/{upload.name}", why)
            log.warning("outputs not written", why=why)


async def _outputs(session: AsyncSession, run: Run) -> list[tuple[str, str]]:
    """Where each lies, and its digest; of several ranks below `rank-N/`."""
    found = select(Rank.number, Artifact.path, Artifact.sha256).join(Rank, Rank.id == Artifact.rank_id)
    rows = (await session.execute(found.where(Artifact.run_id == run.id))).all()
    ranks = await session.scalar(select(func.count(Rank.id)).where(Rank.run_id == run.id)) or 0
    return [(f"rank-{number}/{path}" if ranks > 1 else path, sha256) for number, path, sha256 in rows]


def _write(context: Context, out: Path, upload: Upload, run: Run, outputs: list[tuple[str, str]]) -> None:
    for place, sha256 in outputs:
        source = context.paths.artifact(sha256)
        if source.exists():  # else it was removed to make room
            write_below(out, f"{upload.name}/{place}", source)
    record = {
        "file": upload.name,
        "run": run.id,
        "state": run.state.value,
        "reason": run.reason,
        "url": f"{context.settings.public_url}/runs/{run.id}",
        "outputs": sorted(place for place, _ in outputs),
    }
    text = json.dumps(record, ensure_ascii=False, indent=2) + "\n"
    write_below(out, f"{upload.name}/{RECORD}", text.encode())
