"""How it stands with a commit, as the forge that it came from is told."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy.ext.asyncio import AsyncSession

from hermes.forges.base import Outcome
from hermes.reports import build_of, run_that_counts
from hermes.states import LIVE, TERMINAL, State
from hermes.tables import Build, Run
from hermes.totals import totals_of
from hermes.words import bad_end, build_end, end_words
from web.metrics import metrics_of
from web.trend import measured_words

_MOST_METRICS = 3
_OUTCOMES = {
    State.QUEUED: Outcome.WAITING,
    State.BUILDING: Outcome.RUNNING,
    State.STARTING: Outcome.RUNNING,
    State.RUNNING: Outcome.RUNNING,
    State.BUILT: Outcome.SUCCEEDED,
    State.SUCCEEDED: Outcome.SUCCEEDED,
    State.FAILED: Outcome.FAILED,
    State.TIMED_OUT: Outcome.FAILED,
    State.CANCELLED: Outcome.CANCELLED,
    State.LOST: Outcome.LOST,
}


class Standing(NamedTuple):
    """Of a commit."""

    outcome: Outcome
    words: str


async def standing_of(
    session: AsyncSession, repo_id: int, sha: str, told: Mapping[str, Any]
) -> Standing | None:
    """Now. `told`: what was said of a commit that is not built; None: there is nothing to say."""
    run = await run_that_counts(session, repo_id, sha)
    if run is not None:
        build = await session.get_one(Build, run.build_id)
        return await _of_run(session, run, build)
    made = await build_of(session, repo_id, sha)
    if made is not None:
        return _of_build(made)
    return Standing(Outcome(told["outcome"]), told["words"]) if "words" in told else None


async def _of_run(session: AsyncSession, run: Run, build: Build) -> Standing:
    if run.state in TERMINAL:
        return Standing(_OUTCOMES[run.state], await _end(session, run, build))
    if run.state in LIVE:
        return Standing(Outcome.RUNNING, "running")
    if build.state is State.BUILT:
        return Standing(Outcome.WAITING, f"{build_end(build)}, waits for its turn")
    return _of_build(build)


def _of_build(build: Build) -> Standing:
    if build.state is State.QUEUED:
        return Standing(Outcome.WAITING, "waiting for a builder")
    if build.state is State.BUILDING:
        return Standing(Outcome.RUNNING, f"building with {build.plan['image']}")
    words = build_end(build) if build.state is State.BUILT else f"build {bad_end(build)}"
    return Standing(_OUTCOMES[build.state], words)


async def _end(session: AsyncSession, run: Run, build: Build) -> str:
    """What has ended it, what it took, what it has measured."""
    if build.state in TERMINAL and build.state is not State.BUILT:
        return f"build {bad_end(build)}"
    measured = (await metrics_of(session, [run.id]))[run.id][:_MOST_METRICS]
    figures = [f"{each.name} {measured_words(each)}" for each in measured]
    return " · ".join([end_words(run, await totals_of(session, run.id)), *figures])
