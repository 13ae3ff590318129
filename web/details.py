"""Everything about one run or one build that its page, its commit's page and the API show."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.instance import gpu_names
from hermes.plan import Plan, substitute
from hermes.repos import may_write
from hermes.states import TERMINAL, State
from hermes.tables import Artifact, Build, Push, Rank, Repo, Run, User
from hermes.waiting import waiting_seen_by
from hermes.words import build_end, end_words, placed, run_end
from web.activity import took_s
from web.figures import sum_up, verdict_rank
from web.lookup import Place


@dataclass(frozen=True)
class Depth:
    """How many ranks and artifacts of a run are loaded; None: all."""

    ranks: int | None = None
    artifacts: int | None = None


WHOLE = Depth()
PAGE = Depth(ranks=1, artifacts=200)  # a page asks for the ranks that it shows by itself (web.ranks)


@dataclass(frozen=True)
class RunDetails:
    """A run with what belongs to it, as deep as it was asked for. `words` is its one line; `where` is by rank
    number; `sums` are the figures of all ranks together; `verdict` is the rank that speaks for it."""

    run: Run
    place: Place
    build: Build
    user: str
    ranks: list[Rank]
    verdict: Rank
    sums: dict[str, Any]
    artifacts: list[Artifact]
    artifact_count: int
    numbers: dict[int, int]  # of the ranks that wrote these artifacts, by id
    plan: Plan
    words: str
    where: dict[int, str]
    may_write: bool
    signed_in: bool

    @property
    def url(self) -> str:
        """Its page."""
        return f"/runs/{self.run.id}"

    @property
    def took_s(self) -> float | None:
        """From its start to its end, or to now."""
        return took_s(self.run)

    @property
    def is_over(self) -> bool:
        """Whether nothing can change any more."""
        return self.run.state in TERMINAL

    @property
    def may_run_again(self) -> bool:
        """There is an image, and the visitor may push here, or the repo is public and they are signed in."""
        may = self.may_write or (self.signed_in and self.place.repo.public)
        return self.build.state is State.BUILT and may

    @property
    def trigger_words(self) -> str:
        """Why it exists: `pushed by alice`."""
        verb = {"push": "pushed", "retry": "run again", "api": "asked for"}.get(
            self.run.trigger, self.run.trigger
        )
        return f"{verb} by {self.user}"

    @property
    def rank_count(self) -> int:
        """How many ranks it has."""
        return len(self.plan.ranks)

    def command(self, rank: Rank) -> str:
        """What this rank runs, in the words of its manifest with the values put in."""
        values = {"rank": str(rank.number), "world_size": str(self.rank_count), **rank.parameters}
        words = [self.plan.handler or "make run, else ./a.out", *substitute(self.plan.args, values)]
        return " ".join(words) + (f" < {self.plan.stdin}" if self.plan.stdin else "")

    def rank_number(self, artifact: Artifact) -> int:
        """Which rank wrote it."""
        return self.numbers.get(artifact.rank_id, 0)


@dataclass(frozen=True)
class BuildDetails:
    """A build with all that belongs to it."""

    build: Build
    place: Place
    user: str
    plan: Plan
    words: str
    may_write: bool

    @property
    def url(self) -> str:
        """Its page."""
        return f"/builds/{self.build.id}"

    @property
    def took_s(self) -> float | None:
        """From its start to its end, or to now."""
        return took_s(self.build)

    @property
    def is_over(self) -> bool:
        """Whether nothing can change any more."""
        return self.build.state in TERMINAL


async def user_name(session: AsyncSession, user_id: int) -> str:
    """Who it was."""
    return await session.scalar(select(User.name).where(User.id == user_id)) or ""


async def run_words(
    session: AsyncSession, viewer: User | None, run: Run, ranks: list[Rank], where: str
) -> str:
    """One line on where a run stands."""
    if run.state in TERMINAL:
        return run_end(run, ranks)
    if run.cancel_requested_at is not None:
        return f"{run.cancelled_by} asked to cancel it"
    if run.state is State.QUEUED:
        return f"waiting {await waiting_seen_by(session, run, viewer)}"
    if (count := len(run.plan["ranks"])) > 1:
        ended = select(func.count(Rank.id)).where(Rank.run_id == run.id, Rank.state.in_(TERMINAL))
        return f"{run.state}: {await session.scalar(ended)} of {count} ranks have ended"
    return f"{run.state} on {where}" if where else str(run.state)


def build_words(build: Build) -> str:
    """One line on where a build stands."""
    if build.state in TERMINAL:
        return build_end(build)
    if build.cancel_requested_at is not None:
        return "is being cancelled"
    return "waiting for a builder" if build.state is State.QUEUED else f"building with {build.plan['image']}"


async def _may_write(session: AsyncSession, visitor: User | None, repo: Repo) -> bool:
    return visitor is not None and await may_write(session, visitor, repo)


async def run_details(
    session: AsyncSession, visitor: User | None, run: Run, place: Place, depth: Depth = WHOLE
) -> RunDetails:
    """Load the rest of a run that was found."""
    build = await session.get_one(Build, run.build_id)
    by_number = select(Rank).where(Rank.run_id == run.id).order_by(Rank.number)
    ranks = list((await session.scalars(by_number.limit(depth.ranks))).all())
    left = select(Artifact, Rank.number).join(Rank, Rank.id == Artifact.rank_id)
    left = left.where(Artifact.run_id == run.id).order_by(Artifact.rank_id, Artifact.path)
    artifacts = (await session.execute(left.limit(depth.artifacts))).all()
    names = await gpu_names(session)
    where = {rank.number: placed(rank, names).removeprefix("on ") for rank in ranks if rank.slot}
    sums = await sum_up(session, run.id)
    is_over = run.state in TERMINAL
    words = (
        end_words(run, sums) if is_over else await run_words(session, visitor, run, ranks, where.get(0, ""))
    )
    return RunDetails(
        run=run,
        place=place,
        build=build,
        user=await user_name(session, run.user_id),
        ranks=ranks,
        verdict=await verdict_rank(session, run.id) or ranks[0],
        sums=sums,
        artifacts=[artifact for artifact, _ in artifacts],
        artifact_count=await session.scalar(select(func.count()).where(Artifact.run_id == run.id)) or 0,
        numbers={artifact.rank_id: number for artifact, number in artifacts},
        plan=Plan.model_validate(run.plan),
        words=words,
        where=where,
        may_write=await _may_write(session, visitor, place.repo),
        signed_in=visitor is not None,
    )


async def build_details(
    session: AsyncSession, visitor: User | None, build: Build, place: Place
) -> BuildDetails:
    """Load the rest of a build that was found."""
    return BuildDetails(
        build=build,
        place=place,
        user=await user_name(session, build.user_id),
        plan=Plan.model_validate(build.plan),
        words=build_words(build),
        may_write=await _may_write(session, visitor, place.repo),
    )


async def pushes_of(session: AsyncSession, repo_id: int, sha: str) -> list[tuple[Push, str]]:
    """The pushes that brought a commit, newest first, each with who pushed."""
    rows = await session.execute(
        select(Push, User.name)
        .join(User, User.id == Push.user_id)
        .where(Push.repo_id == repo_id, Push.new_sha == sha, Push.state == "applied")
        .order_by(Push.id.desc())
    )
    return list(rows.all())
