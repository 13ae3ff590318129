"""What the measurements share: figures and how they are printed, a running instance, and cleaning up.

Every module cleans up in `finally` blocks; `main` turns SIGTERM into an exception, so that they run."""

import argparse
import asyncio
import os
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from hermes.errors import HermesError
from hermes.executors import choose_executor
from hermes.settings import load_settings
from tests.forked import Forked
from tests.service import TRUST, Service, wait_for

IMAGE = "hermes/cpp:2"
_OUR_SOCKET = Path("/var/tmp/hermes-docker/docker.sock")


def say(text: str) -> None:
    """What goes on, for people; the figures come later."""
    print(f"# {text}", flush=True)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


@dataclass
class Figures:
    """What was measured, in order; printed once, at the end."""

    _rows: list[tuple[str, float, str]] = field(default_factory=list)
    _targets: list[tuple[str, float]] = field(default_factory=list)

    def add(self, name: str, value: float, unit: str, most: float | None = None) -> None:
        """One figure; `most` is its target."""
        self._rows.append((name, value, unit))
        if most is not None:
            self._targets.append((name, most))

    def median(self, name: str, values: Sequence[float], unit: str = "s", most: float | None = None) -> None:
        """The median of a sample; nothing if there is none."""
        if values:
            self.add(name, statistics.median(values), unit, most)

    def extend(self, other: "Figures") -> None:
        """Those of another measurement after these."""
        self._rows += other._rows
        self._targets += other._targets

    def show(self) -> None:
        """The targets as a comment, then `name value unit` lines."""
        values = {name: (value, unit) for name, value, unit in self._rows}
        for name, most in self._targets:
            value, unit = values[name]
            say(f"target {name} <= {most:g} {unit}: {'met' if value <= most else 'MISSED'}")
        for name, value, unit in self._rows:
            print(f"{name} {_round(value)} {unit}")


def _round(value: float) -> str:
    """Four digits, never an exponent."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{float(f'{value:.4g}')}"


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="hermes-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def read_only(data: Path) -> sqlite3.Connection:
    """The rows of an instance, which reading does not disturb."""
    return sqlite3.connect(f"file:{data / 'hermes.db'}?mode=ro", uri=True)


@contextmanager
def instance(executor: str, settings: Mapping[str, str] | None = None) -> Iterator[Service]:
    """A fresh Hermes with one user, ended and swept afterwards."""
    with scratch() as folder:
        service = Service(folder / "data", {"HERMES_EXECUTOR": executor, **(settings or {})})
        try:
            say(f"starting hermes up ({executor}) in {service.data}")
            service.start(executed=True)
            service.token = service.add_user(service.user)
            yield service
        finally:
            if service.process is not None:
                _end(service, service.process)
            asyncio.run(_sweep(service))


@contextmanager
def serving(service: Service) -> Iterator[int]:
    """Git and pages without a builder and a runner; the process."""
    with (service.data / "service.log").open("ab") as log:
        command = [sys.executable, "-m", "hermes.serve"]
        process = subprocess.Popen(command, env=service.environment(), stdout=log, stderr=log)
    try:
        wait_for(lambda: _answers(service), 60)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _answers(service: Service) -> bool:
    try:
        return httpx.get(f"{service.url}/healthz", timeout=5, verify=TRUST).status_code < 500
    except httpx.TransportError:
        return False


def descendants(root: int) -> list[int]:
    """`root` and all processes that came from it."""
    children: dict[int, list[int]] = defaultdict(list)
    for pid, fields in _stats():
        children[int(fields[1])].append(pid)
    found = [root]
    for pid in found:
        found += children[pid]
    return found


def _stats() -> Iterator[tuple[int, list[str]]]:
    """(process id, the fields of /proc/PID/stat from `state` on) of every process."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                yield int(entry.name), (entry / "stat").read_text().rpartition(")")[2].split()


def _end(service: Service, up: "Forked | subprocess.Popen[bytes]") -> None:
    """End the service; with force if it does not listen, since nothing may be left behind."""
    family = descendants(up.pid)
    try:
        service.stop()
    except subprocess.TimeoutExpired:
        say("hermes up did not end at SIGTERM")
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        up.wait()


async def _sweep(service: Service) -> None:
    """Boxes of an instance that is gone; there are none unless it was killed."""
    executor, _ = await choose_executor(load_settings(service.environment()))
    for box in await executor.boxes():
        await executor.remove(box)
    await executor.close()


def find_engine() -> None:
    """Let Docker's own programs use the engine that scripts/ensure-docker starts, if nobody named another."""
    if "DOCKER_HOST" not in os.environ and not Path("/var/run/docker.sock").exists():
        os.environ["DOCKER_HOST"] = f"unix://{_OUR_SOCKET}"


def wanted(about: str | None, cases: Mapping[str, int]) -> dict[str, int]:
    """The cases, in order, and how often each is done (or how many of it), as the command line asks."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default=",".join(cases), help=f"some of {','.join(cases)}")
    parser.add_argument(
        "--runs",
        type=int,
        default=0,
        help="how often, or how many ranks or viewers (default: as suits it)",
    )
    args = parser.parse_args()
    names = args.only.split(",")
    if unknown := set(names) - set(cases):
        parser.error(f"--only: no {', '.join(sorted(unknown))}; there are {', '.join(cases)}")
    return {name: args.runs or runs for name, runs in cases.items() if name in names}


def describe_machine() -> None:
    """What the figures were measured on."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    say(f"{time.strftime('%Y-%m-%d %H:%M')}  {os.cpu_count()} cores, {memory_gib:.0f} GiB")
    say(f"load average {os.getloadavg()[0]:.2f} before (figures of a busy machine mean little)")


def main(measure: Callable[[], Figures]) -> None:
    """Measure and print; Ctrl-C and SIGTERM clean up first."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    find_engine()
    describe_machine()
    try:
        measure().show()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except HermesError as error:
        sys.exit(f"bench: {error}")
