"""`hermes doctor` on instances that are well and on ones that are ill: what is wrong, and what to do."""

import http.server
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hermes.cli.commands import hermes
from tests.access_tools import execute
from tests.conftest import missing
from tests.gpus import FakeDriver, gpu, instance
from tests.postgres import find_binaries, running
from tests.programs import without_bubblewrap
from tests.service import PATIENCE_S, Service, free_port, wait_for


@dataclass
class Report:
    """What doctor said, as programs read it."""

    code: int
    findings: list[dict[str, str]]

    @classmethod
    def of(cls, service: Service) -> "Report":
        """In this process."""
        done = use(service, "doctor", "--json")
        return cls(done.exit_code, json.loads(done.stdout)["findings"])

    @classmethod
    def apart(cls, service: Service) -> "Report":
        """In its own process: Docker's library leaves the socket open on which an engine is silent."""
        done = service.hermes("doctor", "--json", check=False)
        return cls(done.returncode, json.loads(done.stdout)["findings"])

    def __getitem__(self, name: str) -> dict[str, str]:
        return next(each for each in self.findings if each["name"] == name)

    @property
    def problems(self) -> set[str]:
        assert all(each["step"] for each in self.findings if each["status"] != "ok")
        found = {each["name"] for each in self.findings if each["status"] == "problem"}
        assert self.code == (1 if found else 0)
        return found


@pytest.fixture
def fresh(tmp_path: Path) -> Service:
    """An instance that was never started, with everything that it needs."""
    (tmp_path / "var").mkdir()
    return Service(tmp_path / "var", {"HERMES_EXECUTOR": "local", "HERMES_REDIS_URL": "none"})


@pytest.fixture
def used(fresh: Service) -> Service:
    """One with a database, whose service does not run."""
    assert use(fresh, "admin", "user", "add", "alice").exit_code == 0
    return fresh


def use(service: Service, *words: str) -> Result:
    """A command in this process: what starting another costs, a dozen times, is left out."""
    env: dict[str, str | None] = {**service.environment()}
    return CliRunner().invoke(hermes, words, env=env, prog_name="hermes")


def test_a_healthy_service_has_no_problem(service: Service) -> None:
    found = wait_for(lambda: quiet_findings(service))
    for name in (
        *("settings", "data", "file system", "database", "integrity", "redis", "engine", "engine limits"),
        *("engine security", "images", "cgroups", "git", "service", "ssh", "processes", "runners", "stuck"),
    ):
        assert found[name]["status"] == "ok", found[name]
    assert found["service"]["found"] == f"{service.url}: up"
    assert found["processes"]["found"] == "web, builder, runner"
    assert "private" in found["redis"]["found"] and "noeviction" in found["redis"]["found"]
    assert (found["disks"]["status"] == "ok") == (os.geteuid() == 0)
    assert all(bool(each["step"]) == (each["status"] != "ok") for each in found.values())


def quiet_findings(service: Service) -> dict[str, dict[str, str]]:
    """What it finds while the engine and others are not too busy to answer it in time."""
    said = service.hermes("doctor", "--json", check=False).stdout
    found = {each["name"]: each for each in json.loads(said)["findings"]}
    return {} if "does not answer within" in said else found


def test_people_read_aligned_lines_with_the_next_step_below(fresh: Service) -> None:
    fresh.env["HERMES_REDIS_URL"] = f"redis://127.0.0.1:{free_port()}"
    done = use(fresh, "doctor")
    lines = done.stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("problem  redis "))
    column = lines[at].index("redis://")
    assert lines[at + 1].index("→ start it, or correct HERMES_REDIS_URL") == column
    assert lines[0][column:] == "all can be read" and lines[-1].startswith("1 problem, ")
    assert done.exit_code == 1 and done.stderr == "" and "\x1b" not in done.stdout


def test_a_narrow_terminal_folds_lines_and_keeps_commands_whole(fresh: Service) -> None:
    fresh.env |= {"COLUMNS": "60", "TERM": "xterm", "FORCE_COLOR": "1"}  # as at a terminal, for rich
    said = use(fresh, "doctor").stdout
    assert "\x1b[" in said
    lines = re.sub(r"\x1b\[[0-9;]*m", "", said).splitlines()
    column = lines[0].index("all can")
    assert any(line.startswith(" " * column) for line in lines)
    assert all(len(line) <= 60 or " " not in line[column:].lstrip("→ ") for line in lines), lines


def test_a_redis_that_nobody_answers_for(fresh: Service) -> None:
    port = free_port()
    fresh.env["HERMES_REDIS_URL"] = f"redis://:secret@127.0.0.1:{port}/0"
    report = Report.of(fresh)
    assert report.problems == {"redis"}
    assert report["redis"]["found"].startswith(f"redis://127.0.0.1:{port}/0: no answer (")
    assert "secret" not in str(report.findings) and "HERMES_REDIS_URL" in report["redis"]["step"]


