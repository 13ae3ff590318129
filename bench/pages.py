"""How fast pages are after years of work: 100,000 runs of 50 repositories, one of them of 10,000 ranks.

One `python -m hermes.serve` on one core; each address is asked for over one connection, one request after the
other, by an owner of many repositories and by somebody new. Figures are the time to the last byte, the CPU
time of the process (`_cpu`: a busy machine does not change it much), and how large the page is by itself
(`_kib`) and with all that it links besides artifacts. Against, in 95 of 100 requests: 50 ms for the dashboard
and a repository's page on SQLite, 100 ms on PostgreSQL; 150 KiB.

    make bench NAME=pages [ARGS="--runs 100000 --requests 100 --database sqlite"]
"""

import argparse
import asyncio
import os
import re
import time
from pathlib import Path
from typing import NamedTuple

import httpx
from sqlalchemy import text

from bench import _tools
from bench._pages_rows import Filled, fill
from bench._tools import Figures, percentile, say, scratch, serving
from bench.idle import cost
from hermes.process import open_context
from hermes.settings import load_settings
from tests import postgres
from tests.service import Service

_MOST_MS = {"sqlite": 50.0, "postgresql": 100.0}
_MOST_KIB = 150.0
_WARM_UP = 5  # requests
_WITH_TARGET = ("dashboard", "newcomer", "repo")


def _addresses(filled: Filled) -> dict[str, str]:
    return {
        "dashboard": "/",
        "newcomer": "/",
        "repo": f"/{filled.repo}",
        "commit": f"/{filled.repo}/commit/{filled.sha}",
        "run": f"/runs/{filled.run_id}",
        "wide_run": f"/runs/{filled.wide_run_id}?rank=5000",
        "gpus": "/gpus",
        "badge": f"/{filled.repo}/badge.svg",
        "api_runs": "/api/v1/runs",
        "api_newcomer": "/api/v1/runs",
    }


def _ask(client: httpx.Client, path: str) -> tuple[float, bytes]:
    began = time.perf_counter()
    answer = client.get(path)
    took_s = time.perf_counter() - began
    assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:500]}"
    return took_s, answer.content


class _Load(NamedTuple):
    """Which process is asked, and how often each address."""

    pid: int
    requests: int


def _measure(service: Service, filled: Filled, load: _Load, database: str) -> Figures:
    figures = Figures()
    for name, path in _addresses(filled).items():
        token = filled.newcomer_token if "newcomer" in name else filled.token
        with service.client(token) as client:
            page = [_ask(client, path)[1] for _ in range(_WARM_UP)][-1]
            before_s = cost(load.pid).cpu_s
            times_ms = [_ask(client, path)[0] * 1000 for _ in range(load.requests)]
            cpu_ms = (cost(load.pid).cpu_s - before_s) * 1000 / load.requests
            linked = _linked_bytes(client, page)
        prefix = f"{database}_{name}"
        figures.median(f"{prefix}_p50", times_ms, "ms")
        most = _MOST_MS[database] if name in _WITH_TARGET else None
        figures.add(f"{prefix}_p95", percentile(times_ms, 95), "ms", most)
        figures.add(f"{prefix}_cpu", cpu_ms, "ms")
        figures.add(f"{prefix}_kib", len(page) / 1024, "KiB")
        if linked:
            whole = (len(page) + linked) / 1024
            figures.add(f"{prefix}_with_links_kib", whole, "KiB", _MOST_KIB)
    return figures


def _linked_bytes(client: httpx.Client, page: bytes) -> int:
    """Style, scripts and pictures of ours."""
    links = set(re.findall(r'(?:href|src)="(/static/[^"]+)"', page.decode("utf-8", "replace")))
    return sum(len(client.get(link).content) for link in links)


async def _fill(service: Service, runs: int) -> Filled:
    async with open_context(load_settings(service.environment())) as context:
        filled = await fill(context, runs)
        if not context.database.is_sqlite:  # there it is done by itself, after a minute
            async with context.database.write() as session:
                await session.execute(text("ANALYZE"))
    return filled


def _one(database: str, url: str, runs: int, requests: int, folder: Path) -> Figures:
    settings = {"HERMES_REDIS_URL": "none", "HERMES_DATABASE_URL": url, "HERMES_LOG": "json"}
    service = Service(folder / database, {key: value for key, value in settings.items() if value})
    service.data.mkdir(parents=True)
    say(f"{database}: filling a database with {runs} runs")
    filled = asyncio.run(_fill(service, runs))
    with serving(service) as pid:
        os.sched_setaffinity(pid, {min(os.sched_getaffinity(0))})  # one core, of all its threads to come
        return _measure(service, filled, _Load(pid, requests), database)


def measure() -> Figures:
    """The whole measurement, as the command line asks for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=100, help="of each address")
    parser.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both")
    args = parser.parse_args()
    binaries = postgres.find_binaries()
    figures = Figures()
    with scratch() as folder:
        if args.database != "postgresql":
            figures.extend(_one("sqlite", "", args.runs, args.requests, folder))
        if args.database != "sqlite" and binaries is not None:
            with postgres.running(binaries) as url:
                figures.extend(_one("postgresql", url, args.runs, args.requests, folder))
    return figures


if __name__ == "__main__":
    _tools.main(measure)
