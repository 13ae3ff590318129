"""What a feed can follow: a build, or a rank of a run."""

from dataclasses import dataclass

from sqlalchemy import select

from hermes.errors import NotFound
from hermes.process import Context
from hermes.states import LIVE, TERMINAL
from hermes.tables import Build, Rank, Run
from hermes.words import placed
from web.details import build_words, run_words
from web.feed import Sight
from web.machines import gpu_names


@dataclass(frozen=True)
class BuildSubject:
    """Follows a build."""

    context: Context
    build_id: int

    async def look(self) -> Sight:
        """Read the row."""
        async with self.context.database.read() as session:
            build = await session.get_one(Build, self.build_id)
        return Sight(
            state=build.state,
            words=build_words(build),
            kind="build",
            row_id=build.id,
            attempt=build.attempt,
            at_work=build.state in LIVE,
            is_over=build.state in TERMINAL,
        )


@dataclass(frozen=True)
class RankSubject:
    """Follows the log of one rank and the state of its whole run."""

    context: Context
    run_id: int
    number: int

    async def look(self) -> Sight:
        """Read the rows. Raises NotFound when there is no such rank."""
        async with self.context.database.read() as session:
            run = await session.get_one(Run, self.run_id)
            build = await session.get_one(Build, run.build_id)
            ranks = list(
                (await session.scalars(select(Rank).where(Rank.run_id == run.id).order_by(Rank.number))).all()
            )
            rank = next((each for each in ranks if each.number == self.number), None)
            if rank is None:
                raise NotFound(f"run {run.id} has no such rank")
            where = placed(rank, await gpu_names(session)).removeprefix("on ") if rank.slot else ""
            words = await run_words(session, run, build, ranks, where)
        return Sight(
            state=run.state,
            words=words,
            kind="rank",
            row_id=rank.id,
            attempt=rank.attempt,
            at_work=rank.state in LIVE,
            is_over=run.state in TERMINAL,
            exit_code=rank.exit_code,
        )
