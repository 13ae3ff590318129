"""Old data go by age and for room, never what lasts; what went says when, why and what to do about it."""

import asyncio
import fcntl
import html
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hermes.cli.commands import hermes
from hermes.discard import mark
from hermes.disk import held
from hermes.paths import Paths
from hermes.process import open_context
from hermes.removals import Data
from hermes.settings import load_settings
from hermes.units import show_size
from tests.access_tools import browsing
from tests.service import Pushed, Service, living, wait_for
from tests.small_disk import SmallDisk

DAY_S = 86400.0
LEAVES = """
cd "$HERMES_OUTPUT_DIR"
printf same > same.txt
printf "%s" "$1" > own.txt
echo "$1"
"""
BUILD_OLD = "UPDATE build SET ended_at = ended_at - ?, created_at = created_at - ? WHERE id = ?"
RUN_OLD = "UPDATE run SET ended_at = ended_at - ?, created_at = created_at - ? WHERE id = ?"


def program(word: str, more: str = "") -> dict[str, str | bytes]:
    return {
        "Makefile": f"all:\n\t@echo building {word}\n",
        "main.sh": LEAVES,
        "hermes.toml": f'{more}handler = "sh main.sh"\n[run]\nargs = ["{word}"]\ncpus = 1\nmemory = "64M"\n',
    }


class House(Service):
    """With what an operator does, and a clock that can be put back."""

    @property
    def paths(self) -> Paths:
        return Paths(Path(self.environment()["HERMES_DATA"]))

    def execute(self, statement: str, *values: object) -> list[Any]:
        with closing(sqlite3.connect(self.paths.root / "hermes.db", timeout=20)) as database, database:
            return database.execute(statement, values).fetchall()

    def make_old(self, pushed: Pushed, days: float = 400) -> None:
        """All of it has ended so long ago."""
        for run in self.commit_page(pushed)["runs"]:
            self.make_run_old(run["id"], days)
        for build in self.commit_page(pushed)["builds"]:
            values = (days * DAY_S, days * DAY_S, build["id"])
            self.execute(BUILD_OLD, *values)

    def make_run_old(self, run: int, days: float = 400) -> None:
        values = (days * DAY_S, days * DAY_S, run)
        self.execute(RUN_OLD, *values)
        for (sha,) in self.execute("SELECT sha256 FROM artifact WHERE run_id = ?", run):
            then = time.time() - days * DAY_S
            os.utime(self.paths.artifact(sha), (then, then))

    def retention(self, *options: str) -> dict[str, Any]:
        """The operator's command, in this process: starting others takes longer."""
        words = ["admin", "retention", "--json", *options]
        done = CliRunner().invoke(hermes, words, env=self.environment(), catch_exceptions=False)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def old(self) -> set[tuple[str, int]]:
        return {(each["kind"], each["id"]) for each in self.retention()["items"]}

    def sweep(self) -> dict[str, int]:
        removed: dict[str, int] = self.retention("--now")["removed"]
        return removed

    def pushed(self, repo: str, word: str, more: str = "", **how: Any) -> Pushed:
        tree = how.pop("tree", None)
        if tree is not None:
            tree.write(program(word, more)).commit(word)
        done = self.push(tree or program(word, more), repo=repo, **how)
        assert self.run_of(done)["state"] == "succeeded", done.output
        return done


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    env = {"HERMES_EXECUTOR": "local", "HERMES_TRUST": "all", "HERMES_REDIS_URL": "none", "HERMES_POLL": "1"}
    one = House(tmp_path_factory.mktemp("retention"), env | {"HERMES_FREE_LOW": "0"})
    one.token = one.add_user(one.user)
    one.start()
    yield one
    assert one.stop() == 0, one.log[-3000:]
    assert "Traceback" not in one.log, one.log[one.log.index("Traceback") - 500 :][:4000]


