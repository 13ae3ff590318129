"""What a run has waited for, told afterwards from who held its place meanwhile."""

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import select

from hermes.states import State
from hermes.tables import Rank, Run, User
from tests.access_tools import ask, browsing, open_house
from tests.programs import go_on, shell, told
from tests.service import Service, wait_for
from tests.test_queue_page import GPU_PLAN, crowd
from tests.test_settings_browser import at
from tests.test_storage import World, world  # noqa: F401  (fixtures)
from web.waits import Hold, Stretch, Wait, read_holds, stretches

WAIT = Wait(9, 100.0, 160.0)


def hold(run_id: int, began_at: float, ended_at: float, user: str = "bob", name: str = "nbody") -> Hold:
    return Hold(run_id, user, user, f"{user}/{name}" if name else "", "GPU 0", began_at, ended_at)


def story(*holds: Hold, wait: Wait = WAIT) -> list[tuple[str, float, int]]:
    found = stretches(wait, holds)
    assert [each.began_at for each in found] == [wait.began_at, *(each.ended_at for each in found[:-1])]
    assert found[-1].ended_at == wait.ended_at
    return [(each.words, round(each.ended_at - each.began_at, 3), each.run_id) for each in found]


def test_a_wait_is_told_by_who_held_the_place() -> None:
    assert story() == [("", 60.0, 0)]
    assert story(hold(5, 50, 112)) == [("GPU 0 held by bob/nbody (run 5)", 12.0, 5), ("", 48.0, 0)]
    assert story(hold(5, 50, 500)) == [("GPU 0 held by bob/nbody (run 5)", 60.0, 5)]
    assert story(hold(5, 50, 112, name="")) == [("GPU 0 held by a run of bob", 12.0, 0), ("", 48.0, 0)]
    assert story(hold(9, 50, 159.5)) == [("other ranks of this run went first", 60.0, 0)]


def test_who_came_meanwhile_is_counted_by_user() -> None:
    first = hold(5, 50, 112)
    carol = [hold(6 + n, 112.2 + 10 * n, 122 + 10 * n, "carol") for n in range(3)]
    assert story(first, *carol, hold(20, 142.5, 159.9, "dave")) == [
        ("GPU 0 held by bob/nbody (run 5)", 12.2, 5),
        ("3 runs of carol went first", 30.3, 0),
        ("dave/nbody (run 20) went first", 17.5, 20),
    ]


def test_of_several_that_hold_at_once_the_first_to_end_counts() -> None:
    assert story(hold(1, 0, 200), hold(2, 0, 130, "carol"), hold(3, 0, 120, "dave")) == [
        ("GPU 0 held by dave/nbody (run 3)", 20.0, 3),
        ("GPU 0 held by carol/nbody (run 2)", 10.0, 2),
        ("GPU 0 held by bob/nbody (run 1)", 30.0, 1),
    ]


def test_a_long_story_is_short_and_its_unknown_beginning_is_said() -> None:
    many = [hold(10 + n, 100 + 3 * n, 103 + 3 * n, f"user{n}") for n in range(20)]
    found = story(*many)
    assert len(found) == 8 and found[-1] == ("13 other runs went first", 39.0, 0)
    cut = story(hold(5, 150, 159.9), wait=Wait(9, 100.0, 160.0, known_from=150.0))
    assert cut == [
        ("more than 500 other ranks went first", 50.0, 0),
        ("bob/nbody (run 5) went first", 10.0, 5),
    ]
    began = time.thread_time()
    stretches(Wait(9, 0, 1000), [hold(n, n, n + 900.0, f"user{n}") for n in range(1000)])
    assert time.thread_time() - began < 0.2


