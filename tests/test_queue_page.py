"""The order of the queue and the dashboard: on SQLite and PostgreSQL, and as people see them."""

import time
from pathlib import Path

from sqlalchemy import select, update

from hermes.accounts import add_user
from hermes.cause import Sender
from hermes.order import Order, read_order
from hermes.queueing import queue_run
from hermes.repos import get_or_make_writable
from hermes.states import State
from hermes.tables import Build, GpuSample, Rank, Run, Runner, User
from hermes.totals import totals_of
from tests.programs import shell
from tests.service import Service, wait_for
from tests.test_pages import signed_in
from tests.test_storage import PLAN, World, built, world  # noqa: F401  (fixtures)
from web import overview
from web.ranks import look_at_ranks
from web.samples import read_samples

GPU_PLAN = PLAN.model_copy(update={"gpu": PLAN.gpu.model_copy(update={"count": 1}), "ranks": [{}] * 3})


async def crowd(world: World) -> tuple[User, User]:  # noqa: F811
    """Alice has a run of three ranks in the queue, then bob comes with one rank, and alice with one more."""
    await built(world)
    async with world.database.write() as session:
        await session.execute(update(Rank).values(state=State.SUCCEEDED))
        await session.execute(update(Run).values(state=State.SUCCEEDED, started_at=100.0, ended_at=160.0))
        bob = await add_user(session, "bob")
        hidden = await get_or_make_writable(session, bob, "bob", "secret")
        build = (await session.scalars(select(Build))).one()
        theirs = Build(
            repo_id=hidden.id, user_id=bob.id, commit_sha="b" * 40, inputs="", plan=PLAN.model_dump(),
            state=State.BUILT, created_at=0.0,
        )  # fmt: skip
        session.add(theirs)
        await session.flush()
        await queue_run(session, build, GPU_PLAN, Sender(world.user.id, "api"))
        await queue_run(session, theirs, GPU_PLAN.model_copy(update={"ranks": [{}]}), Sender(bob.id, "api"))
        await queue_run(session, build, PLAN, Sender(world.user.id, "api"))
        gpu = {"uuid": "GPU-1", "index": 0, "model": "H200", "memory_bytes": 1 << 40, "capability": "9.0"}
        session.add(
            Runner(name="vm", executor="local", cpus=1, memory_bytes=1, gpus=[gpu], seen_at=time.time() + 600)
        )
    return world.user, bob


async def order_for(world: World, viewer: User, skip: int = 0) -> Order:  # noqa: F811
    async with world.database.read() as session:
        return await read_order(session, viewer, skip, 50)


async def test_everybody_sees_the_whole_order_and_nobody_a_hidden_repo(world: World) -> None:  # noqa: F811
    alice, bob = await crowd(world)
    seen = await order_for(world, alice)
    assert [(each.number, each.user, each.name, each.ranks) for each in seen.places] == [
        (1, "alice", "alice/pi", 3),
        (2, "bob", "", 1),
        (3, "alice", "alice/pi", 1),
    ]
    assert (seen.first, seen.before, seen.total) == (1, {}, 3)
    assert [each.turns for each in seen.places] == [0, 0, 3]
    assert seen.places[1].why == "" and seen.places[0].why
    theirs = await order_for(world, bob)
    assert (theirs.first, theirs.before) == (2, {"alice": 1})
    assert [each.name for each in theirs.places] == ["", "bob/secret", ""]
    assert [(turn.user, turn.waiting) for turn in theirs.turns] == [("bob", 1), ("alice", 4)]
    assert 50 < theirs.turns[0].later_s < 70 and theirs.turns[1].later_s > 170
    rest = await order_for(world, bob, skip=2)
    assert [each.number for each in rest.places] == [3]
    assert (await order_for(world, bob, skip=9)).places == []


async def test_a_start_is_guessed_from_what_was_and_else_not_at_all(world: World) -> None:  # noqa: F811
    alice, _ = await crowd(world)
    places = (await order_for(world, alice)).places
    assert places[0].starts_in_s == 0.0  # the GPU is free
    assert places[1].starts_in_s is None  # bob's repository never ran: nobody knows how long it takes
    assert places[2].starts_in_s is None  # it wants no GPU
    async with world.database.write() as session:
        own = select(Run.id).where(Run.user_id != alice.id)
        await session.execute(update(Run).where(Run.id.in_(own)).values(repo_id=world.repo.id))
    assert (await order_for(world, alice)).places[1].starts_in_s == 180.0  # three ranks of a minute


