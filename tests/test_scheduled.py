"""Schedules from outside: pushed, shown, paused, started now, missed while nobody was there, killed amid."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hermes.faultpoint import POINTS
from tests.access_tools import browsing, execute, open_house
from tests.person import signed_in
from tests.programs import shell
from tests.promises import all_is_kept
from tests.service import BUSY, Pushed, Service, wait_for
from tests.test_faultpoints import strike

YEARLY = '[on]\nschedule = "0 3 1 1 *"\n'
TWO = """
[[on.schedule]]
cron = "0 3 1 1 *"
[[on.schedule]]
cron = "@monthly"
timezone = "America/Sao_Paulo"
overlap = "cancel"
args = ["two words", 7]
"""
SHOWS = 'echo "args: $*"'


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    yield from open_house(
        tmp_path_factory.mktemp("scheduled"),
        HERMES_TRUST="all",
        HERMES_FAULTPOINT="file",
        HERMES_POLL="1s",
        HERMES_LEASE="8s",
        HERMES_GPUS="none",
    )


def schedules(house: Service, repo: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = house.api(f"/repos/alice/{repo}/schedules")["schedules"]
    return found


def runs_of(house: Service, repo: str) -> list[dict[str, Any]]:
    """Those that its schedules have started, the oldest first, when none of them goes on."""

    def ask() -> list[dict[str, Any]] | None:
        found: list[dict[str, Any]] = house.api(f"/runs?repo=alice/{repo}&trigger=schedule")["runs"]
        return None if {run["state"] for run in found} & BUSY else [{"n": len(found)}, *reversed(found)]

    return wait_for(ask)[1:]


def let_pass(house: Service, repo: str, span_s: float) -> None:
    """As if all of its schedules had been due that long ago."""
    mine = "repo_id = (SELECT id FROM repo WHERE name = ?)"
    execute(house, f"UPDATE schedule SET next_at = ? WHERE {mine}", float(int(time.time() - span_s)), repo)


def look(house: Service, pushed: Pushed) -> None:
    """A push makes who fires look at the rows, at once."""
    pushed.tree.commit("again [skip ci]")
    house.push(pushed.tree, repo=pushed.repo)


def test_schedules_are_pushed_shown_and_started_now(house: Service) -> None:
    pushed = house.push(shell(SHOWS, TWO), repo="two")
    assert house.run_of(pushed)["state"] == "succeeded", pushed.output
    first, second = schedules(house, "two")
    assert (first["cron"], first["timezone"], first["overlap"], first["args"]) == (
        "0 3 1 1 *", "UTC", "skip", None,
    )  # fmt: skip
    assert second["args"] == ["two words", "7"] and len(second["upcoming"]) == 3
    assert first["upcoming"] == sorted(first["upcoming"]) and first["upcoming"][0] > time.time()
    with browsing(house, house.token) as page:
        text = page.get("/alice/two").text
        assert 'id="schedules"' in text and text.count(">Run now<") == 2 and "none yet" in text
        assert time.strftime("%Y-01-01 03:00:00 UTC", time.gmtime(first["upcoming"][0])) in text
        answer = page.post("/alice/two/schedules/2/run")
        assert answer.status_code == 303 and answer.headers["location"].startswith("/runs/")
        assert page.post("/alice/two/schedules/3/run").status_code == 404
        assert page.post("/alice/two/schedules/1/jump").status_code == 404
    (run,) = runs_of(house, "two")
    assert (run["state"], run["trigger"]) == ("succeeded", "schedule")
    assert run["why"] == "schedule @monthly, started now by alice" and run["why_url"].endswith(
        "/two#schedules"
    )
    assert house.read_log("runs", run["id"]) == b"args: two words 7\n"
    assert schedules(house, "two")[1]["last_state"] == "succeeded"
    assert house.api(f"/builds/{run['build']}")["attempt"] == 1  # the same image


def test_who_may_push_pauses_and_resumes_and_the_audit_log_says_who(house: Service) -> None:
    pushed = house.push(shell(SHOWS, YEARLY), repo="paused")
    house.run_of(pushed)
    with house.client() as client:
        address = "/api/v1/repos/alice/paused/schedules/1"
        said = client.post(f"{address}/pause").json()
        assert (said["paused"], said["upcoming"]) == ("paused by alice", [])
        assert client.post(f"{address}/pause").status_code == 200  # once more changes nothing
    with browsing(house, house.token) as page:
        assert "Paused by alice" in page.get("/alice/paused").text
        assert page.post("/alice/paused/schedules/1/resume").status_code == 303
    acts = [(row["act"], row["subject"]) for row in audit(house)]
    assert acts.count(("schedule paused", "alice/paused")) == 1
    assert acts.count(("schedule resumed", "alice/paused")) == 1


def audit(house: Service) -> list[dict[str, str]]:
    """What the audit log says of schedules."""
    with closing(sqlite3.connect(house.data / "hermes.db")) as database:
        rows = database.execute("SELECT act, subject FROM audit WHERE act LIKE 'schedule %'").fetchall()
    return [{"act": act, "subject": subject} for act, subject in rows]


def test_the_command_line_lists_pauses_resumes_and_runs(house: Service, tmp_path: Path) -> None:
    house.run_of(house.push(shell(SHOWS, YEARLY), repo="typed"))
    ada = signed_in(house, tmp_path)
    listed = ada.ok("schedules", "alice/typed").splitlines()
    assert " ".join(listed[0].split()) == "REPOSITORY NO CRON TIME ZONE OVERLAP NEXT LAST RUN STATUS NOTE"
    assert listed[1].startswith("alice/typed") and "0 3 1 1 *" in listed[1] and "(in " in listed[1]
    assert "schedule 1 of alice/typed (0 3 1 1 *) paused by alice" in ada.ok(
        "schedules", "pause", "alice/typed", "1"
    )
    everywhere = json.loads(ada.ok("schedules", "list", "--json"))
    assert everywhere == house.api("/schedules")["schedules"] and "alice/typed" in ada.ok("schedules")
    assert json.loads(ada.ok("schedules", "--json")) == everywhere
    assert " runs " in ada.ok("schedules", "resume", "alice/typed", "1")
    number = int(ada.ok("schedules", "run", "-q", "alice/typed", "1"))
    assert [run["id"] for run in runs_of(house, "typed")] == [number]
    wrong = ada.hermes("schedules", "run", "alice/typed", "7")
    assert wrong.returncode != 0 and b"alice/typed has no schedule 7" in wrong.stderr


def test_a_manifest_that_starts_no_run_at_a_push_is_built_for_its_schedule(house: Service) -> None:
    pushed = house.push(shell(SHOWS, '[on]\npush = []\nschedule = "0 3 1 1 *"\n'), repo="only")
    page = house.settled(pushed)
    assert page["runs"] == [] and [build["state"] for build in page["builds"]] == ["built"], pushed.output
    assert len(schedules(house, "only")) == 1
    pushed.tree.write({"hermes.toml": 'handler = "sh main.sh"\n[on]\npush = []\n'}).commit("without")
    without = house.push(pushed.tree, repo="only")
    assert "nothing started: the manifest's on.push is empty" in without.output
    assert schedules(house, "only") == []


def test_what_was_missed_while_the_service_was_away_is_one_run(house: Service) -> None:
    far = (time.gmtime().tm_min + 30) % 60  # none of those to come is due while this goes on
    pushed = house.push(shell(SHOWS, f'[on]\nschedule = "{far} * * * *"\n'), repo="missed")
    house.run_of(pushed)
    assert house.stop() == 0
    let_pass(house, "missed", 5 * 3600.0 - 100)
    house.start()
    (run,) = wait_for(lambda: runs_of(house, "missed"))
    assert run["state"] == "succeeded" and " more missed" in run["why"] and "due " in run["why"]
    (one,) = schedules(house, "missed")
    assert one["upcoming"][0] > time.time() and one["last_run"] == run["id"]


@pytest.mark.fault(50)
@pytest.mark.parametrize("is_there", [True, False], ids=["image", "image-gone"])
@pytest.mark.parametrize("point", [point for point in POINTS if point.startswith("schedule.")])
def test_who_is_killed_while_it_fires_leaves_exactly_one_run(
    house: Service, point: str, is_there: bool
) -> None:
    repo = point.replace(".", "-") + ("" if is_there else "-gone")
    pushed = house.push(shell(SHOWS, YEARLY), repo=repo)
    house.run_of(pushed)
    if not is_there:
        forget_image(house, house.commit_page(pushed)["builds"][0]["id"])
    has_struck = strike(house, point)
    let_pass(house, repo, 30.0)
    look(house, pushed)
    wait_for(has_struck)
    (house.data / "faultpoints" / "now").unlink()
    wait_for(house.answers)
    (run,) = wait_for(lambda: runs_of(house, repo))
    look(house, pushed)
    assert [each["id"] for each in runs_of(house, repo)] == [run["id"]] and run["state"] == "succeeded"
    (one,) = schedules(house, repo)
    assert one["last_run"] == run["id"] and one["upcoming"][0] > time.time()
    all_is_kept(house, [])


def forget_image(house: Service, build: int) -> None:
    """As if it had been removed to make room."""
    execute(house, "INSERT INTO removal VALUES ('images', ?, ?, 'to make room', 1)", build, time.time())


def test_it_comes_by_itself_within_a_second(house: Service) -> None:
    due = (time.time() // 60 + 1) * 60
    pushed = house.push(shell(SHOWS, '[on]\nschedule = "* * * * *"\n'), repo="each-minute")
    house.run_of(pushed)
    assert schedules(house, "each-minute")[0]["upcoming"][0] % 60 == 0
    first = wait_for(lambda: house.api("/runs?repo=alice/each-minute&trigger=schedule")["runs"])[-1]
    assert first["created_at"] >= due and first["why"].startswith("schedule * * * * *, due ")
    with house.client() as client:
        assert client.post("/api/v1/repos/alice/each-minute/schedules/1/pause").status_code == 200


def test_the_metrics_and_the_doctor_know_of_them(house: Service) -> None:
    with house.client("") as client:
        text = client.get("/metrics").text
    assert 'hermes_schedules{state="paused"} 1.0' in text and "hermes_schedule_late_seconds 0.0" in text
    said = json.loads(house.hermes("doctor", "--json", check=False).stdout)
    found = [each for each in said["findings"] if each["name"] == "schedules"]
    assert len(found) == 1 and " go on" in found[0]["found"], said
