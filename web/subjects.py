"""What a feed can follow: a build, or a rank of a run; and whether who asked may still see it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from starlette.requests import Request

from hermes.errors import Unavailable, UserError
from hermes.instance import gpu_names
from hermes.process import Context
from hermes.states import LIVE, TERMINAL
from hermes.tables import Build, Run
from hermes.totals import totals_of
from hermes.waiting import Queue
from hermes.words import placed
from web.details import build_words, run_words
from web.feed import Feed, Watched
from web.lookup import find_rank, see
from web.sights import Sight, Subject
from web.site import Site, number, rank_asked

Open = Callable[[Site, Request], Awaitable[Subject]]


@dataclass(frozen=True)
class BuildSubject:
    """Follows a build."""

    context: Context = field(compare=False)
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

    context: Context = field(compare=False)
    run_id: int
    number: int | None  # of the rank; None: the first

    async def look(self) -> Sight:
        """Read the rows. Raises NotFound when there is no such rank."""
        async with self.context.database.read() as session:
            run = await session.get_one(Run, self.run_id)
            rank = await find_rank(session, run.id, self.number)
            figures = await totals_of(session, run.id) if run.state in TERMINAL else {}  # for the last words
            where = placed(rank, await gpu_names(session)).removeprefix("on ") if rank.slot else ""
            words = await run_words(
                session, Queue(session, None), run, figures, where
            )  # all viewers share it
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


async def run_subject(site: Site, request: Request) -> Subject:
    """Of `/runs/{run}/…?rank=`. Raises SignInNeeded, NotFound."""
    user = await site.reader(request)
    async with site.context.database.read() as session:
        run_id = await see(session, user, Run, number(request.path_params, "run"))
    return RankSubject(site.context, run_id, rank_asked(request.query_params))


async def build_subject(site: Site, request: Request) -> Subject:
    """Of `/builds/{build}/…`. Raises SignInNeeded, NotFound."""
    user = await site.reader(request)
    async with site.context.database.read() as session:
        build_id = await see(session, user, Build, number(request.path_params, "build"))
    return BuildSubject(site.context, build_id)


def feed_for(site: Site, request: Request, open_subject: Open, subject: Subject, sight: Sight) -> Feed:
    """A feed that ends soon after the token was revoked or the repo was hidden."""

    async def may_watch() -> bool:
        try:
            await open_subject(site, request)
        except UserError:
            return False
        except Unavailable:
            return True  # nobody can have forbidden it meanwhile
        return True

    return Feed(site.context, site.sights, Watched(subject, sight, may_watch))