async def test_the_dashboard_and_the_figures_read_both_databases(world: World) -> None:  # noqa: F811
    alice, _ = await crowd(world)
    async with world.database.write() as session:
        rank = (await session.scalars(select(Rank).order_by(Rank.id))).first()
        assert rank is not None
        rank.summary = {"wall_s": 1.5, "peak_memory_bytes": 7 << 40, "artifacts": 2}
        rank.exit_code = 0
        run_id = rank.run_id
        sample = {"rank_id": rank.id, "attempt": 0, "cpu_percent": 1.0, "memory_bytes": 1, "gpus": []}
        session.add_all(GpuSample(at=float(at), **sample) for at in range(3500))
    async with world.database.read() as session:
        assert await totals_of(session, run_id) == {
            "wall_s": 1.5,
            "peak_memory_bytes": 7 << 40,
            "artifacts": 2,
        }
        found = await read_samples(session, rank)
        assert found.every == 2 and found.rows[-1].at == 3499.0
        now = await overview.current(session, alice)
        assert [line.state for line, _ in now] == [State.QUEUED, State.QUEUED] and all(why for _, why in now)
        assert [each.line.id for each in await overview.results(session, alice)] == [run_id]
        standing = (await overview.standings(session, alice))[0]
        assert (standing.owner, standing.repo.name, standing.state) == ("alice", "pi", State.QUEUED)
        assert len(await overview.builds(session, alice)) == 1
    many = GPU_PLAN.model_copy(update={"ranks": [{}] * 2001})
    async with world.database.write() as session:
        build = (await session.scalars(select(Build).where(Build.repo_id == world.repo.id))).one()
        big = await queue_run(session, build, many, Sender(alice.id, "api"))
    async with world.database.read() as session:
        ranks = await look_at_ranks(session, Rank(run_id=big.id, number=2000, position=2000))
    assert [block.counts for block in ranks.blocks] == [{State.QUEUED: n} for n in (1000, 1000, 1)]
    assert (len(ranks.cells), ranks.later, ranks.earlier) == (1, None, 1980)


def test_a_person_sees_why_they_wait_and_strangers_nothing(service: Service, bob: str) -> None:
    limits = '[run]\ncpus = 8\nmemory = "64M"\n[gpu]\ncount = 0\n'
    first = service.push(shell("sleep 600\n", limits), "detach", repo="queue-first")
    wait_for(lambda: service.commit_page(first)["runs"][0]["state"] == "running")
    second = service.push(shell("true\n", limits), "detach", repo="queue-second")
    run = wait_for(lambda: service.commit_page(second)["runs"])[0]
    wait_for(lambda: service.commit_page(second)["builds"][0]["state"] == "built")
    with signed_in(service, service.token) as client:
        page, home = client.get("/queue").text, client.get("/").text
        assert f'href="/runs/{run["id"]}">run {run["id"]}</a>' in page and "Your first run is next" in page
        assert "alice/queue-first" in page and "the CPUs held by" in page
        assert "waiting the CPUs held by alice/queue-first" in home and "alice/queue-second" in home
    with signed_in(service, bob) as other:
        page = other.get("/queue").text
        assert "a run of alice" in page and "queue-second" not in page and "queue-first" not in page
        assert "You have nothing in the queue" in page and f"/runs/{run['id']}" not in page
        assert "queue-" not in other.get("/").text
    with service.client("") as nobody:
        assert nobody.get("/queue").headers["location"] == "/signin?next=/queue"
    with service.client() as client:
        for pushed in (first, second):
            number = service.commit_page(pushed)["runs"][0]["id"]
            assert client.post(f"/api/v1/runs/{number}/cancel").status_code == 202
    service.settled(first)


def test_results_are_shown_with_their_files(service: Service) -> None:
    files = shell('echo 1 > "$HERMES_OUTPUT_DIR/result.csv"\n', "[gpu]\ncount = 0\n")
    run = service.run_of(service.push(files, repo="with-files"))
    with signed_in(service, service.token) as client:
        page = client.get("/").text
    address = Path(run["artifacts"][0]["url"]).name
    assert f'{address}" download>result.csv</a>' in page
    row = page.partition('id="repos"')[2].partition("alice/with-files")[2]
    assert "s-succeeded" in row[:200]
