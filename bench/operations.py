"""What watching an instance and backing it up cost, with 100,000 runs in its database.

One `python -m hermes.serve` on SQLite. `catch_up`: from its start until the counters of `/metrics` have all
that ever happened (later starts begin where they had stopped). `scrape` looks at the rows anew, as one every
15 s does; `scrape_waiting` does with 100,000 ranks in the queue; `scrape_soon` comes within five seconds of
another one. `readyz` writes a row each time. Then `hermes admin backup`, while the service runs, to the
same disk. Against: 100 ms of a scrape in 95 of 100.

    make bench NAME=operations [ARGS="--runs 100000 --scrapes 12"]
"""

import argparse
import asyncio
import os
import sqlite3
import time
from contextlib import closing

import httpx

from bench import _tools
from bench._pages_rows import fill
from bench._tools import Figures, percentile, say, scratch, serving
from bench.idle import cost
from hermes.process import open_context
from hermes.settings import load_settings
from tests.service import Service

_MOST_MS = 100.0
_PAUSE_S = 5.2


async def _fill(service: Service, runs: int) -> None:
    async with open_context(load_settings(service.environment())) as context:
        await fill(context, runs)


def _ask(client: httpx.Client, path: str) -> tuple[float, httpx.Response]:
    began = time.perf_counter()
    answer = client.get(path)
    return (time.perf_counter() - began) * 1000, answer


def _several(
    client: httpx.Client, path: str, pid: int, scrapes: int, pause_s: float
) -> tuple[list[float], float]:
    """Times, and the CPU time of one; both in ms."""
    times_ms, used_s = [], 0.0
    for _ in range(scrapes):
        time.sleep(pause_s)
        before_s = cost(pid).cpu_s
        took_ms, answer = _ask(client, path)
        used_s += cost(pid).cpu_s - before_s
        times_ms.append(took_ms)
        assert answer.status_code in (200, 503), answer.text
    return times_ms, used_s * 1000 / scrapes


def _counted(client: httpx.Client, runs: int) -> bool:
    """Whether the counters have all rank events that the rows were filled with."""
    lines = [
        line
        for line in client.get("/metrics").text.splitlines()
        if line.startswith("hermes_runs_asked_total")
    ]
    return sum(float(line.rpartition(" ")[2]) for line in lines) >= runs


def _watch(service: Service, runs: int, scrapes: int) -> Figures:
    figures = Figures()
    with serving(service) as pid:
        began = time.monotonic()
        os.sched_setaffinity(pid, {min(os.sched_getaffinity(0))})  # one core, of all its threads to come
        with service.client("") as client:
            while not _counted(client, runs):
                time.sleep(0.2)
            figures.add("catch_up", time.monotonic() - began, "s")
            figures.add("size", len(client.get("/metrics").content) / 1024, "KiB")
            for name, path, pause_s in (
                ("scrape", "/metrics", _PAUSE_S),
                ("scrape_soon", "/metrics", 0.0),
                ("readyz", "/readyz", _PAUSE_S),
            ):
                times_ms, cpu_ms = _several(client, path, pid, scrapes, pause_s)
                figures.median(name, times_ms, "ms")
                figures.add(f"{name}_p95", percentile(times_ms, 95), "ms", _MOST_MS)
                figures.add(f"{name}_cpu", cpu_ms, "ms")
            with closing(sqlite3.connect(service.data / "hermes.db", timeout=60)) as database, database:
                database.execute("UPDATE rank SET state = 'queued' WHERE state = 'succeeded'")
            times_ms, _ = _several(client, "/metrics", pid, scrapes, _PAUSE_S)
            figures.median("scrape_waiting", times_ms, "ms")
            figures.add("scrape_waiting_p95", percentile(times_ms, 95), "ms", _MOST_MS)
        _back_up(service, figures)
    return figures


def _back_up(service: Service, figures: Figures) -> None:
    dest = service.data.parent / "backup"
    began = time.monotonic()
    for line in service.hermes("admin", "backup", str(dest)).stderr.splitlines():
        say(line)
    figures.add("backup", time.monotonic() - began, "s")
    figures.add("backup_database", (dest / "hermes.db").stat().st_size / 2**20, "MiB")
    began = time.monotonic()
    service.hermes("admin", "restore", str(dest), "--data", str(service.data.parent / "restored"))
    figures.add("restore", time.monotonic() - began, "s")


def measure() -> Figures:
    """The whole measurement, as the command line asks for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--scrapes", type=int, default=12, help="of each kind")
    args = parser.parse_args()
    with scratch() as folder:
        service = Service(folder / "data", {"HERMES_REDIS_URL": "none", "HERMES_LOG": "json"})
        service.data.mkdir(parents=True)
        say(f"filling a database with {args.runs} runs")
        asyncio.run(_fill(service, args.runs))
        return _watch(service, args.runs, args.scrapes)


if __name__ == "__main__":
    _tools.main(measure)