def test_age_takes_what_is_not_the_newest_and_says_so_everywhere(house: House) -> None:
    first = house.pushed("aged", "one")
    second = house.pushed("aged", "two", tree=first.tree)
    for each in (first, second):
        house.make_old(each)
    old_run, new_run = house.run_of(first)["id"], house.run_of(second)["id"]
    old_build = house.commit_page(first)["builds"][0]["id"]
    assert {each for each in house.old() if each[0] != "caches"} == {
        ("artifacts", old_run), ("logs", old_run), ("images", old_build), ("build logs", old_build)
    }  # fmt: skip
    artifacts = {each["path"]: each for each in house.api(f"/runs/{old_run}")["artifacts"]}
    counts = house.sweep()
    assert [counts[what] for what in ("artifacts", "logs", "images", "build logs")] == [1, 1, 1, 1]
    assert house.old() == set()
    run = house.api(f"/runs/{old_run}")
    removed = {each["what"]: each["why"] for each in run["removed"]}
    assert removed == {
        "logs": "after 365 d (HERMES_KEEP_LOGS)",
        "artifacts": "after 90 d (HERMES_KEEP_ARTIFACTS)",
    }
    for each in run["artifacts"]:
        assert each["removed_at"] and each["sha256"] == artifacts[each["path"]]["sha256"]
    today = time.strftime("%Y-%m-%d", time.gmtime(run["artifacts"][0]["removed_at"]))
    words = f"the artifacts of run {old_run} were removed on {today} after 90 d (HERMES_KEEP_ARTIFACTS)"
    own = artifacts["own.txt"]["url"].removeprefix(house.url)
    with house.client() as client:
        for path in (own, f"/runs/{old_run}/artifacts.zip", f"/api/v1/runs/{old_run}/artifacts/0/own.txt"):
            answer = client.get(path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (410, "gone"), path
            assert answer.json()["error"]["message"] == words
        page = client.get(own, headers={"Authorization": f"Bearer {house.token}", "Accept": "text/html"})
        assert page.status_code == 410
        logs = [
            f"/runs/{old_run}/{part}"
            for part in ("log", "log/lines", "log/search?q=x", "log/outline", "logs")
        ]
        for path in (*logs, f"/api/v1/runs/{old_run}/log", f"/builds/{old_build}/log"):
            answer = client.get(path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (410, "gone"), path
        for path in (f"/runs/{old_run}", f"/alice/aged/commit/{first.sha}", f"/runs/{old_run}/artifacts"):
            answer = client.get(path, headers={"Accept": "text/html"})
            assert answer.status_code == 200
            assert f"rtifacts of run {old_run} were removed on {today}" in answer.text, path
            assert own not in answer.text
        shown = client.get(f"/builds/{old_build}", headers={"Accept": "text/html"}).text
        assert f"The logs of build {old_build} were removed on {today}" in shown
        assert f"removed on {today} after 30 d (HERMES_KEEP_IMAGES); the next run builds it again" in shown
        events = client.get(f"/runs/{old_run}/events", headers={"Accept": "text/event-stream"})
        assert events.status_code == 200 and "succeeded" in events.text
        for path in ("/alice/aged/latest/log", "/alice/aged/latest/artifacts/own.txt"):
            answer = client.get(path, follow_redirects=True)
            assert (answer.status_code, answer.text.strip()) == (200, "two"), path
        same = {each["path"]: each for each in house.api(f"/runs/{new_run}")["artifacts"]}["same.txt"]
        assert client.get(same["url"].removeprefix(house.url)).text == "same"  # of both runs
    assert not house.paths.artifact(artifacts["own.txt"]["sha256"]).exists()
    (act,) = house.execute("SELECT subject FROM audit WHERE act = 'old data removed'")
    assert "artifacts of 1" in act[0] and "images of 1" in act[0]


def test_an_admin_sees_the_disk_and_what_went_last(house: House) -> None:
    first = house.pushed("shown", "one")
    house.pushed("shown", "two", tree=first.tree)
    house.make_old(first)
    run = house.run_of(first)["id"]
    house.sweep()
    token = house.admin("user", "add", "--admin", "root").stdout.strip()
    with browsing(house, token) as client:

        def measured() -> str:
            page = client.get("/admin").text
            return page if "being measured" not in page else ""

        page = wait_for(measured)
    removed = "SELECT subject, detail FROM audit WHERE act = 'old data removed' ORDER BY id DESC LIMIT 1"
    ((what, freed),) = house.execute(removed)
    assert "artifacts of " in what and f"{freed} was freed" in page and html.escape(what) in page
    size = os.statvfs(house.paths.root)
    assert f"of {show_size(size.f_blocks * size.f_frsize)}" in page and "repositories</td>" in page
    assert "Nothing is removed to make room" in page  # as this instance is set up
    told = house.retention()
    assert told["disk_bytes"] == size.f_blocks * size.f_frsize and told["repositories_bytes"] > 0
    assert (told["last"]["what"], told["last"]["freed"], told["last"]["by"]) == (what, freed, "hermes admin")
    assert house.api(f"/runs/{run}")["removed"]


def test_what_somebody_keeps_stays_until_nobody_does(house: House) -> None:
    first = house.pushed("kept", "one")
    for word in ("two", "three"):
        last = house.pushed("kept", word, tree=first.tree)
        house.make_old(last)
    house.make_old(first)
    kept, build = house.run_of(first)["id"], house.commit_page(first)["builds"][0]["id"]
    with house.client() as client:
        answer = client.post(f"/api/v1/runs/{kept}/keep")
        assert (answer.status_code, answer.json()["kept_by"]) == (200, house.user)
        assert client.post(f"/api/v1/runs/{kept}/keep").json()["kept_at"] == answer.json()["kept_at"]
    going = {each for each in house.old() if each[0] in ("artifacts", "logs", "build logs")}
    assert going and not going & {("artifacts", kept), ("logs", kept), ("build logs", build)}
    house.sweep()
    run = house.api(f"/runs/{kept}")
    assert run["removed"] == [] and house.read_log("runs", kept)
    with house.client() as client:
        assert all(client.get(each["url"]).status_code == 200 for each in run["artifacts"])
        page = client.get(f"/runs/{kept}", headers={"Accept": "text/html"}).text
        assert f"kept by {house.user}" in page and "Keep no longer" in page
        gone = client.post(f"/api/v1/runs/{kept}/unkeep").json()
        assert (gone["kept_at"], gone["kept_by"]) == (None, "")
    assert {("artifacts", kept), ("logs", kept), ("build logs", build)} <= house.old()
    house.sweep()
    assert {each["what"] for each in house.api(f"/runs/{kept}")["removed"]} == {"logs", "artifacts"}
    acts = house.execute("SELECT act FROM audit WHERE subject = ? ORDER BY id", f"run {kept}")
    assert [act for (act,) in acts] == ["run kept", "run kept no longer"]


def test_a_run_that_is_kept_while_a_sweep_goes_on_stays(house: House) -> None:
    """Its plan was made before; it marks nothing that is kept by then."""
    first = house.pushed("late", "one")
    house.pushed("late", "two", tree=first.tree)
    house.make_old(first)
    kept = house.run_of(first)["id"]
    with house.client() as client:
        client.post(f"/api/v1/runs/{kept}/keep")

    async def mark_it() -> list[int]:
        async with open_context(load_settings(house.environment())) as context:
            return await mark(context, Data.LOGS, {kept: "after 1 d"})

    assert asyncio.run(mark_it()) == []
    assert house.read_log("runs", kept)


def test_a_removed_image_is_built_again_by_a_push_by_a_run_again_and_by_an_invocation(house: House) -> None:
    first = house.pushed("images", "one")
    house.pushed("images", "two", tree=first.tree)
    build = house.commit_page(first)["builds"][0]["id"]
    run = house.run_of(first)["id"]

    def remove() -> None:
        house.make_old(first)
        house.sweep()
        assert not house.paths.image(build).exists()

    remove()
    with house.client() as client:
        again = client.post(f"/api/v1/runs/{run}/again", json={}).json()
        assert wait_for(lambda: house.api(f"/runs/{again['id']}")["state"] == "succeeded")
        assert house.read_log("runs", again["id"]) == b"one\n"
        assert house.read_log("builds", build).startswith(b"building one")
        assert house.api(f"/builds/{build}")["removed"] == []
        house.make_run_old(again["id"])
        remove()
        name = f"/api/v1/functions/alice/images@{first.sha[:12]}/runs?wait=600"
        invoked = client.post(name, content=b"").json()
        assert (invoked["state"], invoked["ranks"][0]["exit_code"]) == ("succeeded", 0)
        house.make_run_old(invoked["id"])
    remove()
    first.tree.git("checkout", "-q", first.sha)
    third = house.push(first.tree, repo="images", refs=("HEAD:refs/heads/old",))
    assert "building one" in third.output and third.code == 0, third.output
    assert house.run_of(third)["state"] == "succeeded"
    assert house.paths.image(build).exists()


def test_an_image_that_is_lost_otherwise_is_built_again_too(house: House) -> None:
    pushed = house.pushed("lost-image", "one")
    house.paths.image(house.commit_page(pushed)["builds"][0]["id"]).unlink()
    with house.client() as client:
        again = client.post(f"/api/v1/runs/{house.run_of(pushed)['id']}/again", json={}).json()
    assert wait_for(lambda: house.api(f"/runs/{again['id']}")["state"] == "succeeded")


def test_versions_branches_and_what_waits_last(house: House) -> None:
    named = house.pushed("lasting", "one", 'version = "1.0.0"\n')
    side = house.pushed("lasting", "side", refs=("HEAD:refs/heads/side",), tree=named.tree)
    main = house.pushed("lasting", "two", tree=named.tree)
    broken = named.tree.write({"Makefile": "all:\n\t@false\n"}).commit("broken")
    failed = house.push(named.tree, repo="lasting")
    assert failed.code == 0 and failed.sha == broken
    for each in (named, side, main):
        house.make_old(each)
    found = house.old()
    kept = {"named": named, "side": side, "main": main}
    builds = {name: house.commit_page(each)["builds"][0]["id"] for name, each in kept.items()}
    runs = {name: house.run_of(each)["id"] for name, each in kept.items()}
    assert ("build logs", builds["named"]) in found and ("artifacts", runs["named"]) in found
    assert (
        not {("images", each) for each in builds.values()} & found
    )  # :1.0.0, the newest of side and of main
    assert not {(what, runs[name]) for what in ("artifacts", "logs") for name in ("side", "main")} & found
    house.push(named.tree, repo="lasting", refs=(":refs/heads/side",))
    found = house.old()
    assert {("images", builds["side"]), ("artifacts", runs["side"])} <= found  # the branch is gone
    house.sweep()
    assert house.paths.image(builds["named"]).exists() and house.paths.image(builds["main"]).exists()


def test_inputs_and_results_go_and_a_run_again_says_what_it_lacks(house: House) -> None:
    house.pushed("invoked", "one")
    with house.client() as client:
        name = "/api/v1/functions/alice/invoked/runs?wait=600"
        runs = [client.post(name, content=each).json()["id"] for each in (b"a", b"b")]
        shared = client.post(f"/api/v1/runs/{runs[0]}/again", json={}).json()["id"]
        assert wait_for(lambda: house.api(f"/runs/{shared}")["state"] == "succeeded")
        newest = client.post(name, content=b"c").json()["id"]
        for run in (*runs, shared):
            house.make_run_old(run, 40)
        house.make_run_old(shared, -30)  # ten days
        ((token,),) = house.execute("SELECT token FROM input WHERE run_id = ?", runs[0])
        assert house.old() >= {(what, run) for what in ("inputs", "results") for run in runs}
        house.sweep()
        assert house.paths.input(token).exists()  # the other run has it, too
        answer = client.get(f"/api/v1/runs/{runs[0]}/result")
        assert answer.status_code == 410 and "(HERMES_KEEP_RESULTS)" in answer.json()["error"]["message"]
        again = client.post(f"/api/v1/runs/{runs[1]}/again", json={})
        assert again.status_code == 410, again.text
        assert again.json()["error"]["hint"] == "invoke the function again, with its input"
        assert client.get(f"/api/v1/runs/{newest}/result").status_code == 200
        assert client.get(f"/api/v1/runs/{runs[0]}/output").status_code == 410
        page = client.get(f"/runs/{runs[0]}", headers={"Accept": "text/html"}).text
        assert "(HERMES_KEEP_RESULTS)" in page
        house.make_run_old(shared, 400)
        house.sweep()
    assert not house.paths.input(token).exists()


def test_what_a_run_stores_at_this_moment_is_not_removed_with_its_elder(house: House) -> None:
    """The bytes are there, the row that needs them not yet."""
    first = house.pushed("racing", "elder")
    house.pushed("racing", "younger", tree=first.tree)
    house.make_old(first)
    artifact = next(each for each in house.run_of(first)["artifacts"] if each["path"] == "own.txt")
    stored = house.paths.artifact(artifact["sha256"])
    os.utime(stored)  # as `replace` has just left it
    house.sweep()
    assert stored.exists()
    with house.client() as client:
        assert client.get(artifact["url"].removeprefix(house.url)).status_code == 410
    then = time.time() - 2 * DAY_S
    os.utime(stored, (then, then))  # nobody has come for it
    house.sweep()
    assert not stored.exists()


def test_storing_and_removing_wait_for_each_other(tmp_path: Path) -> None:
    file, order = tmp_path / "digest", list[str]()

    def store() -> None:
        with held(file, fcntl.LOCK_SH):
            order.append("stored")

    with held(file, fcntl.LOCK_EX):
        thread = threading.Thread(target=store)
        thread.start()
        thread.join(0.2)
        order.append("removed")
    thread.join()
    assert order == ["removed", "stored"]


def test_what_a_killed_sweep_has_left_goes_with_the_next(house: House) -> None:
    """Its row says that it is gone; the files are there."""
    first = house.pushed("killed", "one")
    house.pushed("killed", "two", tree=first.tree)
    run = house.run_of(first)["id"]
    ((rank,),) = house.execute("SELECT id FROM rank WHERE run_id = ?", run)
    house.execute("INSERT INTO removal VALUES ('logs', ?, ?, 'after 1 d', NULL)", run, time.time())
    log = house.paths.log("rank", rank, 1)
    assert log.exists()
    house.sweep()
    assert not log.exists() and not log.with_suffix(".idx").exists()


def test_caches_of_repositories_that_nobody_builds_go(house: House) -> None:
    pushed = house.pushed("cached", "one")
    ((repo,),) = house.execute("SELECT id FROM repo WHERE name = 'cached'")
    cache = house.paths.compiler_cache(repo)
    if not cache.exists():  # without ccache in the image there is none
        cache.mkdir(parents=True)
        (cache / "file").write_bytes(b"x")
    assert ("caches", repo) not in house.old()
    house.make_old(pushed)
    assert ("caches", repo) in house.old()
    house.sweep()
    assert not cache.exists()


def test_the_service_makes_room_by_itself_from_the_oldest_on(tmp_path: Path) -> None:
    """As much goes as is needed, and no more."""
    with SmallDisk(tmp_path, 512 << 20) as disk:
        env = {"HERMES_EXECUTOR": "local", "HERMES_TRUST": "all", "HERMES_POLL": "1", "HERMES_DISK": "50M"}
        env |= {"HERMES_DATA": str(disk.point / "var")}
        env |= {"HERMES_FREE_LOW": "150M", "HERMES_FREE_HIGH": "190M"}
        with living(House(tmp_path / "words", env)) as house:
            runs = [house.run_of(each)["id"] for each in grow(house)]
            for age, run in zip((4, 3, 2, 1), runs, strict=True):
                house.make_run_old(run, age)
            disk.fill(120 << 20)
            house.stop()
            house.start()  # it looks when it starts, and once a minute
            wait_for(lambda: house.api(f"/runs/{runs[0]}")["removed"])
            wait_for(lambda: disk.free_bytes > 190 << 20)
            gone = [bool(house.api(f"/runs/{run}")["removed"]) for run in runs]
            why = house.api(f"/runs/{runs[0]}")["removed"][0]["why"]
            disk.empty()
    assert gone == [True, True, True, False]  # the newest of the branch lasts
    assert why == "to make room on a full disk (HERMES_FREE_LOW)"


def grow(house: House) -> list[Pushed]:
    """Four commits; the run of each leaves 30 MiB."""
    large = program("large")
    large["main.sh"] = 'head -c 30M /dev/urandom > "$HERMES_OUTPUT_DIR/large"'
    pushed = [house.push(large, repo="grows")]
    tree = pushed[0].tree
    for number in range(3):
        tree.write({"n": str(number)}).commit("more")
        pushed.append(house.push(tree, repo="grows"))
    return pushed