def test_an_engine_and_a_driver_that_hang_do_not_hang_it(fresh: Service, tmp_path: Path) -> None:
    driver = FakeDriver(tmp_path / "nvml")
    driver.folder.mkdir()
    os.mkfifo(driver.build().folder / "world")  # whoever reads it waits for ever
    address = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(address))
        silent.listen()
        fresh.env |= {"HERMES_EXECUTOR": "docker", "DOCKER_HOST": f"unix://{address}", **driver.env}
        report = Report.apart(fresh)  # 8 s for the driver, 4 meanwhile for the engine
    assert report.problems == {"engine", "driver"}
    assert "does not answer within 4 s: the engine hangs" in report["engine"]["found"]
    assert "systemctl restart docker" in report["engine"]["step"]
    assert "does not answer within 8 s: it hangs" in report["driver"]["found"]
    assert "dmesg" in report["driver"]["step"]


def test_no_engine_at_all_costs_the_fence(fresh: Service, tmp_path: Path) -> None:
    fresh.env |= {"HERMES_EXECUTOR": "auto", "DOCKER_HOST": f"unix://{tmp_path / 'none'}"}
    report = Report.of(fresh)
    assert report.problems == set() and report["engine"]["status"] == "warning"
    assert "without a fence" in report["engine"]["found"] and "install Docker" in report["engine"]["step"]
    fresh.env["HERMES_EXECUTOR"] = "docker"
    report = Report.of(fresh)
    assert report.problems == {"engine"} and "systemctl start docker" in report["engine"]["step"]


def test_a_data_directory_that_is_not_there_is_not_made(fresh: Service) -> None:
    fresh.data.rmdir()
    report = Report.of(fresh)
    assert report.problems == {"data"} and f"mkdir -p {fresh.data}" in report["data"]["step"]
    assert not fresh.data.exists()


def test_a_data_directory_that_cannot_be_written(fresh: Service) -> None:
    fresh.data = Path("/sys")  # not even by root
    report = Report.of(fresh)
    assert "data" in report.problems and "nothing can be written there" in report["data"]["found"]
    assert "sudo chown" in report["data"]["step"]


def test_an_old_driver_a_gpu_in_quarantine_and_an_engine_without_the_toolkit(
    engine: None, used: Service, tmp_path: Path
) -> None:
    driver = FakeDriver(tmp_path).build()
    driver.world("driver 535.104 12020", "modes 0 1 0", gpu(0), gpu(1), gpu(2, pids="1"), "lost")
    away = json.dumps({"GPU-fake-0": {"reason": "the driver reported Xid 79", "since": 1.0}})
    row = f"('other', 'docker', 8, 1, '[]', '{away}', {time.time()})"
    execute(
        used, f"INSERT INTO runner (name,executor,cpus,memory_bytes,gpus,quarantine,seen_at) VALUES {row}"
    )
    used.env |= {"HERMES_EXECUTOR": "docker", **driver.env}
    report = Report.of(used)
    assert {"cuda", "gpu 0", "gpu 3", "gpu toolkit"} <= report.problems
    assert report["driver"]["found"] == "NVIDIA 535.104, up to CUDA 12.2"
    assert "image cuda-13.0 builds for CUDA 13.0" in report["cuda"]["found"]
    assert "install driver 580" in report["cuda"]["step"]
    assert "in quarantine, the driver reported Xid 79" in report["gpu 0"]["found"]
    assert "hermes admin gpu release GPU-fake-0" in report["gpu 0"]["step"]
    assert report["gpu 1"]["status"] == "note" and "nvidia-smi -pm 1" in report["gpu 1"]["step"]
    assert "process 1, which is no run" in report["gpu 2"]["found"]
    assert "GPU is lost" in report["gpu 3"]["found"]
    assert "nvidia-ctk" in report["gpu toolkit"]["step"]


def test_gpus_as_they_should_be(used: Service, tmp_path: Path) -> None:
    used.env |= FakeDriver(tmp_path).build().world(gpu(0)).env
    report = Report.of(used)
    assert report["driver"]["found"] == "NVIDIA 580.00, up to CUDA 13.0"
    assert report["cuda"]["status"] == report["gpu 0"]["status"] == "ok"
    assert report["gpu 0"]["found"].endswith("capability 9.0, free")


def test_gpus_divided_by_mig(used: Service, tmp_path: Path) -> None:
    driver = FakeDriver(tmp_path).build()
    used.env |= driver.world(gpu(0), instance(0, 0), instance(0, 1)).env
    report = Report.of(used)
    assert report["gpu 0.1"]["found"] == "NVIDIA-H200-MIG-1g.18gb, 16 GiB, capability 9.0, free"
    driver.world("modes 1 1 1", gpu(0))
    report = Report.of(used)
    assert report["gpu 0"]["status"] == "warning" and "-mig 0" in report["gpu 0"]["step"]
    assert report["gpu 0"]["found"] == "in MIG mode, and has no instances: nothing of it is given away"