async def test_rows_tell_who_held_the_gpu_and_hide_what_is_hidden(world: World) -> None:  # noqa: F811
    alice, bob = await crowd(world)
    async with world.database.write() as session:
        ranks = (
            await session.scalars(select(Rank).order_by(Rank.id).where(Rank.state == State.QUEUED))
        ).all()
        now = time.time()
        runs = {run.id: run for run in (await session.scalars(select(Run))).all()}
        bobs = next(rank for rank in ranks if runs[rank.run_id].user_id == bob.id)
        mine = next(rank for rank in ranks if runs[rank.run_id].user_id == alice.id)
        for rank, gpu, began_at, ended_at in (
            (bobs, "GPU-1", now - 60, now - 20),
            (mine, "GPU-1", now - 10, None),
        ):
            rank.state, rank.claimed_at, rank.ended_at = State.RUNNING, began_at, ended_at
            rank.slot = {"gpus": [gpu], "runner": "vm", "cpus": 1.0, "memory_bytes": 1}
        mine.created_at = now - 40
        run = runs[mine.run_id]
    wait = Wait(run.id, now - 40, now - 10)
    for viewer, who in (
        (alice, "a run of bob"),
        (bob, f"bob/secret (run {bobs.run_id})"),
        (None, "a run of bob"),
    ):
        assert await whole_story(world, viewer, run, mine, wait) == [f"GPU 0 (H200) held by {who}", ""]
    other = mine.slot | {"gpus": ["GPU-2"]} if mine.slot else {}
    mine.slot = other
    assert await whole_story(world, alice, run, mine, wait) == [""]
    assert GPU_PLAN.gpu.count == 1


async def whole_story(world: World, viewer: User | None, run: Run, rank: Rank, wait: Wait) -> list[str]:  # noqa: F811
    async with world.database.read() as session:
        holds, wait = await read_holds(session, viewer, run, rank, wait, 3600)
    found: list[Stretch] = stretches(wait, holds)
    return [each.words for each in found]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance with one CPU."""
    yield from open_house(tmp_path_factory.mktemp("house"), HERMES_CPUS="1", HERMES_TRUST="all")


@pytest.fixture(scope="module")
def waited(house: Service) -> dict[str, Any]:
    """A run that has waited for alice's own and for bob's."""
    bob = house.add_user("bob")
    script, files = told("echo begun", "")
    first = house.push(files, "detach", repo="alice/first")
    run = house.commit_page(first)["runs"][0]
    wait_for(lambda: house.read_log("runs", run["id"]) == b"begun\n")
    house.push(shell("sleep 1.5"), "detach", repo="bob/second", token=bob, user="bob")
    third = house.push(shell("true"), "detach", repo="alice/third")
    wait_for(lambda: ask(house, "SELECT count(*) FROM build WHERE state = 'built'") == [(3,)])
    go_on(script)  # both have waited for it
    run = house.run_of(third)
    assert run["state"] == "succeeded", run
    return run


def test_the_page_of_a_run_says_what_it_has_waited_for(house: Service, waited: dict[str, Any]) -> None:
    with browsing(house, house.token) as owner:
        page = owner.get(f"/runs/{waited['id']}").text
    life = page.partition('<div class="life">')[2].partition("</ol>")[0]
    items = [" ".join(re.sub(r"<[^>]+>", "", item).split()) for item in life.split("<li>")[1:]]
    assert re.fullmatch(r"the CPUs held by alice/first \(run 1\) \d.* s", items[-5]), items
    assert re.fullmatch(r"a run of bob went first \d.* s", items[-4]), items
    assert '<a href="/runs/1">run 1</a>' in life and "bob/second" not in page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_telephone_without_scripts(
    house: Service, browser: Browser, waited: dict[str, Any], scheme: Any
) -> None:
    how = {"viewport": {"width": 360, "height": 800}, "color_scheme": scheme, "java_script_enabled": False}
    with at(house, browser, **how) as page:
        page.goto(f"/runs/{waited['id']}")
        expect(page.locator(".life li", has_text="a run of bob went first")).to_be_visible()
        bar = page.get_by_role("img", name="the CPUs held by alice", exact=False)
        assert bar.locator("rect").count() == page.locator(".life li").count()
        box = bar.bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= 360
