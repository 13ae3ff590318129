"""What was removed to make room (hermes.retention), said where somebody asks for it."""

from pathlib import Path

from sqlalchemy import select

from hermes.removals import Data, refuse_removed
from hermes.tables import Rank
from web.site import Site


async def check_log(site: Site, kind: str, row_id: int, log: Path) -> None:
    """Of a build or a rank. What is there is not asked about. Raises Gone."""
    if log.exists():
        return
    async with site.context.database.read() as session:
        if kind == "build":
            await refuse_removed(session, Data.BUILD_LOGS, row_id)
            return
        run_id = await session.scalar(select(Rank.run_id).where(Rank.id == row_id))
        await refuse_removed(session, Data.LOGS, run_id or 0)