def test_a_runtime_that_the_engine_does_not_have(engine: None, fresh: Service) -> None:
    fresh.env |= {"HERMES_EXECUTOR": "docker", "HERMES_RUNTIME": "enchanted"}
    report = Report.of(fresh)
    assert report.problems == {"engine ground"}
    assert "no such runtime (it has: " in report["engine ground"]["found"]
    assert report["engine ground"]["step"] == "add it to /etc/docker/daemon.json"


def test_a_database_of_a_newer_program(used: Service) -> None:
    execute(used, "UPDATE alembic_version SET version_num = '9999'")
    report = Report.of(used)
    assert report.problems == {"database", "service"}  # that it does not run is one as well
    assert "a newer Hermes has written it: schema 9999" in report["database"]["found"]
    assert "restore a backup" in report["database"]["step"]
    assert "hermes up" in report["service"]["step"]


def test_postgresql_is_asked_for_its_schema_and_its_password_is_not_shown(fresh: Service) -> None:
    if (binaries := find_binaries()) is None:
        return missing("PostgreSQL")
    with running(binaries) as url:
        fresh.env["HERMES_DATABASE_URL"] = url.replace("@", ":secret@")
        assert Report.of(fresh)["database"]["found"].startswith("schema none is older than")
        assert use(fresh, "admin", "user", "add", "alice").exit_code == 0
        report = Report.of(fresh)
        assert report["database"]["status"] == "ok" and ", schema 0" in report["database"]["found"]
        assert report["stuck"]["found"] == "nothing" and "secret" not in str(report.findings)
    report = Report.of(fresh)
    assert "database" in report.problems and "systemctl status postgresql" in report["database"]["step"]


def test_a_database_that_is_damaged(used: Service) -> None:
    file = used.data / "hermes.db"
    with closing(sqlite3.connect(file)) as database:
        (page,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'artifact'").fetchone()
    with file.open("r+b") as pages:
        pages.seek((page - 1) * 4096)
        pages.write(b"\xff" * 4096)
    report = Report.of(used)
    assert "integrity" in report.problems and "damaged" in report["integrity"]["found"]
    assert "restore the last backup" in report["integrity"]["step"]


def test_a_clock_that_went_back(used: Service) -> None:
    ahead = time.time() + 7200
    os.utime(used.data / "hermes.db", (ahead, ahead))
    report = Report.of(used)
    assert "clock" in report.problems and "behind the last write" in report["clock"]["found"]
    assert "timedatectl" in report["clock"]["step"]


def test_a_wrong_setting_is_a_finding(fresh: Service) -> None:
    fresh.env["HERMES_LEASE"] = "soon"
    report = Report.of(fresh)
    assert report.problems == {"settings"} and "HERMES_LEASE='soon'" in report["settings"]["found"]


@pytest.fixture
def stranger() -> Iterator[int]:
    """The port of a web server that is not Hermes."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, args=(0.05,)).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_a_port_that_belongs_to_somebody_else(fresh: Service, stranger: int) -> None:
    fresh.port = stranger
    report = Report.of(fresh)
    assert report.problems == {"service"} and "BaseHTTP" in report["service"]["found"]
    assert f"ss -ltnp 'sport = :{stranger}'" in report["service"]["step"]


@pytest.fixture
def alone(used: Service) -> Iterator[Service]:
    """The web process, with neither builder nor runner, and too slow to put anything right."""
    used.env["HERMES_POLL"] = "1000"
    command = [sys.executable, "-m", "hermes.serve"]
    with (used.data / "log").open("wb") as log:
        process = subprocess.Popen(command, env=used.environment(), stdout=log, stderr=log)
    wait_for(used.answers)
    yield used
    process.terminate()
    assert process.wait(PATIENCE_S) == 0


def test_work_that_nobody_does(alone: Service) -> None:
    columns = "state,attempt,faults,not_before,reason,created_at,repo_id,user_id,commit_sha,inputs,plan"
    old = "0,0,0,'',1000,1,1"
    execute(alone, f"INSERT INTO build ({columns},lease_until) VALUES ('building',{old},'a','','{{}}',2000)")
    execute(alone, f"INSERT INTO build ({columns}) VALUES ('queued',{old},'b','','{{}}')")
    report = Report.of(alone)
    assert report.problems == {"processes", "runners", "stuck"}
    assert report["processes"]["found"].startswith("not there: builder, runner")
    assert report["runners"]["found"] == "none has ever shown itself"
    assert "build 1 (its lease is long over), build 2 (queued for" in report["stuck"]["found"]
    assert "journalctl -u hermes" in report["stuck"]["step"]
    assert "no runner shows a sign of life" in report["service"]["found"]


def test_without_bubblewrap_the_local_executor_has_no_fence(fresh: Service, tmp_path: Path) -> None:
    fresh.env |= without_bubblewrap(tmp_path / "bin")
    assert "bubblewrap is not installed: programs see all that this user can" in use(fresh, "doctor").output
