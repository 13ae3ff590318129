"""Schedules that fire, by a clock that the test moves: across changes of it, on SQLite and on PostgreSQL."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from hermes import pushes
from hermes.accounts import add_user
from hermes.audit import Audit
from hermes.cause import Sender
from hermes.columns import Base
from hermes.cron import next_time
from hermes.database import Database
from hermes.paths import Paths
from hermes.plan import Plan
from hermes.process import Context
from hermes.queue import Bell, Doorbell
from hermes.removals import Data
from hermes.repos import get_or_make_writable, remove_collaborator, set_collaborator
from hermes.room import Room
from hermes.schedules import Schedule, follow_branch, pause, resume
from hermes.schema import migrate
from hermes.settings import Settings
from hermes.states import State
from hermes.tables import Build, Push, Rank, Removal, Repo, Run, User
from hermes.throttle import Throttle
from hermes.timetable import ScheduleWant
from hooks.schedules import Firing, WallClock, keep_firing
from tests.service import PATIENCE_S
from tests.test_storage import PLAN, SHA

NOWHERE = Path("/nowhere/at/all")


def at(text: str) -> float:
    """`2026-03-29 02:00+01:00`"""
    return datetime.fromisoformat(text).timestamp()


@dataclass
class Hands:
    """A clock that stands where it was put."""

    seconds: float = 0.0

    def now(self) -> float:
        return self.seconds

    async def wait(self, bell: Bell, timeout_s: float) -> bool:
        """Time passes at once, and others get their turn."""
        await asyncio.sleep(0)
        self.seconds += timeout_s
        return False


@dataclass
class House:
    """A database with alice, who has a repository, and a process that fires."""

    context: Context
    alice: User
    repo: Repo
    hands: Hands = field(default_factory=Hands)

    @property
    def database(self) -> Database:
        return self.context.database

    def firing(self) -> Firing:
        """As a process that has just started."""
        return Firing(self.context, self.hands)

    async def push(
        self,
        *wants: ScheduleWant,
        ref: str = "refs/heads/main",
        by: User | None = None,
        sha: str = SHA,
        stores_only: bool = False,
    ) -> Push:
        plan = None if stores_only else PLAN.model_copy(update={"schedules": list(wants), "runs": False})
        return await self.change(pushes.RefUpdate(ref, "0" * 40, sha), plan, by)

    async def change(self, change: pushes.RefUpdate, plan: Plan | None, by: User | None = None) -> Push:
        sender = Sender((by or self.alice).id)
        push = await self.database.write_at_once(
            lambda ask: pushes.receive(ask, self.repo.id, sender, change, plan, "subject")
        )
        async with self.database.write() as session:
            await pushes.apply(session, await session.get_one(Push, push.id))
        return push

    async def live(self, until: float, firing: Firing | None = None) -> Firing:
        """From one thing that is due to the next."""
        firing, rang = firing or self.firing(), True
        while True:
            await firing.turn(rang)
            rang = False
            if firing.next_at > until:
                self.hands.seconds = until
                return firing
            self.hands.seconds = max(firing.next_at, self.hands.seconds)

    async def plan_at(self, now: float) -> None:
        """As if all had been pushed then."""
        self.hands.seconds = now
        async with self.database.write() as session:
            for row in (await session.scalars(select(Schedule))).all():
                row.next_at = next_time(row.cron, row.timezone, now)

    async def rows(self) -> Sequence[Schedule]:
        async with self.database.read() as session:
            return (await session.scalars(select(Schedule).order_by(Schedule.position))).all()

    async def whys(self) -> list[str]:
        """Why each run is there."""
        async with self.database.read() as session:
            return [run.cause["words"] for run in (await session.scalars(select(Run).order_by(Run.id))).all()]

    async def set_all(self, table: type[Base], **values: object) -> None:
        async with self.database.write() as session:
            await session.execute(update(table).values(**values))


@pytest.fixture(params=["sqlite", "postgresql"])
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    url = f"sqlite+aiosqlite:///{tmp_path / 'hermes.db'}"
    database = Database(url if request.param == "sqlite" else request.getfixturevalue("postgres_url"))
    await migrate(database)
    async with database.write() as session:
        for table in reversed(Base.metadata.sorted_tables):
            await session.execute(table.delete())
        alice = await add_user(session, "alice")
        repo = await get_or_make_writable(session, alice, "alice", "pi")
    settings = Settings(data=tmp_path, trust="all", user_queued=5)
    context = Context(settings, Paths(tmp_path), database, Doorbell(""), Throttle(1, 1.0))
    yield House(context, alice, repo)
    await database.close()


def want(
    cron: str, timezone: str = "UTC", overlap: str = "queue", args: list[str] | None = None
) -> ScheduleWant:
    return ScheduleWant.model_validate({"cron": cron, "timezone": timezone, "overlap": overlap, "args": args})


@pytest.mark.parametrize(
    ("cron", "zone", "begin", "end", "due"),
    [
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-27T00:00+01:00",
            "2026-03-31T00:00+02:00",
            "02:30 02:30 03:00 02:30",
        ),
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-23T00:00+02:00",
            "2026-10-27T00:00+01:00",
            "02:30 02:30 02:30 02:30",
        ),
        (
            "@daily",
            "America/Sao_Paulo",
            "2018-11-02T12:00-03:00",
            "2018-11-06T12:00-02:00",
            "00:00 01:00 00:00 00:00",
        ),
        (
            "0 */12 * * *",
            "Australia/Lord_Howe",
            "2026-04-04T01:00+11:00",
            "2026-04-06T01:00+10:30",
            "12:00 00:00 12:00 00:00",
        ),
    ],
)
async def test_days_pass_and_each_has_its_run(
    house: House, cron: str, zone: str, begin: str, end: str, due: str
) -> None:
    """One run at each time that comes, although the process is started anew each day."""
    await house.push(want(cron, zone))
    await house.plan_at(at(begin))
    now = at(begin)
    while now < at(end):
        now = min(now + 86_400.0, at(end))
        await house.live(now)
        await house.set_all(Run, state=State.SUCCEEDED)
        await house.set_all(Rank, state=State.SUCCEEDED)
    assert await house.whys() == [f"schedule {cron}, due {each} {zone}" for each in due.split()]
    (row,) = await house.rows()
    assert row.next_at > at(end) and row.last_at is not None and row.last_run_id is not None


async def test_what_was_missed_is_one_run_and_says_how_many_there_were(house: House) -> None:
    await house.push(want("0 3 * * *", "America/Sao_Paulo"), want("0 0 1 * *"))
    await house.plan_at(at("2026-11-27T00:00+00:00"))
    house.hands.seconds = at("2026-11-30T10:00-03:00")
    await house.live(house.hands.seconds + 1)
    (why,) = await house.whys()
    assert why == "schedule 0 3 * * *, due 2026-11-27 03:00 America/Sao_Paulo, 3 more missed"
    first, _ = await house.rows()
    assert first.next_at == at("2026-12-01T03:00-03:00") and first.last_at == at("2026-11-27T03:00-03:00")


async def test_two_processes_never_fire_the_same_tick(house: House) -> None:
    await house.push(*(want(f"{minute} * * * *") for minute in range(4)))
    await house.plan_at(at("2026-11-27T00:00+00:00"))
    house.hands.seconds += 600
    await asyncio.gather(*(house.firing().turn(True) for _ in range(4)))
    assert len(await house.whys()) == 3  # 00:00 has been
    assert {row.last_run_id is None for row in await house.rows()} == {True, False}


@pytest.mark.parametrize(
    ("overlap", "runs", "cancelled"), [("skip", 1, 0), ("queue", 3, 0), ("cancel", 3, 2)]
)
async def test_a_run_that_has_not_ended_meets_the_next(
    house: House, overlap: str, runs: int, cancelled: int
) -> None:
    await house.push(want("0 * * * *", overlap=overlap))
    await house.plan_at(at("2026-11-27T00:30+00:00"))
    await house.live(at("2026-11-27T03:30+00:00"))
    async with house.database.read() as session:
        found = (await session.scalars(select(Run).order_by(Run.id))).all()
    assert len(found) == runs and [run.state for run in found].count(State.CANCELLED) == cancelled
    assert found[-1].state is State.QUEUED
    (row,) = await house.rows()
    assert row.outcome == (f"skipped: run {found[0].id} has not ended" if overlap == "skip" else "")
    assert row.last_run_id == found[-1].id


async def test_the_build_is_made_again_where_it_failed_or_its_image_is_gone(house: House) -> None:
    await house.push(want("0 * * * *", args=["--full", "7"]))
    await house.plan_at(at("2026-11-27T00:30+00:00"))
    await house.set_all(Build, state=State.FAILED, deleted_at=5.0)
    await house.live(at("2026-11-27T01:30+00:00"))
    async with house.database.write() as session:
        build = (await session.scalars(select(Build))).one()
        assert build.state is State.QUEUED and build.deleted_at == 5.0  # nobody can invoke it all the same
        build.state = State.BUILT
        session.add(Removal(kind=Data.IMAGES, subject_id=build.id, at=1.0, why="old"))
    await house.live(at("2026-11-27T02:30+00:00"))
    async with house.database.read() as session:
        assert (await session.scalars(select(Build))).one().state is State.QUEUED
        plans = [run.plan for run in (await session.scalars(select(Run))).all()]
    assert [plan["args"] for plan in plans] == [["--full", "7"]] * 2 and all(plan["runs"] for plan in plans)


async def test_who_may_not_any_more_is_paused_with_the_reason_until_somebody_else_pushes(
    house: House,
) -> None:
    async with house.database.write() as session:
        bob = await add_user(session, "bob")
        await set_collaborator(session, await session.get_one(Repo, house.repo.id), "bob", "write")
    await house.push(want("0 * * * *"), by=bob)
    await house.plan_at(at("2026-11-27T00:30+00:00"))
    async with house.database.write() as session:
        await remove_collaborator(session, await session.get_one(Repo, house.repo.id), "bob")
    await house.live(at("2026-11-27T03:30+00:00"))
    (row,) = await house.rows()
    assert await house.whys() == [] and row.paused_by == ""
    assert row.paused_why == "bob, who pushed it, may not push to alice/pi any more"
    async with house.database.read() as session:
        (said,) = (await session.scalars(select(Audit))).all()
    assert (said.act, said.subject) == ("schedule paused", "alice/pi") and "bob" in said.detail
    await house.push(want("0 * * * *"))
    (row,) = await house.rows()
    assert row.paused_at is None and row.user_id == house.alice.id and row.next_at > time.time()
    await house.set_all(User, disabled_at=1.0)
    await house.plan_at(at("2026-11-27T00:30+00:00"))
    await house.live(at("2026-11-27T03:30+00:00"))
    assert (await house.rows())[0].paused_why == "the account of alice, who pushed it, is disabled"


async def test_a_queue_that_is_full_refuses_and_the_next_tick_is_tried(house: House) -> None:
    await house.push(want("0 * * * *"))
    await house.plan_at(at("2026-11-27T00:30+00:00"))
    firing = await house.live(at("2026-11-27T06:30+00:00"))  # five may wait
    (row,) = await house.rows()
    assert len(await house.whys()) == 5 and "the limit is 5" in row.outcome
    await house.set_all(Rank, state=State.SUCCEEDED)
    await house.live(at("2026-11-27T07:30+00:00"), firing)
    assert len(await house.whys()) == 6 and (await house.rows())[0].outcome == ""


async def test_nothing_is_claimed_while_the_disk_is_full(house: House) -> None:
    await house.push(want("0 * * * *"))
    await house.plan_at(at("2026-11-27T00:30+00:00"))
    firing, good = house.firing(), house.context.room
    house.hands.seconds = at("2026-11-27T01:00+00:00")
    house.context.__dict__["room"] = Room(NOWHERE)
    assert 0 < await firing.turn(True) < 10
    assert await house.whys() == []
    house.context.__dict__["room"] = good
    await firing.turn(True)
    assert await house.whys() == ["schedule 0 * * * *, due 01:00 UTC"]


async def test_a_clock_that_was_ahead_does_not_silence_anything_for_years(house: House) -> None:
    await house.push(want("0 3 * * *"))
    await house.plan_at(at("2099-01-01T00:00+00:00"))
    house.hands.seconds = at("2026-11-27T00:00+00:00")
    firing = await house.live(at("2026-11-27T03:30+00:00"))
    assert await house.whys() == ["schedule 0 3 * * *, due 03:00 UTC"]
    house.hands.seconds = at("2026-11-27T02:30+00:00")  # set back by an hour: it has been
    await house.live(at("2026-11-27T04:30+00:00"), firing)
    assert len(await house.whys()) == 1
    house.hands.seconds = at("2026-11-20T02:30+00:00")  # by a week
    await house.live(at("2026-11-20T04:30+00:00"), firing)
    assert len(await house.whys()) == 2


async def test_one_that_cannot_be_read_here_holds_nobody_up(house: House) -> None:
    await house.push(want("0 * * * *"), want("1 * * * *"), want("2 * * * *"))
    await house.plan_at(at("2026-11-27T00:30+00:00"))
    async with house.database.write() as session:
        rows = (await session.scalars(select(Schedule).order_by(Schedule.position))).all()
        rows[0].cron, rows[1].timezone = "nonsense", "Mars/Olympus"
    await house.live(at("2026-11-27T01:30+00:00"))
    assert await house.whys() == ["schedule 2 * * * *, due 01:02 UTC"]
    first, second, third = await house.rows()
    assert first.paused_why.startswith("it cannot be read here: has 1 field") and third.paused_at is None
    assert "Mars/Olympus" in second.paused_why


async def test_a_thousand_in_the_same_second_are_a_thousand_runs(house: House) -> None:
    await house.push(want("0 0 * * *"))
    async with house.database.write() as session:
        for position in range(2, 1001):
            session.add(
                Schedule(
                    repo_id=house.repo.id, position=position, cron="0 0 * * *", timezone="UTC",
                    overlap="skip", user_id=house.alice.id, created_at=0.0, next_at=0.0,
                )
            )  # fmt: skip
    house.context.__dict__["settings"] = Settings(data=house.context.settings.data, trust="all")
    await house.plan_at(at("2026-11-26T12:00+00:00"))
    await house.live(at("2026-11-27T00:00+00:00"))
    async with house.database.read() as session:
        count = select(func.count(), func.count(func.distinct(Schedule.last_run_id))).select_from(Schedule)
        assert tuple((await session.execute(count)).one()) == (1000, 1000)
        assert await session.scalar(select(func.count()).select_from(Run)) == 1000


async def test_the_schedules_are_those_of_the_newest_push_of_the_default_branch(house: House) -> None:
    await house.push(want("0 1 * * *"), want("0 2 * * *", overlap="skip"))
    async with house.database.write() as session:
        (_, second) = (await session.scalars(select(Schedule).order_by(Schedule.position))).all()
        assert pause(second, "alice", 5.0) and not pause(second, "alice", 6.0)
    kept = second.id
    await house.push(want("0 9 * * *"), ref="refs/heads/other", sha="2" * 40)
    await house.push(stores_only=True)  # [skip ci]
    assert [row.cron for row in await house.rows()] == ["0 1 * * *", "0 2 * * *"]
    await house.push(want("0 2 * * *", overlap="cancel"), want("0 3 * * *"))
    first, _ = await house.rows()
    assert (first.id, first.cron, first.overlap, first.paused_by) == (kept, "0 2 * * *", "cancel", "alice")
    async with house.database.write() as session:
        row = await session.get_one(Schedule, kept)
        assert resume(row, time.time()) and not resume(row, time.time())
        repo = await session.get_one(Repo, house.repo.id)
        repo.default_branch = "other"
        await follow_branch(session, repo)
    assert [row.cron for row in await house.rows()] == ["0 9 * * *"]
    await house.push(want("0 4 * * *"))  # main is not the default branch any more
    await house.push(ref="refs/heads/other", sha="3" * 40)  # a manifest without
    assert await house.rows() == []
    await house.push(want("0 5 * * *"), ref="refs/heads/other")
    await house.change(pushes.RefUpdate("refs/heads/other", SHA, "0" * 40), None)
    assert await house.rows() == []


async def test_half_a_push_that_is_settled_after_others_changes_nothing(house: House) -> None:
    await house.push(want("0 1 * * *"))
    plan = PLAN.model_copy(update={"schedules": [want("0 2 * * *")]})
    change = pushes.RefUpdate("refs/heads/main", SHA, "2" * 40)
    half = await house.database.write_at_once(
        lambda ask: pushes.receive(ask, house.repo.id, Sender(house.alice.id), change, plan, "half")
    )
    await house.push(want("0 3 * * *"), sha="3" * 40)
    async with house.database.write() as session:
        await pushes.apply(session, await session.get_one(Push, half.id))
    assert [row.cron for row in await house.rows()] == ["0 3 * * *"]


async def test_it_goes_on_for_ever_and_reads_nothing_while_nothing_is_due(house: House) -> None:
    await house.push(want("0 * * * *"))
    await house.plan_at(at("2026-11-27T00:30+00:00"))
    going = asyncio.create_task(keep_firing(house.context, house.hands))
    async with asyncio.timeout(PATIENCE_S):
        while len(await house.whys()) < 3:
            await asyncio.sleep(0.01)
    going.cancel()
    assert not going.done() and WallClock().now() - time.time() < 1
