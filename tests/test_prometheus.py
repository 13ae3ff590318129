"""The dashboard and the alerts, read by a real Prometheus: every panel has something to show, every alert
fires when it should and not before."""

import math
import subprocess
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.gpus import FakeDriver
from tests.programs import shell
from tests.prometheus import ALERTS, queries, watching
from tests.proxies import program
from tests.service import Service, living, wait_for
from tests.test_redis_faults import Server
from tests.test_redis_faults import redis as redis
from tests.test_sight import driver as driver
from tests.test_sight import seen as seen

MAY_BE_NAN = "histogram_quantile"  # what was never asked for took no time
SOON = "HermesDiskFullSoon"  # what must last for an hour fires by a second here


def test_every_panel_of_the_dashboard_has_something_to_show(
    seen: Service, driver: FakeDriver, tmp_path: Path
) -> None:
    with watching(seen, tmp_path) as prometheus:
        wait_for(lambda: prometheus.query("hermes_runs_total"))
        assert seen.push(shell("echo hello"), repo="on-a-panel").code == 0
        done = 'sum(hermes_runs_total{state="succeeded"})'
        wait_for(lambda: prometheus.query(done) > [0])
        for expression in queries():
            found = wait_for(partial(prometheus.query, expression))
            assert MAY_BE_NAN in expression or not any(map(math.isnan, found)), (expression, found)


def test_an_operator_hears_of_what_breaks_and_of_nothing_else(
    engine: None, redis: Server, tmp_path: Path
) -> None:
    table = tmp_path / "images.toml"
    table.write_text('[away]\nreference = "hermes/not-there:1"\nlanguages = ["cpp"]\n')
    env = {"HERMES_EXECUTOR": "docker", "HERMES_POLL": "1", "HERMES_IMAGES": str(table)}
    env |= {"HERMES_REDIS_URL": f"unix://{redis.socket}"}
    with living(Service(tmp_path / "data", env)) as service, watching(service, tmp_path) as prometheus:
        wait_for(lambda: prometheus.query("hermes_doorbell_up") == [1])
        assert prometheus.firing() <= {SOON}
        redis.shut_down()
        wait_for(lambda: prometheus.firing() - {SOON} == {"HermesDoorbellDown"})
        redis.start()
        wait_for(lambda: prometheus.firing() <= {SOON})
        pushed = service.push(shell("echo hello"), "detach", repo="without-an-image")
        assert service.run_of(pushed)["state"] == "lost"
        wait_for(lambda: prometheus.firing() - {SOON} == {"HermesRunsLost"})
        assert service.stop() == 0
        wait_for(lambda: "HermesDown" in prometheus.firing())
        service.start()


class Case(NamedTuple):
    """An alert, series from minute 0 on, the last minute in which it is quiet, the one in which it fires."""

    alert: str
    series: dict[str, str]
    quiet: int
    fires: int
    labels: dict[str, str]
    summary: str


