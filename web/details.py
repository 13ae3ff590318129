"""Everything about one run or one build that its page, its commit's page and the API show."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from hermes.cause import read_cause, why
from hermes.command import substitute
from hermes.plan import Plan
from hermes.removals import OF_BUILDS, Data, hint, removals_of, words
from hermes.repos import may_write
from hermes.states import TERMINAL, State
from hermes.tables import Artifact, Build, Push, Rank, Removal, Repo, Run, User
from hermes.waiting import Queue
from hermes.words import build_end, end_words
from web.activity import took_s
from web.lookup import Place
from web.metrics import Measured

MOST_PUSHES = 50
Figures = Mapping[str, Any]


@dataclass(frozen=True)
class RunDetails:
    """A run with what belongs to it, within the bounds of `web.runs`: the first of `rank_count` ranks and of
    `artifact_count` artifacts. `words` is its one line; `where` is by rank number."""

    run: Run
    place: Place
    build: Build
    user: str
    ranks: list[Rank]
    verdict: Rank  # whose exit code speaks for the run: the first that failed, else the first
    metrics: list[Measured]
    figures: dict[str, Any]  # of all ranks together (hermes.totals)
    plan: Plan
    words: str
    where: dict[int, str]
    may_write: bool
    signed_in: bool
    artifacts: list[Artifact] = field(default_factory=list)
    writers: dict[int, int] = field(default_factory=dict)  # of artifacts: {rank's id: its number}
    removed: dict[Data, Removal] = field(default_factory=dict)

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
        return why(self.run.trigger, self.run.cause, self.user)

    @property
    def trigger_url(self) -> str:
        """Where that can be looked at, or nothing."""
        return read_cause(self.run.cause).url

    @property
    def rank_count(self) -> int:
        """How many it has in all."""
        return len(self.plan.ranks)

    @property
    def has_ranks(self) -> bool:
        """Whether the numbers of its ranks mean anything: there are several, or it is some of several."""
        return self.rank_count > 1 or bool(self.plan.numbers)

    @property
    def artifact_count(self) -> int:
        """How many files it left in all."""
        return int(self.figures.get("artifacts", 0))

    def command(self, rank: Rank) -> str:
        """What this rank runs, in the words of its manifest with the values put in."""
        values = {"rank": str(rank.number), "world_size": str(self.plan.world_size), **rank.parameters}
        words = [self.plan.handler or "make run, else ./a.out", *substitute(self.plan.args, values)]
        return " ".join(words) + (f" < {self.plan.stdin}" if self.plan.stdin else "")

    def rank_number(self, artifact: Artifact) -> int:
        """Which rank wrote it."""
        return self.writers[artifact.rank_id]


@dataclass(frozen=True)
class BuildDetails:
    """A build with all that belongs to it."""

    build: Build
    place: Place
    user: str
    plan: Plan
    words: str
    may_write: bool
    removed: dict[Data, Removal]

    @property
    def image_removed(self) -> str:
        """When, and why; "": it is there."""
        gone = self.removed.get(Data.IMAGES)
        return f"{words(gone)}; {hint(Data.IMAGES)}" if gone else ""

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


async def run_words(session: AsyncSession, queue: Queue, run: Run, figures: Figures, where: str) -> str:
    """One line on where a run stands; of one that has ended with its figures (`hermes.totals`)."""
    if run.state in TERMINAL:
        return end_words(run, figures)
    if run.cancel_requested_at is not None:
        return f"{run.cancelled_by} asked to cancel it"
    if run.state is State.QUEUED:
        return f"waiting {await queue.why(run)}"
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
        removed=await removals_of(session, OF_BUILDS, build.id),
    )


async def pushes_of(session: AsyncSession, repo_id: int, sha: str) -> list[tuple[Push, str]]:
    """The newest pushes that brought a commit, newest first, each with who pushed; without their plans."""
    rows = await session.execute(
        select(Push, User.name)
        .join(User, User.id == Push.user_id)
        .where(Push.repo_id == repo_id, Push.new_sha == sha, Push.state == "applied")
        .order_by(Push.id.desc())
        .limit(MOST_PUSHES)
        .options(defer(Push.plan, raiseload=True))
    )
    return list(rows.all())
