"""From rows to the API's answers."""

from collections.abc import Mapping
from typing import Any

from hermes.cause import read_cause, why
from hermes.functions import Function
from hermes.invocations import TRIGGER, Queued
from hermes.removals import Data
from hermes.states import State
from hermes.tables import Artifact, Build, Push, Rank, Removal, Run, User
from web.answers import (
    ArtifactAnswer,
    BuildAnswer,
    MetricAnswer,
    PushAnswer,
    RankAnswer,
    RemovalAnswer,
    RunAnswer,
)
from web.details import BuildDetails, RunDetails
from web.files import artifact_url
from web.look import iso


def _times(row: Run | Build | Rank) -> dict[str, Any]:
    return {
        "created_at": row.created_at,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "created": iso(row.created_at),
        "started": iso(row.started_at) if row.started_at else None,
        "ended": iso(row.ended_at) if row.ended_at else None,
    }


def run_answer(details: RunDetails, base: str) -> RunAnswer:
    """`base` is what addresses start with."""
    run, url = details.run, f"{base}/runs/{details.run.id}"
    return RunAnswer(
        **_times(run),
        id=run.id,
        state=run.state,
        reason=run.reason,
        words=details.words,
        trigger=run.trigger,
        why=details.trigger_words,
        why_url=details.trigger_url,
        repo=details.place.name,
        commit=details.build.commit_sha,
        build=run.build_id,
        user=details.user,
        exit_code=details.verdict.exit_code,
        signal=details.verdict.signal,
        summary=details.figures,
        rank_count=details.rank_count,
        world_size=details.plan.world_size,
        ranks=[_rank(rank, url) for rank in details.ranks],
        metrics=[MetricAnswer(**each._asdict()) for each in details.metrics],
        artifacts=[
            artifact_answer(each, details.rank_number(each), base, details.removed.get(Data.ARTIFACTS))
            for each in details.artifacts
        ],
        removed=removal_answers(details.removed),
        kept_at=run.kept_at,
        kept_by=run.kept_by,
        url=url,
        log_url=f"{url}/log",
        events_url=f"{url}/events",
    )


def queued_answer(queued: Queued, function: Function, user: User, base: str) -> RunAnswer:
    """A run that has this moment been queued, of which nothing more can be known."""
    url, plan = f"{base}/runs/{queued.run_id}", queued.plan
    build = function.build
    fresh: dict[str, Any] = {"state": State.QUEUED, "reason": "", "exit_code": None, "signal": ""}
    times: dict[str, Any] = {"created_at": queued.at, "started_at": None, "ended_at": None}
    fresh |= times | {"created": iso(queued.at), "started": None, "ended": None}
    untried: dict[str, Any] = {
        "attempt": 0,
        "progress": None,
        "progress_text": "",
        "slot": None,
        "summary": None,
    }
    nothing: dict[str, Any] = {"metrics": [], "artifacts": [], "removed": [], "kept_at": None, "kept_by": ""}
    return RunAnswer(
        **fresh,
        **nothing,
        id=queued.run_id,
        words="queued" if build.state is State.BUILT else f"queued: waits for build {build.id}",
        trigger=TRIGGER,
        why=why(TRIGGER, {}, user.name),
        why_url="",
        repo=f"{function.owner}/{function.repo.name}",
        commit=build.commit_sha,
        build=build.id,
        user=user.name,
        summary={},
        rank_count=len(plan.ranks),
        world_size=plan.world_size,
        ranks=[
            RankAnswer(**fresh, **untried, number=number, parameters=each, log_url=f"{url}/log?rank={number}")
            for number, each in plan.numbered()
        ],
        url=url,
        log_url=f"{url}/log",
        events_url=f"{url}/events",
    )


def artifact_answer(artifact: Artifact, rank: int, base: str, removal: Removal | None) -> ArtifactAnswer:
    """One file, the number of the rank that wrote it, and what became of it."""
    return ArtifactAnswer(
        path=artifact.path,
        rank=rank,
        size_bytes=artifact.size_bytes,
        sha256=artifact.sha256,
        removed_at=removal.at if removal else None,
        url=base + artifact_url(artifact),
    )


def _rank(rank: Rank, url: str) -> RankAnswer:
    return RankAnswer(
        **_times(rank),
        number=rank.number,
        state=rank.state,
        reason=rank.reason,
        attempt=rank.attempt,
        exit_code=rank.exit_code,
        signal=rank.signal,
        progress=rank.progress,
        progress_text=rank.progress_text,
        parameters=rank.parameters,
        slot=rank.slot,
        summary=rank.summary,
        log_url=f"{url}/log?rank={rank.number}",
    )


def build_answer(details: BuildDetails, base: str) -> BuildAnswer:
    """`base` is what addresses start with."""
    build, url = details.build, f"{base}/builds/{details.build.id}"
    return BuildAnswer(
        **_times(build),
        id=build.id,
        state=build.state,
        reason=build.reason,
        words=details.words,
        repo=details.place.name,
        commit=build.commit_sha,
        name=details.plan.name,
        version=details.plan.version,
        image=details.plan.image,
        image_bytes=build.image_bytes,
        attempt=build.attempt,
        user=details.user,
        removed=removal_answers(details.removed),
        url=url,
        log_url=f"{url}/log",
        events_url=f"{url}/events",
    )


def removal_answers(removed: Mapping[Data, Removal]) -> list[RemovalAnswer]:
    """In words that stay."""
    return [RemovalAnswer(what=each.kind, at=each.at, why=each.why) for each in removed.values()]


def push_answer(push: Push, user: str) -> PushAnswer:
    """One push and who pushed."""
    return PushAnswer(
        id=push.id,
        ref=push.ref,
        old_sha=push.old_sha,
        new_sha=push.new_sha,
        user=user,
        trigger=push.trigger,
        why=why(push.trigger, push.cause, user),
        why_url=read_cause(push.cause).url,
        created_at=push.created_at,
        created=iso(push.created_at),
    )
