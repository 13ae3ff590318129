"""The truth: claims, leases, fences and pushes, on SQLite and on PostgreSQL with the same expectations."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import func, select, text, update

from hermes import pushes
from hermes.accounts import Identity, add_token, add_user, identify, revoke
from hermes.at_once import Ask, ask_in
from hermes.cause import Sender
from hermes.columns import Base
from hermes.database import Database
from hermes.errors import SettingsError, Unavailable, UserError
from hermes.leases import expire, fault, give_back, renew, take
from hermes.plan import Plan
from hermes.queueing import queue_run
from hermes.repos import get_or_make_writable
from hermes.requests import cancel_build, cancel_run, run_again
from hermes.schema import migrate
from hermes.settings import Settings
from hermes.states import Event, State
from hermes.tables import Build, Push, Rank, Repo, Run, Token, User
from hermes.tables import Event as EventRow
from hermes.transitions import move
from hermes.trust import distrust
from tests.service import PATIENCE_S

SHA = "1" * 40
PLAN = Plan(
    name="pi",
    language="cpp",
    image="cpp",
    reference="hermes/cpp:2",
    build_timeout_s=60,
    timeout_s=60,
    cpus=1,
    memory_bytes=1 << 30,
)


@dataclass
class World:
    """A database with one user who has one repository."""

    database: Database
    user: User
    repo: Repo


@pytest.fixture(params=["sqlite", "postgresql"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    if request.param == "sqlite":
        url = f"sqlite+aiosqlite:///{tmp_path / 'hermes.db'}"
    else:
        url = request.getfixturevalue("postgres_url")
    database = Database(url)
    await migrate(database)
    async with database.write() as session:
        for table in reversed(Base.metadata.sorted_tables):
            await session.execute(table.delete())
        user = await add_user(session, "alice")
        repo = await get_or_make_writable(session, user, "alice", "pi")
    yield World(database, user, repo)
    await database.close()


async def pushed(
    world: World, ref: str = "refs/heads/main", plan: Plan | None = PLAN, sha: str = SHA
) -> Push:
    """A push whose ref has moved."""
    change = pushes.RefUpdate(ref, "0" * 40, sha)
    push = await world.database.write_at_once(
        lambda ask: pushes.receive(ask, world.repo.id, Sender(world.user.id), change, plan, "subject")
    )
    async with world.database.write() as session:
        await pushes.apply(session, await session.get_one(Push, push.id))
    return push


Row = TypeVar("Row", Build, Rank, Run)


async def only(world: World, table: type[Row]) -> Row:
    """The one row of a table, as it is now."""
    async with world.database.read() as session:
        return (await session.scalars(select(table))).one()


async def built(world: World) -> Rank:
    """A queued rank whose image exists."""
    await pushed(world)
    async with world.database.write() as session:
        build = (await session.scalars(select(Build))).one()
        assert await take(session, build, "builder", 60)
        assert await move(session, build, Event.SUCCEED)
    rank = await only(world, Rank)
    return rank


async def count(world: World, table: type[Base]) -> int:
    async with world.database.read() as session:
        return await session.scalar(select(func.count()).select_from(table)) or 0


async def test_a_push_becomes_one_build_one_run_and_its_ranks(world: World) -> None:
    await pushed(world, plan=PLAN.model_copy(update={"ranks": [{"n": "1"}, {"n": "2"}]}))
    assert (await count(world, Build), await count(world, Run), await count(world, Rank)) == (1, 1, 2)


async def test_applying_a_push_twice_changes_nothing(world: World) -> None:
    push = await pushed(world)
    async with world.database.write() as session:
        assert await pushes.apply(session, await session.get_one(Push, push.id)) is None
    assert await count(world, Run) == 1


async def test_the_same_commit_on_two_branches_is_one_build_and_two_runs(world: World) -> None:
    await pushed(world)
    await pushed(world, "refs/heads/other")
    assert (await count(world, Build), await count(world, Run)) == (1, 2)


async def test_pushes_of_one_commit_at_once_make_one_build(world: World) -> None:
    await asyncio.gather(*(pushed(world, f"refs/heads/b{n}") for n in range(8)))
    assert (await count(world, Build), await count(world, Run)) == (1, 8)


async def test_first_pushes_at_once_make_one_repository(world: World) -> None:
    async def make() -> int:
        async with world.database.write() as session:
            return (await get_or_make_writable(session, world.user, "alice", "new")).id

    assert len(set(await asyncio.gather(*(make() for _ in range(8))))) == 1


async def test_of_many_claims_exactly_one_wins(world: World) -> None:
    rank = await built(world)
    other = Database(world.database.url.render_as_string(hide_password=False))

    async def claim(database: Database, owner: str) -> bool:
        async with database.write() as session:
            row = await session.get_one(Rank, rank.id)
            return row.state is State.QUEUED and await take(session, row, owner, 60)

    wins = await asyncio.gather(*(claim((world.database, other)[n % 2], f"r{n}") for n in range(16)))
    await other.close()
    assert sum(wins) == 1


async def test_whoever_lost_the_race_writes_nothing(world: World) -> None:
    rank = await built(world)
    async with world.database.write() as session:
        assert await take(session, await session.get_one(Rank, rank.id), "first", 60)
    async with world.database.write() as session:
        assert not await take(session, rank, "second", 60)  # `rank` is as it was before
    now = await only(world, Rank)
    assert (now.attempt, now.lease_owner) == (1, "first")


async def test_a_fenced_attempt_cannot_finish(world: World) -> None:
    rank = await built(world)
    async with world.database.write() as session:
        row = await session.get_one(Rank, rank.id)
        await take(session, row, "first", 60)
    async with world.database.write() as session:
        again = await session.get_one(Rank, rank.id)
        await fault(session, again, "fell silent")
        await take(session, again, "second", 60)
        await move(session, again, Event.START)
    row.state = State.RUNNING  # what the first owner still believes
    async with world.database.write() as session:
        assert not await move(session, row, Event.SUCCEED)
    now = await only(world, Rank)
    assert now.state is State.RUNNING


async def test_a_silent_owner_loses_its_work_and_the_third_fault_is_the_last(world: World) -> None:
    rank = await built(world)
    for attempt in (1, 2, 3):
        async with world.database.write() as session:
            assert await take(session, await session.get_one(Rank, rank.id), "r", 60)
        async with world.database.write() as session:
            assert await expire(session, time.time()) == 0
            assert await expire(session, time.time() + 61) == 1
        now = await only(world, Rank)
        assert (now.state, now.attempt) == (State.QUEUED if attempt < 3 else State.LOST, attempt)
    run = await only(world, Run)
    assert run.state is State.LOST and "silent" in run.reason


async def test_a_lease_that_is_renewed_does_not_expire(world: World) -> None:
    rank = await built(world)
    async with world.database.write() as session:
        await take(session, await session.get_one(Rank, rank.id), "r", 1)
    async with world.database.write() as session:
        assert await renew(session, Rank, "r", [rank.id], 600) == {rank.id: 1}
        assert await renew(session, Rank, "another", [rank.id], 600) == {}
        assert await expire(session, time.time() + 60) == 0


async def test_a_lease_of_what_nobody_is_at_work_on_any_more_ends(world: World) -> None:
    """Its owner could not write down that it had to let go, and is at work on other things."""
    rank = await built(world)
    async with world.database.write() as session:
        await take(session, await session.get_one(Rank, rank.id), "r", 1)
    async with world.database.write() as session:
        assert await renew(session, Rank, "r", [rank.id + 1], 600) == {}
        assert await expire(session, time.time() + 60) == 1


async def test_work_that_is_given_back_uses_up_no_attempt(world: World) -> None:
    rank = await built(world)
    for _ in range(5):
        async with world.database.write() as session:
            row = await session.get_one(Rank, rank.id)
            assert await take(session, row, "r", 60) and await give_back(session, row)
    now = await only(world, Rank)
    assert (now.state, now.faults) == (State.QUEUED, 0)


async def test_a_failed_build_ends_its_runs_and_the_next_push_tries_again(world: World) -> None:
    await pushed(world)
    async with world.database.write() as session:
        build = (await session.scalars(select(Build))).one()
        await take(session, build, "b", 60)
        await move(session, build, Event.FAIL, "pi.cpp:1:1: error")
    run = await only(world, Run)
    assert run.state is State.FAILED and run.reason == f"build {build.id} failed"
    await pushed(world, "refs/heads/other")
    again = await only(world, Build)
    assert (again.state, again.attempt) == (State.QUEUED, 1)


async def test_cancelling_ends_what_waits(world: World) -> None:
    await pushed(world)
    async with world.database.write() as session:
        run = (await session.scalars(select(Run))).one()
        assert await cancel_run(session, run, world.user)
    run_now = await only(world, Run)
    assert run_now.state is State.CANCELLED and "alice" in run_now.reason
    async with world.database.write() as session:
        assert not await cancel_run(session, await session.get_one(Run, run.id), world.user)
        assert await cancel_build(session, (await session.scalars(select(Build))).one(), world.user)
    assert (await only(world, Build)).state is State.CANCELLED


async def test_a_run_can_be_made_again_without_a_build(world: World) -> None:
    await built(world)
    async with world.database.write() as session:
        run = (await session.scalars(select(Run))).one()
        again = await run_again(session, run, world.user, PLAN)
    assert again.build_id == run.build_id and again.trigger == "retry" and await count(world, Build) == 1


async def test_a_flood_waits_behind_everybody_elses_first_run(world: World) -> None:
    for n in range(5):
        await pushed(world, f"refs/heads/b{n}")
    async with world.database.write() as session:
        bob = await add_user(session, "bob")
        build = (await session.scalars(select(Build))).one()
        await queue_run(session, build, PLAN, Sender(bob.id, "api"))
    async with world.database.read() as session:
        order = (await session.execute(select(Run.user_id).order_by(Run.queue_key))).scalars().all()
    assert order.index(bob.id) == 1  # only the one that was first is before him


async def whose(world: World, secret: str, *scopes: str) -> Identity | None:
    """As every request asks."""
    return await world.database.read_at_once(lambda ask: identify(ask, secret, *scopes))


async def test_tokens_are_digests_and_end_when_revoked(world: World) -> None:
    async with world.database.write() as session:
        secret = await add_token(session, world.user, "laptop")
    identity = await whose(world, secret)
    assert identity is not None and identity.user.name == "alice" and identity.user.is_admin is False
    assert await whose(world, secret, "session") is None
    assert await whose(world, secret[:-1]) is None
    async with world.database.write() as session:
        assert all(secret not in token.digest for token in (await session.scalars(select(Token))).all())
        await revoke(session, world.user, identity.token.id)
    assert await whose(world, secret) is None


async def test_fixed_statements_say_the_same_in_a_transaction_of_other_things(world: World) -> None:
    async with world.database.write() as session:
        bob = await add_user(session, "bob")
        inside = await session.run_sync(lambda plain: distrust(ask_in(plain), Settings(), bob.id))
    alone = await world.database.read_at_once(lambda ask: distrust(ask, Settings(), bob.id))
    assert inside == alone and "bob" in alone


async def test_an_expired_token_is_nobody(world: World) -> None:
    async with world.database.write() as session:
        secret = await add_token(session, world.user, "short", life_s=100)
        await session.execute(update(Token).values(expires_at=time.time() - 1))
    assert await whose(world, secret) is None


async def test_what_is_done_at_once_is_done_whole_or_not_at_all(world: World) -> None:
    """Also for who was cancelled meanwhile: the next writer waits for no lock."""
    change = pushes.RefUpdate("refs/heads/main", "0" * 40, SHA)

    def receive(ask: Ask) -> Push:
        return pushes.receive(ask, world.repo.id, Sender(world.user.id), change, PLAN, "subject")

    def fail(ask: Ask) -> None:
        receive(ask)
        raise UserError("not this one")

    with pytest.raises(UserError):
        await world.database.write_at_once(fail)
    leaving = asyncio.create_task(world.database.write_at_once(receive))
    await asyncio.sleep(0)
    leaving.cancel()
    push = await world.database.write_at_once(receive)
    async with world.database.read() as session:
        kept = (await session.scalars(select(Push).order_by(Push.id))).all()
        events = (await session.scalars(select(EventRow.subject_id).where(EventRow.kind == "push"))).all()
    assert kept[-1].id == push.id and kept[-1].plan == push.plan == PLAN.model_dump()
    assert sorted(events) == [each.id for each in kept] and len(kept) <= 2


async def test_a_taken_name_is_refused(world: World) -> None:
    with pytest.raises(UserError, match="exists"):
        async with world.database.write() as session:
            await add_user(session, "alice")


async def test_every_step_is_an_event(world: World) -> None:
    await built(world)
    async with world.database.read() as session:
        rows = await session.execute(select(EventRow.kind, EventRow.to_state).order_by(EventRow.id))
        steps = [f"{kind} {state}" for kind, state in rows.all()]
    assert steps == [
        "push received",
        "push applied",
        "build queued",
        "run queued",
        "build building",
        "build built",
    ]


@pytest.mark.fault(42)
async def test_the_schema_of_a_newer_program_is_refused(world: World) -> None:
    async with world.database.write() as session:
        current = await session.scalar(text("SELECT version_num FROM alembic_version"))
        await session.execute(text("UPDATE alembic_version SET version_num = 'from_the_future'"))
    try:
        with pytest.raises(SettingsError, match="newer Hermes"):
            await migrate(world.database)
    finally:
        async with world.database.write() as session:
            await session.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": current})
    await migrate(world.database)


async def test_a_database_that_is_away_is_unavailable() -> None:
    database = Database("postgresql+asyncpg://nobody@/x?host=/nonexistent")
    with pytest.raises(Unavailable, match="does not answer"):
        async with database.read() as session:
            await session.execute(select(1))
    await database.close()


async def test_cancelled_writers_keep_nobody_out(world: World) -> None:
    """Whoever is cancelled amid a statement leaves no lock behind; on SQLite it once stayed for ever."""

    async def write(number: int) -> None:
        async with world.database.write() as session:
            await add_user(session, f"cancelled-{number}")
            await session.execute(select(User))

    chance = random.Random(7)
    for round_ in range(40):
        tasks = [asyncio.create_task(write(round_ * 10 + number)) for number in range(10)]
        await asyncio.sleep(chance.random() * 0.03)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(PATIENCE_S), world.database.write() as session:
            await session.execute(update(User).values(is_admin=False))
