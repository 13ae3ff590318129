"""Five hundred people who watch: all the same log, or a hundred logs."""

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bench._runner_runs import Runs
from bench._tools import Figures, percentile, say
from bench.idle import cost
from tests.service import wait_for

_SPEAKS = """perl -MTime::HiRes=time,sleep -e '
$| = 1; for (1 .. %d) { printf "%%.4f x\\n", time; sleep(%g) }'"""
_WATCH_S = 10.0
_LOGS = 100  # so many programs, a machine of two cores bears beside the viewers
_SMALL = '[run]\ncpus = 1\nmemory = "64M"\n'


@dataclass
class _Crowd:
    """Viewers, by plain sockets: what is measured is the server, and one Python holds both."""

    host: str
    port: int
    token: str
    since: float  # what was printed before is not counted: not everybody was there
    delays: list[float] = field(default_factory=list)
    lines: int = 0

    async def watch(self, path: str, until: float) -> None:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        head = f"GET {path} HTTP/1.1\r\nHost: {self.host}\r\nAuthorization: Bearer {self.token}\r\n\r\n"
        writer.write(head.encode())
        try:
            async with asyncio.timeout(until - time.monotonic()):
                while line := await reader.readline():
                    if line.startswith(b'data: "'):
                        self._seen(json.loads(line[6:]))
        except TimeoutError:
            pass
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def _seen(self, text: str) -> None:
        now = time.time()
        for line in text.splitlines():
            with suppress(ValueError):
                self.lines += 1
                if (printed := float(line.split(" ")[0])) > self.since:
                    self.delays.append(now - printed)


def measure_crowd(runs: Runs, viewers: int, figures: Figures) -> None:
    """The same log, ten lines a second; then a hundred logs, one line in two seconds each."""
    _measure(runs, figures, "same", runs.push(_SPEAKS % (10_000, 0.1), 1), viewers, 1)
    _measure(runs, figures, "different", runs.push(_SPEAKS % (1000, 2.0), _LOGS, _SMALL), viewers, _LOGS)


def _measure(runs: Runs, figures: Figures, name: str, run_id: int, viewers: int, ranks: int) -> None:
    service = runs.service
    wait_for(lambda: runs.in_state(run_id, "running") == ranks, 300)
    pid = runs.process("hermes.serve")
    before = cost(pid)
    address = urlsplit(service.url)
    crowd = _Crowd(address.hostname or "", address.port or 80, service.token, time.time() + viewers / 100)
    paths = [f"/runs/{run_id}/events?rank={number % ranks}&lines=1" for number in range(viewers)]

    async def everybody() -> None:
        until = time.monotonic() + _WATCH_S + viewers / 100
        await asyncio.gather(*(crowd.watch(path, until) for path in paths))

    asyncio.run(everybody())
    after = cost(pid)
    runs.cancel(run_id)
    say(f"{viewers} viewers, {name} log: {crowd.lines} lines read")
    figures.add(f"crowd_{name}_p95", percentile(crowd.delays, 95), "s", most=1.0)
    figures.add(f"crowd_{name}_cpu", (after.cpu_s - before.cpu_s) / (_WATCH_S + viewers / 100), "cores")
    figures.add(f"crowd_{name}_memory_more", after.pss_mib - before.pss_mib, "MiB")
