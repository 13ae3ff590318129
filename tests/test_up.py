"""`hermes up` in the foreground: it ends when it is told to, in good order."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.leftovers import processes, the_process
from tests.service import PATIENCE_S, Service, free_port, wait_for


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Service]:
    one = Service(tmp_path / "data", {"HERMES_EXECUTOR": "local"})
    one.token = one.add_user(one.user)
    yield one.start(executed=True)
    if one.process is not None and one.process.poll() is None:
        one.stop()


def test_sigterm_ends_it_with_0_and_leaves_nothing_running(up: Service) -> None:
    assert up.stop() == 0 and not up.was_killed
    wait_for(lambda: not processes(up))


def test_no_process_holds_what_another_says_or_hears(up: Service) -> None:
    """They are forked from one: what that has open is not theirs."""
    pids = [the_process(up, f"hermes {name}") for name in ("web", "builder", "runner")]
    files = dict[int, set[str]]()
    for pid in pids:
        for each in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):  # it has just closed it
                files.setdefault(pid, set()).add(os.readlink(each))
    for pid in pids:
        said = os.readlink(f"/proc/{pid}/fd/1")
        assert said.startswith("pipe:") and os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
        assert [each for each in pids if said in files[each]] == [pid]


def test_two_signals_at_once_end_it_as_well(up: Service) -> None:
    assert up.process is not None
    up.process.send_signal(signal.SIGINT)
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(PATIENCE_S) == 0
    wait_for(lambda: not processes(up))


def test_words_that_find_no_room_end_nothing(tmp_path: Path) -> None:
    """Its stdout is a file on a disk that is full."""
    one = Service(tmp_path / "data", {"HERMES_EXECUTOR": "local", "HERMES_REDIS_URL": "none"})
    with open("/dev/full", "wb") as full:
        one.process = subprocess.Popen(
            [sys.executable, "-m", "hermes", "up"], env=one.environment(), stdout=full, stderr=full
        )
    try:
        with one.client("") as client:
            wait_for(lambda: answers(client))
    finally:
        assert one.stop() == 0
    wait_for(lambda: not processes(one))


def answers(client: httpx.Client) -> bool:
    with suppress(httpx.TransportError):
        return client.get("/healthz").status_code == 200
    return False


def test_a_setting_that_cannot_be_used_is_one_clear_line(tmp_path: Path) -> None:
    env = os.environ | {
        "HERMES_DATA": str(tmp_path),
        "HERMES_PORT": str(free_port()),
        "HERMES_EXECUTOR": "podman",
    }
    command = [sys.executable, "-m", "hermes", "up"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 1
    assert "HERMES_EXECUTOR='podman': must be one of auto, docker, local" in done.stderr


def test_the_journal_is_one_json_line_for_each_transition_with_its_ids(tmp_path: Path) -> None:
    one = Service(tmp_path / "data", {"HERMES_EXECUTOR": "local", "HERMES_LOG": "json"})
    one.token = one.add_user(one.user)
    one.start()
    run = one.run_of(one.push("ancestor-config"))
    assert one.stop() == 0
    journal = [json.loads(line.partition("| ")[2]) for line in one.log.splitlines() if "| {" in line]
    steps = [line for line in journal if line.get("id") == run["id"] and line["event"].startswith("run ")]
    events = [line["event"] for line in steps]
    events.remove("run queued")  # what another process says stands anywhere among them
    assert events == ["run starting", "run running", "run succeeded"]
    assert all(line["timestamp"] and line["level"] == "info" and line["process"] for line in steps)


def test_a_process_that_has_closed_all_is_gone_at_once(tmp_path: Path) -> None:
    """What it has said is heard; what Python does at its end would keep a stop waiting."""
    program = """
import atexit
from hermes.process import main

async def body(_context, _stop):
    print("said")

atexit.register(print, "torn down")
main("test", body)
"""
    env = os.environ | {"HERMES_DATA": str(tmp_path), "HERMES_REDIS_URL": "none"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "said\n", "")


@pytest.mark.parametrize(
    ("says", "words"), [("git version 2.25.1", "is too old"), (None, "git is not installed")]
)
def test_a_git_that_is_missing_or_too_old_is_said_with_the_next_step(
    tmp_path: Path, says: str | None, words: str
) -> None:
    if says:
        (tmp_path / "git").write_text(f"#!/bin/sh\necho {says}\n")
        (tmp_path / "git").chmod(0o755)
    env = os.environ | {"PATH": str(tmp_path), "HERMES_DATA": str(tmp_path / "data")}
    command = [sys.executable, "-m", "hermes", "up"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 1 and words in done.stderr and "Traceback" not in done.stderr