RUNNER = {"process": "runner"}
CASES = [
    Case(
        "HermesDown", {'up{job="hermes"}': "1 0x9"},
        2, 3, {"job": "hermes"}, "Hermes on lab does not answer",
    ),
    Case(
        "HermesDatabaseDown", {"hermes_database_up": "1 0x9"},
        1, 2, {}, "The database of lab does not answer",
    ),
    Case(
        "HermesProcessSilent", {'hermes_process_last_seen_timestamp_seconds{process="runner"}': "0x9"},
        2, 3, RUNNER, "The runner of lab has not shown itself for 3m 0s",
    ),
    Case(
        "HermesExecutorDown", {'hermes_executor_answers{process="runner",host="a"}': "1 0x9"},
        2, 3, RUNNER, "The executor of lab does not answer its runner",
    ),
    Case(
        "HermesDiskNearlyFull", {"hermes_disk_free_bytes": "4294967296x20"},
        9, 10, {}, "4GiB are left on the disk of lab",
    ),
    Case(
        "HermesDiskFullSoon", {"hermes_disk_free_bytes": "100000000000-100000000x90"},
        60, 61, {}, "The disk of lab is full within a day, if it goes on like this",
    ),
    Case(
        "HermesGpuQuarantined", {'hermes_gpus{state="quarantined"}': "0 2x9"},
        1, 2, {"state": "quarantined"}, "GPUs of lab that are in quarantine: 2",
    ),
    Case(
        "HermesQueueStuck",
        {
            'hermes_oldest_waiting_seconds{kind="rank"}': "3601+60x20",
            'hermes_ranks_under_way{state="starting"}': "0x20",
            'hermes_ranks_under_way{state="running"}': "0x20",
        },
        9, 10, {"kind": "rank"}, "Ranks of lab wait for 1h 10m 1s, and nothing runs",
    ),
    Case(
        "HermesBuildsStuck", {'hermes_oldest_waiting_seconds{kind="build"}': "901+60x20"},
        4, 5, {"kind": "build"}, "A build of lab waits for 20m 1s",
    ),
    Case(
        "HermesRunsLost", {'hermes_runs_total{trigger="push",state="lost"}': "0x9 1x20"},
        9, 11, {}, "Runs of lab were lost, after three attempts",
    ),
    Case(
        "HermesAttemptsInterrupted",
        {'hermes_attempts_interrupted_total{kind="rank",cause="killed"}': "0+1x60"},
        3, 40, {"kind": "rank", "cause": "killed"},
        "30 attempts (rank) of lab ended before their end: killed",
    ),
    Case(
        "HermesServerErrors",
        {
            'hermes_http_requests_total{route="/",status="5xx"}': "0+6x20",
            'hermes_http_requests_total{route="/",status="2xx"}': "0+94x20",
        },
        5, 6, {}, "6% of the answers of lab are errors",
    ),
    Case(
        "HermesPushesHalf", {"hermes_pushes_half": "0 1x20"},
        10, 11, {}, "Pushes of lab were received and are not applied",
    ),
    Case("HermesDoorbellDown", {"hermes_doorbell_up": "1 0x20"}, 10, 11, {}, "Redis of lab is away"),
    Case(
        "HermesDoorbellMissed",
        {
            'hermes_doorbell_missed_total{process="runner",host="a"}': "0+1x30",
            "hermes_doorbell_up": "1x30",
        },
        3, 20, RUNNER, "The runner of lab finds work that nobody has rung for",
    ),
]  # fmt: skip
RULES = {each["alert"]: each for each in yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]}


@pytest.mark.parametrize("case", CASES, ids=[each.alert for each in CASES])
def test_an_alert_fires_when_it_should_and_not_before(case: Case, tmp_path: Path) -> None:
    rule = RULES[case.alert]
    fired = {
        "exp_labels": {"instance": "lab", "severity": rule["labels"]["severity"], **case.labels},
        "exp_annotations": {"summary": case.summary, "description": rule["annotations"]["description"]},
    }
    moments: list[dict[str, Any]] = [
        {"eval_time": f"{case.quiet}m", "alertname": case.alert, "exp_alerts": []},
        {"eval_time": f"{case.fires}m", "alertname": case.alert, "exp_alerts": [fired]},
    ]
    series = [{"series": _at_the_lab(name), "values": values} for name, values in case.series.items()]
    trial = {"interval": "1m", "input_series": series, "alert_rule_test": moments}
    file = tmp_path / "trial.yml"
    file.write_text(
        yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [trial]})
    )
    done = subprocess.run(
        [program("promtool"), "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _at_the_lab(name: str) -> str:
    """With the label that Prometheus adds."""
    metric, _, labels = name.partition("{")
    return f'{metric}{{instance="lab",{labels or "}"}'


def test_every_alert_has_such_a_case() -> None:
    assert sorted(RULES) == sorted(each.alert for each in CASES)
