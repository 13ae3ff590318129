"""Counters only grow: every event once, over restarts and deleted rows, on SQLite and on PostgreSQL."""

import time
from collections import Counter

import pytest
from sqlalchemy import delete, select, update

from hermes import counting
from hermes.counting import BUCKETS, Counting, Counts
from hermes.leases import expire, fault, give_back, take
from hermes.states import Event, State
from hermes.tables import Counted, Rank
from hermes.tables import Event as EventRow
from hermes.transitions import move
from tests.test_storage import World, built, pushed
from tests.test_storage import world as world


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events of PostgreSQL need no time to settle where nobody else writes."""
    monkeypatch.setattr(counting, "_UNSETTLED_S", 0.0)


async def counted(world: World) -> Counts:
    """As a process that begins now would say."""
    one = Counting(world.database)
    while await one.count():
        pass
    return one.counts


async def run_once(world: World, event: Event, attempt: int = 1) -> Rank:
    """A rank from its place in the queue to its end."""
    async with world.database.write() as session:
        rank = (await session.scalars(select(Rank).where(Rank.state == State.QUEUED))).first()
        assert rank is not None and await take(session, rank, "r", 60)
        assert await move(session, rank, Event.START) and await move(session, rank, event)
        assert rank.attempt == attempt
        return rank


async def test_what_happened_is_counted_once_by_trigger_state_and_cause(world: World) -> None:
    await built(world)
    async with world.database.write() as session:
        rank = (await session.scalars(select(Rank))).one()
        await take(session, rank, "r", 60)
        await fault(session, rank, "the engine does not answer")
        await take(session, rank, "r", 60)
        await give_back(session, rank)
        await take(session, rank, "r", 60)
        assert await expire(session, time.time() + 61) == 1
    await run_once(world, Event.FAIL, 4)
    await pushed(world, "refs/heads/other")
    await run_once(world, Event.SUCCEED)
    one = Counting(world.database)
    for _ in range(3):
        await one.count()
    totals = one.counts.totals
    assert totals["pushes"] == Counter({("applied",): 2}) and totals["asked"] == Counter({("push",): 2})
    assert totals["runs"] == Counter({("push", "failed"): 1, ("push", "succeeded"): 1})
    assert totals["ranks"] == Counter({("failed",): 1, ("succeeded",): 1})
    assert totals["builds"] == Counter({("built",): 1})
    causes = {("rank", "fault"): 1, ("rank", "stopped"): 1, ("rank", "silent"): 1}
    assert totals["interrupted"] == Counter(causes)
    durations = one.counts.durations
    assert sum(durations["rank_run"][:-1]) == 2 and sum(durations["build_run"][:-1]) == 1
    assert (
        sum(durations["rank_wait"][:-1]) == 1
    )  # of first attempts; the other was in its fourth when counted


async def test_counts_are_kept_and_go_on_from_there_though_rows_are_deleted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await built(world)
    await run_once(world, Event.SUCCEED)
    one = Counting(world.database)
    await one.count()
    await one.keep()  # too early: a minute after it began
    assert await count_row(world) is None
    monkeypatch.setattr(counting, "_KEPT_EVERY_S", 0.0)
    await one.keep()
    before = one.counts.as_json()
    row = await count_row(world)
    assert row is not None and row.counts == before
    async with world.database.write() as session:
        await session.execute(delete(EventRow).where(EventRow.id <= row.last_event - 2))
    assert (await counted(world)).as_json() == before
    await pushed(world, "refs/heads/other")
    await run_once(world, Event.FAIL)
    after = await counted(world)
    assert after.totals["runs"] == Counter({("push", "failed"): 1, ("push", "succeeded"): 1})
    assert after.totals["asked"] == Counter({("push",): 2})


async def count_row(world: World) -> Counted | None:
    async with world.database.read() as session:
        return await session.get(Counted, 1)


async def test_counts_of_a_database_that_was_put_back_begin_anew(world: World) -> None:
    await pushed(world)
    async with world.database.write() as session:
        session.add(
            Counted(id=1, last_event=1 << 40, counts={"totals": {"pushes": [["applied", 9]]}}, at=0.0)
        )
    assert (await counted(world)).totals["pushes"] == Counter({("applied",): 1})


async def test_events_whose_rows_are_gone_are_counted_still(world: World) -> None:
    await pushed(world)
    async with world.database.write() as session:
        await session.execute(update(EventRow).values(subject_id=999_999))
    totals = (await counted(world)).totals
    assert totals["asked"] == Counter({("other",): 1}) and totals["pushes"] == Counter({("applied",): 1})


async def test_many_events_are_counted_in_batches(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        await pushed(world, f"refs/heads/b{number}")
    whole = (await counted(world)).as_json()
    monkeypatch.setattr(counting, "_AT_ONCE", 3)
    assert (await counted(world)).as_json() == whole
    assert whole["totals"]["pushes"] == [["applied", 5]]


async def test_event_that_may_still_miss_one_before_it_waits_on_postgresql(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "_UNSETTLED_S", 600.0)
    await pushed(world)
    found = (await counted(world)).totals["pushes"]
    assert found == (Counter({("applied",): 1}) if world.database.is_sqlite else Counter())
    async with world.database.write() as session:
        await session.execute(update(EventRow).values(at=EventRow.at - 601))
    assert (await counted(world)).totals["pushes"] == Counter({("applied",): 1})


def test_durations_fall_into_the_first_bucket_that_holds_them() -> None:
    counts = Counts()
    for span_s in (-1.0, 0.0, BUCKETS[0], BUCKETS[0] + 0.01, BUCKETS[-1] + 1):
        counts.took("x", span_s)
    row = counts.durations["x"]
    assert (row[0], row[1], row[len(BUCKETS)], sum(row[:-1])) == (3, 1, 1, 5)
    assert Counts.of_json({"durations": {"x": [1.0]}}).durations == {}
    assert Counts.of_json(counts.as_json()).as_json() == counts.as_json()
