"""When a branch broke and when it is fixed: sequences of runs, as a table; and what is told to whom."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import select

from hermes import pushes
from hermes.accounts import add_user
from hermes.branch_patterns import is_among
from hermes.cause import Sender
from hermes.columns import Base
from hermes.database import Database
from hermes.notices import EVENTS
from hermes.notifications import Whose, Wish, add_notification, pause
from hermes.plan import Plan
from hermes.queueing import queue_run
from hermes.repos import get_or_make_writable
from hermes.schema import migrate
from hermes.settings import Settings
from hermes.some_ranks import keep
from hermes.states import Event
from hermes.tables import Build, Notification, Outbox, Push, Rank, Repo, Run, User
from hermes.transitions import move
from tests.test_storage import PLAN

_ENDS = {
    "good": (Event.CLAIM, Event.START, Event.SUCCEED),
    "bad": (Event.CLAIM, Event.START, Event.FAIL),
    "slow": (Event.CLAIM, Event.START, Event.TIME_OUT),
    "lost": (Event.LOSE,),
    "unbuilt": (Event.FAIL,),
    "cancelled": (Event.CANCEL,),
}
_OTHER = PLAN.model_copy(update={"args": ["5"]})
_TWO = PLAN.model_copy(update={"ranks": [{}, {}]})

#: What is done, and what is said then. `push main`: a new commit; `same main`: the last commit once more,
#: there; `again`: the last run once more; `schedule` and the rest: the last commit, by that trigger.
SEQUENCES = {
    "a first run that is good": "push main good: succeeded",
    "a first run that is bad": "push main bad: broke",
    "it breaks, stays so, is fixed, stays so": "push main good: succeeded, push main bad: broke, "
    "push main slow: failed, push main lost: failed, push main good: fixed, push main good: succeeded",
    "a build that fails breaks it": "push main good: succeeded, push main unbuilt: broke",
    "each branch for itself": "push main good: succeeded, push next bad: broke, push main good: succeeded, "
    "push next good: fixed, push main bad: broke",
    "tags, too": "push tags/v1 bad: broke, push main bad: broke, same tags/v1 good: fixed",
    "a cancelled run does not count": "push main bad: broke, push main cancelled: cancelled, "
    "push main bad: failed, push main cancelled: cancelled, push main good: fixed",
    "a run again that is good": "push main good: succeeded, push main bad: broke, again good: fixed, "
    "push main good: succeeded",
    "a run again that is bad": "push main bad: broke, again bad: failed, again good: fixed, again bad: broke",
    "a run again of what was cancelled": "push main bad: broke, push main cancelled: cancelled, "
    "again good: fixed",
    "a run again with other values says nothing": "push main good: succeeded, other bad: failed, "
    "push main good: succeeded, push main bad: broke, other good: succeeded, push main bad: failed",
    "an old commit again says nothing": "push main bad: broke, push main good: fixed, old bad: failed, "
    "push main bad: broke, old good: succeeded, push main good: fixed",
    "a schedule is of the default branch": "push main good: succeeded, same next good: succeeded, "
    "schedule bad: broke, push next good: succeeded, push main good: fixed",
    "fetched from elsewhere": "webhook main bad: broke, push main good: fixed, webhook main good: succeeded",
    "calls and files break nothing": "push main good: succeeded, api bad: failed, upload bad: failed, "
    "push main good: succeeded, push main bad: broke, api good: succeeded, push main good: fixed",
}


class World(NamedTuple):
    """A database with one repository, and three who listen to all of it, a policy each."""

    database: Database
    user: User
    repo: Repo


@pytest.fixture(params=["sqlite", "postgresql"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    is_sqlite = request.param == "sqlite"
    url = f"sqlite+aiosqlite:///{tmp_path / 'db'}" if is_sqlite else request.getfixturevalue("postgres_url")
    database = Database(url)
    await migrate(database)
    async with database.write() as session:
        for table in reversed(Base.metadata.sorted_tables):
            await session.execute(table.delete())
        user = await add_user(session, "alice")
        repo = await get_or_make_writable(session, user, "alice", "pi")
    one = World(database, user, repo)
    for policy in EVENTS:
        await listen(one, tmp_path, Wish("webhook", "https://example.org/", policy, ("*",)))
    yield one
    await database.close()


async def listen(world: World, folder: Path, wish: Wish, *, own: bool = False) -> int:
    """Somebody more; returns their number."""
    async with world.database.write() as session:
        whose = Whose(world.user, None if own else world.repo)
        row, _ = await add_notification(session, folder / "key", Settings(), whose, wish)
        return row.id


class Play:
    """Runs one after another, and what was told of each."""

    def __init__(self, world: World, plan: Plan = PLAN) -> None:
        self._world, self._plan, self._commits = world, plan, 0
        self.builds: list[int] = []

    async def push(self, branch: str, trigger: str = "push", *, same: bool = False) -> int:
        """A run of a push."""
        self._commits += not same
        kind = "refs/" if branch.startswith("tags/") else "refs/heads/"
        change = pushes.RefUpdate(f"{kind}{branch}", "0" * 40, f"{self._commits:040x}")
        sender = Sender(self._world.user.id, trigger)
        row = await self._world.database.write_at_once(
            lambda ask: pushes.receive(ask, self._world.repo.id, sender, change, self._plan, "subject")
        )
        async with self._world.database.write() as session:
            run = await pushes.apply(session, await session.get_one(Push, row.id))
        assert run is not None
        self.builds.append(run.build_id)
        return run.id

    async def more(self, trigger: str, plan: Plan | None = None, build: int = -1) -> int:
        """A run of a commit that is there."""
        async with self._world.database.write() as session:
            row = await session.get_one(Build, self.builds[build])
            sender = Sender(self._world.user.id, trigger)
            return (await queue_run(session, row, plan or self._plan, sender)).id

    async def begin(self, words: list[str]) -> int:
        """As the table says it."""
        match words:
            case ["push" | "webhook" as trigger, branch]:
                return await self.push(branch, trigger)
            case ["same", branch]:
                return await self.push(branch, same=True)
            case ["again"]:
                return await self.more("retry")
            case ["other"]:
                return await self.more("retry", _OTHER)
            case ["old"]:
                return await self.more("retry", build=0)
            case [trigger]:
                return await self.more(trigger)
        raise AssertionError(words)

    async def end(self, run_id: int, how: str) -> str:
        """All its ranks end so; what was told of it, the same to all who heard it."""
        async with self._world.database.write() as session:
            for rank in (await session.scalars(select(Rank).where(Rank.run_id == run_id))).all():
                for event in _ENDS[how]:
                    assert await move(session, rank, event)
        told = {row.payload["event"] for row in await self.told(run_id)}
        assert len(told) == 1, told
        return str(told.pop())

    async def told(self, run_id: int) -> list[Outbox]:
        """The messages about it."""
        async with self._world.database.read() as session:
            rows = (await session.scalars(select(Outbox).where(Outbox.topic == "notice"))).all()
            return [row for row in rows if row.payload["run"] == run_id]


@pytest.mark.parametrize("sequence", SEQUENCES.values(), ids=SEQUENCES.keys())
async def test_what_is_said_of_a_sequence(world: World, sequence: str) -> None:
    play, said = Play(world), []
    for step in sequence.split(", "):
        words, _, event = step.partition(": ")
        *what, how = words.split()
        run_id = await play.begin(what)
        said.append(f"{words}: {await play.end(run_id, how)}")
        heard = len(await play.told(run_id))
        assert heard == sum(event in events for events in EVENTS.values()), step
    assert said == sequence.split(", ")


async def test_a_run_that_ends_after_a_later_one_has_changed_nothing(world: World) -> None:
    play = Play(world)
    first, second, third = [await play.push("main") for _ in range(3)]
    assert await play.end(second, "good") == "succeeded"
    assert await play.end(first, "bad") == "failed"
    assert await play.end(third, "bad") == "broke"
    assert {row.payload["previous"] for row in await play.told(third)} == {second}


async def test_failed_ranks_again_that_succeed_have_fixed_it(world: World) -> None:
    play = Play(world, _TWO)
    assert await play.end(await play.push("main"), "bad") == "broke"
    assert await play.end(await play.more("retry", keep(_TWO, [1])), "good") == "fixed"


async def test_who_is_told(world: World, tmp_path: Path) -> None:
    """A repository's without branches hear the default one; a user's all of their own runs; who is paused,
    nothing."""
    default = await listen(world, tmp_path, Wish("slack", "https://example.org/"))
    release = await listen(
        world, tmp_path, Wish("slack", "https://example.org/", "all", ("release/*", "next"))
    )
    mine = await listen(world, tmp_path, Wish("slack", "https://example.org/"), own=True)
    quiet = await listen(world, tmp_path, Wish("slack", "https://example.org/"))
    async with world.database.write() as session:
        await pause(session, await session.get_one(Notification, quiet), "by alice")
        others = await add_user(session, "bob")
    play, more = Play(world), {default, release, mine, quiet}
    heard = {}
    for branch in ("main", "release/2", "feature"):
        run_id = await play.push(branch)
        await play.end(run_id, "bad")
        heard[branch] = {row.payload["notification"] for row in await play.told(run_id)} & more
    assert heard == {"main": {default, mine}, "release/2": {release, mine}, "feature": {mine}}
    bobs = await Play(world._replace(user=others)).push("main")
    await play.end(bobs, "good")
    assert {row.payload["notification"] for row in await play.told(bobs)} & more == {default}


async def test_a_message_is_there_with_the_end_and_only_then(world: World) -> None:
    """One transaction: what is rolled back tells nobody."""
    play = Play(world)
    run_id = await play.push("main")
    with pytest.raises(ZeroDivisionError):
        async with world.database.write() as session:
            rank = (await session.scalars(select(Rank).where(Rank.run_id == run_id))).one()
            assert await move(session, rank, Event.FAIL)
            raise ZeroDivisionError
    async with world.database.read() as session:
        assert (await session.get_one(Run, run_id)).ended_at is None
    assert await play.told(run_id) == []


@pytest.mark.parametrize(
    "branch, patterns, is_meant",
    [
        ("main", ["main"], True),
        ("release/1", ["release/*"], True),
        ("main", ["m?in", "x"], True),
        ("x", [], False),
    ],
)
def test_patterns(branch: str, patterns: list[str], is_meant: bool) -> None:
    assert is_among(branch, patterns) is is_meant
