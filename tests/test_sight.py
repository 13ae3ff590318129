"""What an operator sees without looking: `/metrics`, `/readyz`, and the dashboard and alerts made of them."""

import json
import os
import re
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from bench._tools import serving
from tests.cable import Cable
from tests.gpus import FakeDriver, gpu
from tests.leftovers import the_process
from tests.programs import shell
from tests.prometheus import ALERTS, DASHBOARD, queries
from tests.reach import TABLE
from tests.service import PATIENCE_S, TRUST, Service, living, wait_for
from tests.test_engine_away import cable as cable
from tests.test_engine_away import cabled as cabled

ROOT = Path(__file__).parent.parent
FRESH_S = 6.0  # rows are looked at anew after five seconds
Samples = dict[str, dict[frozenset[tuple[str, str]], float]]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> FakeDriver:
    return FakeDriver(tmp_path_factory.mktemp("nvml")).build()


@pytest.fixture(scope="module")
def seen(driver: FakeDriver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance with two GPUs and Redis."""
    driver.world(gpu(0, used_mib=2048, percent=87), gpu(1))
    env = {"HERMES_EXECUTOR": "local", "HERMES_CPUS": "8"} | driver.env
    with living(Service(tmp_path_factory.mktemp("seen") / "var", env)) as one:
        yield one


def scraped(service: Service) -> Samples:
    """All samples, as Prometheus reads them: {name: {labels: value}}."""
    answer = httpx.get(f"{service.url}/metrics", timeout=PATIENCE_S, verify=TRUST)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found: Samples = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            labels = frozenset(sample.labels.items())
            assert labels not in found.setdefault(sample.name, {}), sample
            found[sample.name][labels] = sample.value
    return found


def now(service: Service) -> Samples:
    """What is true now."""
    time.sleep(FRESH_S)
    return scraped(service)


def value(samples: Samples, name: str, **labels: str) -> float:
    """The one with exactly these labels; 0 if there is none yet."""
    return samples.get(name, {}).get(frozenset(labels.items()), 0.0)


def rows(service: Service, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(service.data / "hermes.db", timeout=10)) as database, database:
        return database.execute(query).fetchall()


# ---- what is counted


def test_counters_and_durations_say_what_the_rows_say(seen: Service) -> None:
    before, began = now(seen), time.monotonic()
    assert seen.push(shell("echo well"), repo="well").code == 0
    seen.run_of(seen.push(shell("exit 3"), repo="ill"))
    assert seen.push(shell("echo never", make="\t@exit 2"), repo="broken").code == 0
    with seen.client() as client:
        call = client.post("/api/v1/functions/alice/well/runs?wait=600")
    assert call.status_code == 200, call.text
    after = now(seen)

    def more(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    assert more("hermes_pushes_total", state="applied") == 3
    assert (more("hermes_builds_total", state="built"), more("hermes_builds_total", state="failed")) == (2, 1)
    assert more("hermes_runs_asked_total", trigger="push") == 3
    assert more("hermes_runs_total", trigger="push", state="succeeded") == 1
    assert more("hermes_runs_total", trigger="push", state="failed") == 2
    assert more("hermes_runs_total", trigger="api", state="succeeded") == 1
    assert more("hermes_ranks_total", state="succeeded") == 2
    for name, count in (
        ("build_wait", 3),
        ("build", 3),
        ("rank_wait", 3),
        ("rank_start", 3),
        ("rank_run", 3),
    ):
        assert more(f"hermes_{name}_seconds_count") == count, name
        assert 0 < more(f"hermes_{name}_seconds_sum") < 3 * (time.monotonic() - began)
    for (state, count), name in zip(
        rows(seen, "SELECT state, count(*) FROM run GROUP BY state"), "ab", strict=False
    ):
        total = sum(v for labels, v in after["hermes_runs_total"].items() if ("state", state) in labels)
        assert total == count, name
    assert value(after, "hermes_ranks_under_way", state="queued") == 0


def test_counters_outlive_a_killed_service(seen: Service) -> None:
    assert seen.push(shell("echo once"), repo="once").code == 0
    names = ("hermes_runs_total", "hermes_pushes_total", "hermes_rank_run_seconds_count")
    found = now(seen)
    before = {name: found[name] for name in names}
    os.kill(the_process(seen, "hermes web"), signal.SIGKILL)
    wait_for(seen.answers)
    wait_for(lambda: (found := scraped(seen)) and {name: found[name] for name in names} == before)


def test_what_waits_and_what_runs_is_there_with_its_gpu(seen: Service, driver: FakeDriver) -> None:
    long, began = shell("sleep 600", "[gpu]\ncount = 2\n"), time.monotonic()
    holder, waiter = (seen.push(long, "detach", repo=name) for name in ("holder", "waiter"))
    wait_for(lambda: seen.commit_page(holder)["runs"][0]["state"] == "running")
    wait_for(lambda: seen.commit_page(waiter)["builds"][0]["state"] == "built")
    samples = now(seen)
    assert value(samples, "hermes_ranks_under_way", state="running") == 1
    assert value(samples, "hermes_ranks_under_way", state="queued") == 1
    waits_s = value(samples, "hermes_oldest_waiting_seconds", kind="rank")
    assert FRESH_S - 1 < waits_s < time.monotonic() - began
    assert [value(samples, "hermes_gpus", state=state) for state in ("free", "held")] == [0, 2]
    for pushed in (waiter, holder):
        with seen.client() as client:
            client.post(f"/api/v1/runs/{seen.commit_page(pushed)['runs'][0]['id']}/cancel")
        seen.settled(pushed)
    driver.report(1, 79)
    wait_for(lambda: value(scraped(seen), "hermes_gpus", state="quarantined") == 1)
    samples = scraped(seen)
    gpus = {dict(labels)["gpu"]: use for labels, use in samples["hermes_gpu_utilization_ratio"].items()}
    assert gpus["GPU-fake-0"] == pytest.approx(0.87)
    used = {dict(labels)["gpu"]: size for labels, size in samples["hermes_gpu_memory_used_bytes"].items()}
    assert used["GPU-fake-0"] == 2048 << 20


def test_streams_that_are_open_are_counted(seen: Service) -> None:
    pushed = seen.push(shell("echo begun; sleep 600"), "detach", repo="streamed")
    run = wait_for(
        lambda: next((r for r in seen.commit_page(pushed)["runs"] if r["state"] == "running"), None)
    )
    with seen.client() as client:
        with client.stream("GET", f"/api/v1/runs/{run['id']}/events") as answer:
            assert answer.status_code == 200
            assert value(scraped(seen), "hermes_streams_open", who="user") == 1
        client.post(f"/api/v1/runs/{run['id']}/cancel")
    wait_for(lambda: value(scraped(seen), "hermes_streams_open", who="user") == 0)


def test_processes_show_themselves_and_folders_are_measured(seen: Service) -> None:
    wait_for(lambda: scraped(seen).get("hermes_data_bytes"))
    samples = scraped(seen)
    folders = {dict(labels)["folder"]: size for labels, size in samples["hermes_data_bytes"].items()}
    assert folders["repos"] > 0 and folders["logs"] > 0
    assert 0 < value(samples, "hermes_disk_free_bytes") < value(samples, "hermes_disk_bytes")
    shown = samples["hermes_process_last_seen_timestamp_seconds"]
    assert {dict(labels)["process"] for labels in shown} == {"builder", "runner"}
    name = "hermes_process_last_seen_timestamp_seconds"  # they show themselves every 15 s
    wait_for(lambda: all(time.time() - at < 25 for at in scraped(seen)[name].values()))
    assert set(samples["hermes_executor_answers"].values()) == {1.0}
    assert all(1 << 20 < size < 1 << 30 for size in samples["hermes_process_memory_bytes"].values())
    assert value(samples, "hermes_doorbell_up") == value(samples, "hermes_database_up") == 1
    missed = samples["hermes_doorbell_missed_total"]  # who looks just before the bell rings counts as one
    ((work,),) = rows(seen, "SELECT (SELECT count(*) FROM build) + (SELECT count(*) FROM rank)")
    assert missed and sum(missed.values()) < work / 4


def test_labels_are_few_whatever_people_ask_for(seen: Service) -> None:
    with seen.client() as client:
        for number in range(30):
            client.get(f"/alice/made-up-{number}")
            client.get(f"/api/v1/no/such/{number}")
            client.get(f"/{'deep/' * 9}{number}")
            client.request(f"BREW{number}", "/")
            client.get(f"/runs/{number}")
    samples = scraped(seen)["hermes_http_requests_total"]
    found = {tuple(dict(labels)[name] for name in ("route", "method", "status")) for labels in samples}
    assert {method for _, method, _ in found} <= {"GET", "POST", "PUT", "DELETE", "HEAD", "other"}
    assert {status for _, _, status in found} <= {"2xx", "3xx", "4xx", "5xx", "none"}
    known = {re.sub(r":path}", "}", key.partition(" ")[2]) for key in TABLE}
    extra = {"other", "/static/{path}", "/api/{path}", "/metrics", "/readyz"}
    assert {route for route, _, _ in found} <= known | extra
    assert value(scraped(seen), "hermes_http_requests_total", route="/runs/{run}", method="GET", status="4xx")
    text = httpx.get(f"{seen.url}/metrics", timeout=PATIENCE_S).text
    for secret in ("alice", "well", "made-up", seen.token):
        assert secret not in text


def test_work_that_nobody_has_rung_for_is_a_miss(local_service: Service) -> None:
    """Without Redis all work between processes is found by looking."""
    assert local_service.push(shell("echo found"), repo="unrung").code == 0

    def missed() -> bool:
        found = scraped(local_service)
        return all(found.get("hermes_doorbell_missed_total", {"": 0}).values())

    wait_for(missed)  # they tell every 15 s
    assert "hermes_doorbell_up" not in scraped(local_service)


# ---- who may look


BEHIND = {"HERMES_METRICS": "10.0.0.0/8", "HERMES_PROXIES": "127.0.0.1"}
NEAR: list[tuple[str, dict[str, str], dict[str, int]]] = [
    ("default", {}, {"": 200, "X-Forwarded-For: 127.0.0.1": 401, "Via: 1.1 proxy": 401}),
    ("none", {"HERMES_METRICS": "none"}, {"": 401}),
    ("behind", BEHIND, {"": 401, "X-Forwarded-For: 10.1.2.3": 200, "X-Forwarded-For: 192.0.2.1": 401}),
]


@pytest.mark.parametrize(("settings", "statuses"), [row[1:] for row in NEAR], ids=[row[0] for row in NEAR])
def test_metrics_are_for_near_networks_and_for_admins(
    tmp_path: Path, settings: dict[str, str], statuses: dict[str, int]
) -> None:
    env = {"HERMES_REDIS_URL": "none", "HERMES_SSH_PORT": "0"}
    one = Service(tmp_path / "var", env | settings)
    one.token = one.add_user("alice")
    admin = one.admin("user", "add", "root", "--admin").stdout.strip()
    with serving(one):
        for header, status in statuses.items():
            name, _, value = header.partition(": ")
            headers = {name: value} if header else {}
            answer = httpx.get(f"{one.url}/metrics", headers=headers, timeout=PATIENCE_S)
            assert answer.status_code == status, header
            if status == 401:
                assert answer.json()["error"]["code"] == "unauthorized"
                for token, allowed in ((one.token, 403), (admin, 200), ("hermes_wrong", 401)):
                    with one.client(token) as client:
                        assert client.get("/metrics", headers=headers).status_code == allowed


# ---- whether it would work


def ready(service: Service) -> tuple[int, dict[str, str]]:
    """The status, and what is found by its name."""
    answer = httpx.get(f"{service.url}/readyz", timeout=PATIENCE_S, verify=TRUST)
    reasons = answer.json().get("reasons", [])
    assert all(each["step"] for each in reasons)
    assert (answer.status_code == 503) == bool(reasons) == ("retry-after" in answer.headers)
    return answer.status_code, {each["name"]: each["found"] for each in reasons}


def test_ready_when_all_is_there(seen: Service) -> None:
    assert ready(seen) == (200, {})


@pytest.mark.parametrize("name", ["builder", "runner"])
def test_not_ready_while_a_process_hangs_and_ready_when_it_goes_on(seen: Service, name: str) -> None:
    pid = the_process(seen, f"hermes {name}")
    kind = {"builder": "build", "runner": "rank"}[name]

    def hangs() -> bool:
        os.kill(pid, signal.SIGSTOP)
        try:
            rows(seen, f"UPDATE process SET seen_at = seen_at - 100 WHERE kind = '{kind}'")
        except sqlite3.OperationalError:  # it was stopped amid writing: with the lock in its hand
            os.kill(pid, signal.SIGCONT)
            return False
        return True

    wait_for(hangs)
    try:
        words = wait_for(lambda: ready(seen)[1].get(name))
        assert re.fullmatch(rf"the {name} last showed itself \d m \d\d s ago", words)
        wait_for(seen.answers)  # pushes are taken all the same
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: ready(seen) == (200, {}))


def test_not_ready_while_the_database_takes_nothing(seen: Service) -> None:
    file = seen.data / "hermes.db"
    with closing(sqlite3.connect(file, timeout=PATIENCE_S, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        found = wait_for(lambda: ready(seen)[1].get("database"))
        assert "has not taken a row within 5 s" in found
        assert value(now(seen), "hermes_database_up") == 1  # it is read from
        other.execute("ROLLBACK")
    wait_for(lambda: ready(seen) == (200, {}))


def test_not_ready_with_the_schema_of_another_program(seen: Service) -> None:
    ((version,),) = rows(seen, "SELECT version_num FROM alembic_version")
    rows(seen, "UPDATE alembic_version SET version_num = '9999'")
    try:
        found = wait_for(lambda: ready(seen)[1].get("schema"))
        assert found == f"it has schema 9999, and this program knows {version}"
    finally:
        rows(seen, f"UPDATE alembic_version SET version_num = '{version}'")
    wait_for(lambda: ready(seen) == (200, {}))


def test_not_ready_while_the_engine_is_away(cabled: Service, cable: Cable) -> None:
    wait_for(lambda: ready(cabled) == (200, {}))
    cable.pull_out()
    found = wait_for(lambda: ready(cabled)[1].get("executor"))
    assert found.startswith("the docker executor does not answer the ")
    wait_for(lambda: 0.0 in scraped(cabled)["hermes_executor_answers"].values())
    cable.plug_in()
    wait_for(lambda: ready(cabled) == (200, {}))


# ---- what is made of it


def names_of(expression: str) -> set[str]:
    """The metrics that an expression asks for."""
    return set(re.findall(r"\b(?:hermes|process)_\w+", re.sub(r'"[^"]*"|\bby \([^)]*\)', "", expression)))


@pytest.fixture(scope="module")
def exported(seen: Service) -> set[str]:
    """The names of all metrics, with and without samples."""
    text = httpx.get(f"{seen.url}/metrics", timeout=PATIENCE_S).text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    names = {sample.name for family in families.values() for sample in family.samples}
    names |= {f"{name}_total" if family.type == "counter" else name for name, family in families.items()}
    return names | {f"{name}_bucket" for name, family in families.items() if family.type == "histogram"}


def test_every_alert_is_explained_and_every_metric_in_it_is_exported(exported: set[str]) -> None:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    operations = (ROOT / "docs/operations.md").read_text()
    assert len(group["rules"]) == len({rule["alert"] for rule in group["rules"]}) >= 10
    for rule in group["rules"]:
        assert names_of(rule["expr"]) <= exported, rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert f"`{rule['alert']}`" in operations, "say there what it means and what to do"


def test_dashboard_is_one_and_every_metric_in_it_is_exported(exported: set[str]) -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    assert dashboard["uid"] and dashboard["schemaVersion"] >= 39 and "__inputs" not in dashboard
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [tuple(panel["gridPos"][key] for key in "xywh") for panel in panels]
    cells = [(x + i, y + j) for x, y, w, h in places for i in range(w) for j in range(h)]
    assert len(cells) == len(set(cells)) and all(x + w <= 24 for x, _, w, _ in places)
    for panel in panels:
        for target in panel.get("targets", []):
            assert target["datasource"]["uid"] == "${datasource}"
    used = set().union(*map(names_of, queries()))
    assert used <= exported
    shown = {plain(name) for name in used}
    assert {plain(name) for name in exported if name.startswith("hermes_")} - shown <= {
        "hermes_info",
        "hermes_ranks_total",
    }
    assert {each["name"] for each in dashboard["templating"]["list"]} == {"datasource", "instance"}


def plain(name: str) -> str:
    """Of a histogram's series."""
    return re.sub(r"_(bucket|sum|count)$", "", name)
