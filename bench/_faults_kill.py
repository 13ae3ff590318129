"""bench.faults: one process of an instance is killed, and the time until nobody notices any more."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial

from bench._tools import Figures, read_only
from tests.leftovers import the_process
from tests.programs import shell
from tests.service import Pushed, Service, wait_for

_PATIENCE_S = 120.0
_LONG = shell("i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); sleep 0.05; done")
_BUILD = shell("echo hello", make="\t@echo compiling; sleep 3; echo compiled")
_SHORT = shell("echo hello")
Row = dict[str, object]


def _kill(service: Service, word: str, number: signal.Signals = signal.SIGKILL) -> float:
    """When it was."""
    os.kill(the_process(service, word), number)
    return time.monotonic()


def _since(began: float, ask: Callable[[], object]) -> float:
    wait_for(ask, _PATIENCE_S)
    return time.monotonic() - began


def _until(service: Service, began: float, table: str, row_id: int, is_so: Callable[[Row], bool]) -> float:
    """How long it took until the row was so."""
    return _since(began, lambda: is_so(_row(service, table, row_id)))


def _row(service: Service, table: str, row_id: int) -> Row:
    with closing(read_only(service.data)) as rows:
        rows.row_factory = lambda cursor, row: {
            column[0]: value for column, value in zip(cursor.description, row, strict=True)
        }
        return dict(rows.execute(f"SELECT * FROM {table} WHERE id = ?", (row_id,)).fetchone())


def _begin(service: Service, files: dict[str, str | bytes], what: str) -> tuple[Pushed, int]:
    """A push whose build (or run) is at work, and its number."""
    pushed = service.push(files, "detach")
    states = ("building",) if what == "builds" else ("running",)
    wait_for(lambda: [each for each in service.commit_page(pushed)[what] if each["state"] in states], 60)
    return pushed, int(service.commit_page(pushed)[what][0]["id"])


def _rank_of(service: Service, run_id: int) -> int:
    with closing(read_only(service.data)) as rows:
        return int(rows.execute("SELECT id FROM rank WHERE run_id = ?", (run_id,)).fetchone()[0])


def _has_another(owner: object, row: Row) -> bool:
    return row["lease_owner"] != owner


def measure_runner(service: Service, runs: int, figures: Figures) -> None:
    """Until the next runner has the program, and how much later than without a fault the run has ended."""
    adopted, late = [], []
    for _ in range(runs):
        pushed, run_id = _begin(service, _LONG, "runs")
        rank = _rank_of(service, run_id)
        owner = _row(service, "rank", rank)["lease_owner"]
        began = _kill(service, "hermes runner")
        adopted.append(_until(service, began, "rank", rank, partial(_has_another, owner)))
        run = service.run_of(pushed, _PATIENCE_S)
        assert run["state"] == "succeeded", run
        row = _row(service, "rank", rank)
        assert row["attempt"] == 1, row
        late.append(float(str(row["ended_at"])) - float(str(row["started_at"])))
    figures.median("runner_killed_until_adopted", adopted, most=5.0)
    figures.median("runner_killed_program_of_10_s_took", late)


def measure_builder(service: Service, runs: int, figures: Figures) -> None:
    """Until the build is at work again, and until its image is there."""
    again, built = [], []
    for _ in range(runs):
        pushed, build_id = _begin(service, _BUILD, "builds")
        began = _kill(service, "hermes builder")
        again.append(_until(service, began, "build", build_id, lambda row: row["attempt"] == 2))
        built.append(_until(service, began, "build", build_id, lambda row: row["state"] == "built"))
        service.run_of(pushed, _PATIENCE_S)
    figures.median("builder_killed_until_it_builds_again", again)
    figures.median("builder_killed_until_built", built)


def measure_web(service: Service, runs: int, figures: Figures) -> None:
    """Until it answers; the run does not notice."""
    answers = []
    for _ in range(runs):
        pushed, _ = _begin(service, _LONG, "runs")
        began = _kill(service, "hermes web")
        answers.append(_since(began, service.answers))
        assert service.run_of(pushed, _PATIENCE_S)["state"] == "succeeded"
    figures.median("web_killed_until_it_answers", answers)


def measure_redis(service: Service, runs: int, figures: Figures) -> None:
    """From push to the end of its run, with Redis and right after Redis was killed."""
    with_redis, without = list[float](), list[float]()
    for _ in range(runs):
        for times, killed in ((with_redis, False), (without, True)):
            if killed:
                _kill(service, "redis-server")
            began = time.monotonic()
            pushed = service.push(_SHORT)
            assert pushed.code == 0, pushed.output
            times.append(time.monotonic() - began)
        with service.client() as client:  # Redis is back before the next one begins
            wait_for(lambda: client.get("/healthz").json()["redis"], _PATIENCE_S)
    figures.median("push_to_end_with_redis", with_redis)
    figures.median("push_to_end_redis_killed", without)
    extra = [slow - fast for slow, fast in zip(without, with_redis, strict=True)]
    figures.median("redis_killed_extra", extra, most=5.0)


def measure_lease(service: Service, runs: int, figures: Figures) -> None:
    """A runner that neither works nor ends: until its work is queued again, then until that has ended."""
    queued = []
    for _ in range(runs):
        pushed, run_id = _begin(service, shell("echo begun; sleep 5"), "runs")
        rank = _rank_of(service, run_id)
        pid = the_process(service, "hermes runner")
        began = _kill(service, "hermes runner", signal.SIGSTOP)
        queued.append(_until(service, began, "rank", rank, lambda row: row["faults"] == 1))
        os.kill(pid, signal.SIGKILL)
        assert service.run_of(pushed, _PATIENCE_S)["state"] == "succeeded"
    figures.median("lease_lost_until_queued_again", queued, most=65.0)
