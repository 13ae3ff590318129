"""What is said back to where a commit came from: written down with the change that it tells of, sent later.

A message says only which commit or pull request is to be looked at: who sends it says how it stands then,
so a late one never says anything old. What was said last is kept, and not said twice."""

import secrets
import time
from typing import Any

from sqlalchemy import ForeignKey, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from hermes import outbox
from hermes.arrivals import Arrival
from hermes.columns import Base
from hermes.states import TERMINAL
from hermes.tables import Build, Outbox, Push, Run
from hermes.upstreams import Upstream, upstream_of

STATUS, COMMENT = TOPICS = ("status", "comment")  # topics of the outbox
WEBHOOK, RETRY = "webhook", "retry"
_CAME = ("taken", "unchanged")  # of hermes.arrivals.STATES


class Report(Base):
    """What a forge was last told. `subject`: `commit <sha>` or `pull <number>`."""

    __tablename__ = "report"
    repo_id: Mapped[int] = mapped_column(ForeignKey("repo.id"), primary_key=True)
    subject: Mapped[str] = mapped_column(primary_key=True)
    said: Mapped[str]  # a digest
    remote_id: Mapped[str] = mapped_column(default="")  # of the comment there
    at: Mapped[float]


async def report_of(session: AsyncSession, repo_id: int, subject: str) -> Report | None:
    """If anything was said of it yet."""
    return await session.get(Report, (repo_id, subject))


async def keep_report(
    session: AsyncSession, repo_id: int, subject: str, said: str, remote_id: str = ""
) -> None:
    """It was taken."""
    row = Report(repo_id=repo_id, subject=subject, said=said, remote_id=remote_id, at=time.time())
    await session.merge(row)


async def tell_run(session: AsyncSession, run: Run) -> None:
    """It is queued, or its state has changed. Nothing for runs of what was pushed here."""
    if run.trigger not in (WEBHOOK, RETRY) or await _reporting(session, run.repo_id) is None:
        return
    sha = await session.scalar(select(Build.commit_sha).where(Build.id == run.build_id)) or ""
    if not await _came(session, run.repo_id, sha):
        return
    _put(session, STATUS, {"repo": run.repo_id, "sha": sha})
    if run.state in TERMINAL and run.plan.get("comment"):
        mine = (Arrival.repo_id == run.repo_id, Arrival.sha == sha, Arrival.pull_request.is_not(None))
        for number in (await session.scalars(select(Arrival.pull_request).where(*mine).distinct())).all():
            _put(session, COMMENT, {"repo": run.repo_id, "pull": number})


async def tell_build(session: AsyncSession, build: Build) -> None:
    """Its state has changed: runs that wait for it stand differently, and so does a commit without one."""
    if await _reporting(session, build.repo_id) is None:
        return
    if await _came(session, build.repo_id, build.commit_sha):
        _put(session, STATUS, {"repo": build.repo_id, "sha": build.commit_sha})


async def tell_pull(session: AsyncSession, arrival: Arrival) -> None:
    """A pull request's commit was taken, or was here: what it has come to may be known already."""
    if arrival.pull_request is None or await _reporting(session, arrival.repo_id) is None:
        return
    run = await run_that_counts(session, arrival.repo_id, arrival.sha)
    if run is not None and run.state in TERMINAL and run.plan.get("comment"):
        _put(session, COMMENT, {"repo": arrival.repo_id, "pull": arrival.pull_request})


async def tell_words(session: AsyncSession, repo_id: int, sha: str, outcome: str, words: str) -> None:
    """Of a commit that came and is not built: it was refused, or waits for somebody. `outcome`: of
    hermes.forges.base.Outcome."""
    if await _reporting(session, repo_id) is not None:
        _put(session, STATUS, {"repo": repo_id, "sha": sha, "outcome": outcome, "words": words})


async def tell_again(session: AsyncSession, upstream: Upstream) -> None:
    """There is a new token: what waits is due now."""
    upstream.report_error, upstream.denied_at = "", None
    waiting = select(Outbox).where(Outbox.topic.in_(TOPICS), Outbox.sent_at.is_(None))
    ids = [
        row.id for row in (await session.scalars(waiting)).all() if row.payload["repo"] == upstream.repo_id
    ]
    if ids:
        await session.execute(update(Outbox).where(Outbox.id.in_(ids)).values(next_at=time.time()))


async def run_that_counts(session: AsyncSession, repo_id: int, sha: str) -> Run | None:
    """The newest of a commit: what its coming has started, or that very same again."""
    found = (
        select(Run)
        .join(Build, Build.id == Run.build_id)
        .where(Build.repo_id == repo_id, Build.commit_sha == sha, Run.trigger.in_((WEBHOOK, RETRY)))
        .order_by(Run.id.desc())
        .limit(20)
    )
    runs = (await session.scalars(found)).all()
    came = next((run for run in runs if run.trigger == WEBHOOK), None)
    return came and next(run for run in runs if run.plan == came.plan)


async def newest_of_pull(session: AsyncSession, repo_id: int, number: int) -> tuple[Run, str] | None:
    """The newest run of a pull request that is over and is to be commented on, and its commit."""
    found = (
        select(Arrival.sha)
        .where(Arrival.repo_id == repo_id, Arrival.pull_request == number, Arrival.state.in_(_CAME))
        .order_by(Arrival.id.desc())
        .limit(20)
    )
    for sha in dict.fromkeys((await session.scalars(found)).all()):
        run = await run_that_counts(session, repo_id, sha)
        if run is not None and run.state in TERMINAL:
            return (run, sha) if run.plan.get("comment") else None
    return None


async def build_of(session: AsyncSession, repo_id: int, sha: str) -> Build | None:
    """The newest of a commit."""
    found = select(Build).where(Build.repo_id == repo_id, Build.commit_sha == sha)
    return (await session.scalars(found.order_by(Build.id.desc()).limit(1))).first()


async def _reporting(session: AsyncSession, repo_id: int) -> Upstream | None:
    upstream = await upstream_of(session, repo_id)
    return upstream if upstream is not None and upstream.reports else None


async def _came(session: AsyncSession, repo_id: int, sha: str) -> bool:
    """Whether a commit is from there."""
    came = select(Push.id).where(Push.repo_id == repo_id, Push.new_sha == sha, Push.trigger == WEBHOOK)
    return await session.scalar(came.where(Push.state == "applied").limit(1)) is not None


def _put(session: AsyncSession, topic: str, payload: dict[str, Any]) -> None:
    outbox.put(session, topic, f"{topic}-{secrets.token_hex(8)}", payload)
