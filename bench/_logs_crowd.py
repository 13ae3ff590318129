"""Five hundred people who watch: all the same log, or each one of their own.

The server runs alone: no runner, no programs. The rows say that the runs are at work, and one cheap process
appends to their logs through `hermes.logs`, as runners do; another one is the crowd. So what the server costs
is seen apart from what the load costs."""

import asyncio
import json
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog
from sqlalchemy import select

from bench._logs_viewers import Orders, Seen
from bench._runner_runs import Runs
from bench._tools import Figures, percentile, say, scratch, serving
from bench.idle import cost
from hermes.accounts import find_user
from hermes.plan import Plan
from hermes.process import open_context
from hermes.requests import run_again
from hermes.settings import load_settings
from hermes.states import Event
from hermes.tables import Build, Rank, Run
from hermes.transitions import move
from tests.service import Service

_WATCH_S = 15.0
_SETTLE_S = 3.0
_HOUR_S = 3600.0
_NO_BOUNDS = {"HERMES_STREAMS": "0", "HERMES_USER_STREAMS": "0", "HERMES_PUSH_RATE": "0"}


def measure_crowd(viewers: int, figures: Figures) -> None:
    """The same log, ten lines a second; then as many logs as viewers, one line in two seconds each."""
    with scratch() as folder:
        service = Service(
            folder / "data", {"HERMES_EXECUTOR": "local", "HERMES_REDIS_URL": "none", **_NO_BOUNDS}
        )
        service.data.mkdir(parents=True)
        service.token = service.add_user(service.user)
        with serving(service) as pid:
            first = Runs(service).push("true", 1)
            ranks = asyncio.run(_begin(service, first, viewers + 1))
            _measure(service, pid, figures, "same", {first: ranks.pop(first)}, viewers, 0.1)
            _measure(service, pid, figures, "different", ranks, viewers, 2.0)


async def _begin(service: Service, run_id: int, runs: int) -> dict[int, int]:
    """So many runs whose programs are at work, as far as rows say: {run: its rank's id}."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    settings = load_settings(service.environment())
    async with open_context(settings) as context, context.database.write() as session:
        run = await session.get_one(Run, run_id)
        user = await find_user(session, service.user)
        build = await session.get_one(Build, run.build_id)
        assert user is not None
        plan = Plan.model_validate(run.plan)
        lease: dict[str, Any] = {"lease_owner": "bench", "lease_until": time.time() + _HOUR_S}
        await move(session, build, Event.CLAIM, **lease)
        await move(session, build, Event.SUCCEED)
        for _ in range(runs - 1):
            await run_again(session, run, user, plan)
        ranks = (await session.scalars(select(Rank).order_by(Rank.run_id))).all()
        slot = {"cpus": 1, "memory_bytes": 1 << 26, "gpus": [], "runner": "bench"}
        for rank in ranks:
            await move(session, rank, Event.CLAIM, slot=slot, **lease)
            await move(session, rank, Event.START)
        return {rank.run_id: rank.id for rank in ranks}


@contextmanager
def _printing(logs: list[Path], period_s: float) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "bench._logs_writer", str(period_s), *map(str, logs)]
    with subprocess.Popen(command) as writer:
        yield writer
        writer.send_signal(signal.SIGTERM)


def _watch(orders: Orders, pid: int) -> tuple[Seen, float, float, float]:
    """What the crowd saw; while all were there, the cores that the server used and waited for; its memory."""
    command = [sys.executable, "-m", "bench._logs_viewers"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as crowd:
        assert crowd.stdin is not None and crowd.stdout is not None
        with crowd.stdin as orders_in:
            json.dump(vars(orders), orders_in)
        ready = crowd.stdout.readline()  # everybody is there
        assert ready, "the crowd did not come"
        before, waited_s = cost(pid), _waited_s(pid)
        time.sleep(orders.lasts_s - 1)
        after, waited_s = cost(pid), _waited_s(pid) - waited_s
        seen = Seen(**json.loads(crowd.stdout.read()))
    lasted_s = orders.lasts_s - 1
    return seen, (after.cpu_s - before.cpu_s) / lasted_s, waited_s / lasted_s, after.pss_mib


def _waited_s(pid: int) -> float:
    """How long the main thread, which serves, could have run if there had been a core."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def _measure(
    service: Service,
    pid: int,
    figures: Figures,
    name: str,
    ranks: dict[int, int],
    viewers: int,
    period_s: float,
) -> None:
    address = urlsplit(service.url)
    runs = list(ranks)
    paths = [f"/runs/{runs[number % len(runs)]}/events?lines=1" for number in range(viewers)]
    orders = Orders(address.hostname or "", address.port or 80, service.token, paths, _SETTLE_S, _WATCH_S)
    memory_before = cost(pid).pss_mib
    logs = [service.data / "logs" / "rank" / f"{rank}.1.log" for rank in ranks.values()]
    with _printing(logs, period_s) as writer:
        began = time.monotonic()
        seen, cpu, waited, memory = _watch(orders, pid)
        writer_cpu = cost(writer.pid).cpu_s / (time.monotonic() - began)
    wrong = f"{seen.wrong} out of order, {seen.lost} cut off"
    say(f"{viewers} viewers, {name} log: {seen.lines} lines read, {wrong}")
    assert not seen.wrong and not seen.lost, service.log[-3000:]
    figures.add(f"crowd_{name}_p50", percentile(seen.delays, 50), "s")
    figures.add(f"crowd_{name}_p95", percentile(seen.delays, 95), "s", most=1.0)
    figures.add(f"crowd_{name}_server_cpu", cpu, "cores")
    figures.add(f"crowd_{name}_server_waited", waited, "cores")
    figures.add(f"crowd_{name}_crowd_cpu", seen.cpu_s / _WATCH_S, "cores")
    figures.add(f"crowd_{name}_writer_cpu", writer_cpu, "cores")
    figures.add(f"crowd_{name}_memory_more", memory - memory_before, "MiB")
