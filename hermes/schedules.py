"""The schedules of a repository: those of the newest push of its default branch that says anything of them.

One that stays the same from push to push stays the same row: paused or not, with its last run."""

import time

from sqlalchemy import JSON, ForeignKey, Index, Select, UniqueConstraint, delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from hermes.columns import Base
from hermes.cron import next_time
from hermes.tables import Push, Repo
from hermes.timetable import ScheduleWant

HEADS = "refs/heads/"


class Schedule(Base):
    """One of them. While it is paused its `next_at` means nothing."""

    __tablename__ = "schedule"
    __table_args__ = (
        UniqueConstraint("repo_id", "position"),
        Index("schedule_due", "paused_at", "next_at"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    repo_id: Mapped[int] = mapped_column(ForeignKey("repo.id"))
    position: Mapped[int]  # in the manifest, from 1
    cron: Mapped[str]
    timezone: Mapped[str]
    overlap: Mapped[str]  # hermes.timetable.OVERLAPS
    args: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))  # None: those of the plan
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))  # who pushed it: its runs are theirs
    created_at: Mapped[float]
    next_at: Mapped[float]
    last_at: Mapped[float | None]  # when it was due the last time
    last_run_id: Mapped[int | None] = mapped_column(ForeignKey("run.id"))
    outcome: Mapped[str] = mapped_column(default="")  # why no run came of `last_at`; "": one did
    paused_at: Mapped[float | None]
    paused_by: Mapped[str] = mapped_column(default="")  # a user; "": Hermes itself, until the next push
    paused_why: Mapped[str] = mapped_column(default="")

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it this one, whatever stands around it in the manifest."""
        return _key(self.cron, self.timezone, self.args)


def _key(cron: str, timezone: str, args: list[str] | None) -> tuple[str, ...]:
    return (cron, timezone, *(("",) if args is None else ("args", *args)))


async def follow_push(session: AsyncSession, repo: Repo, push: Push) -> None:
    """An applied push, if it is one of the default branch and says which schedules there are."""
    if push.schedules is None or push.ref != HEADS + repo.default_branch:
        return
    if not push.schedules and not await _of(session, repo):
        return
    await session.execute(select(Repo.id).where(Repo.id == repo.id).with_for_update())
    newer = _saying(repo).where(Push.id > push.id)
    if (await session.scalars(newer.limit(1))).first() is None:  # half a push may be settled after others
        await _replace(session, repo, push)


async def follow_branch(session: AsyncSession, repo: Repo) -> None:
    """The repository has another default branch."""
    await session.execute(select(Repo.id).where(Repo.id == repo.id).with_for_update())
    newest = (await session.scalars(_saying(repo).order_by(Push.id.desc()).limit(1))).first()
    if newest is None:
        await session.execute(delete(Schedule).where(Schedule.repo_id == repo.id))
    else:
        await _replace(session, repo, newest)


def _saying(repo: Repo) -> Select[Push]:
    ref = HEADS + repo.default_branch
    return select(Push).where(
        Push.repo_id == repo.id, Push.ref == ref, Push.state == "applied", Push.schedules.is_not(None)
    )


async def _of(session: AsyncSession, repo: Repo) -> list[Schedule]:
    found = select(Schedule).where(Schedule.repo_id == repo.id).order_by(Schedule.position)
    return list((await session.scalars(found)).all())


async def _replace(session: AsyncSession, repo: Repo, push: Push) -> None:
    had = {row.key: row for row in await _of(session, repo)}
    wanted = [ScheduleWant.model_validate(each) for each in push.schedules or ()]
    kept = {key: had.pop(key) for each in wanted if (key := _key(each.cron, each.timezone, each.args)) in had}
    for row in had.values():
        await session.delete(row)
    for row in kept.values():
        row.position = -row.position  # so that no two are ever at the same one
    await session.flush()
    for position, each in enumerate(wanted, 1):
        row = kept.get(_key(each.cron, each.timezone, each.args)) or _new(repo, each)
        row.position, row.overlap, row.user_id = position, each.overlap, push.user_id
        if row.paused_at is not None and not row.paused_by:
            resume(row, time.time())
        session.add(row)
    await session.flush()


def _new(repo: Repo, want: ScheduleWant) -> Schedule:
    now = time.time()
    return Schedule(
        repo_id=repo.id,
        cron=want.cron,
        timezone=want.timezone,
        args=want.args,
        created_at=now,
        next_at=next_time(want.cron, want.timezone, now),
    )


def pause(row: Schedule, by: str, now: float) -> bool:
    """False: it was already."""
    if row.paused_at is not None:
        return False
    row.paused_at, row.paused_by, row.paused_why = now, by, ""
    return True


def resume(row: Schedule, now: float) -> bool:
    """What would have come meanwhile does not come. False: it was not paused."""
    if row.paused_at is None:
        return False
    row.paused_at, row.paused_by, row.paused_why = None, "", ""
    row.next_at = next_time(row.cron, row.timezone, now)
    return True
