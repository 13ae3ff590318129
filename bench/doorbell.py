"""Why the doorbell is a Redis publish and not arq: how soon it wakes, and what waiting for it costs.

hermes.queue.Doorbell against an arq 0.28 worker that polls every 0.5 s (its default) and every 0.05 s, on
the same redis-server, as `hermes up` starts it: seconds from the ring in one process to the wake in another
(the pauses between rings are random, up to one poll), and CPU time of a listener that nobody rings. arq is
no dependency of ours and wants redis-py < 6, so it is installed into a virtual environment of its own, which
is gone afterwards; if it cannot be installed, only our own figures are printed.

    make bench NAME=doorbell [ARGS="--rings 200 --seconds 30"]
"""

import argparse
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from bench import _tools
from bench._tools import Figures, percentile, say, scratch
from hermes.redis_server import socket_path

_ARQ = "arq==0.28.*"
_ARQ_SIDE = Path(__file__).parent / "_arq_side.py"
_ROOT = Path(__file__).parent.parent
_UP_S = 10.0


class Side(NamedTuple):
    """One way to wake a process: the command of both its ends, and the most that a ring may wait."""

    name: str
    command: tuple[str, ...]
    listen_args: tuple[str, ...]
    poll_s: float


@contextmanager
def _child(command: list[str], env: dict[str, str] | None = None) -> Iterator["subprocess.Popen[str]"]:
    """A process with pipes, ended afterwards."""
    with subprocess.Popen(
        command, cwd=_ROOT, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        try:
            yield child
        finally:
            child.terminate()


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    """The private Redis of an instance; its URL."""
    socket = socket_path(folder)
    env = os.environ | {"HERMES_DATA": str(folder)}
    with _child([sys.executable, "-m", "hermes.redis_server"], env):
        deadline = time.monotonic() + _UP_S
        while not socket.exists():
            assert time.monotonic() < deadline, "redis-server did not come up"
            time.sleep(0.02)
        yield f"unix://{socket}"


def _install_arq(folder: Path) -> Path | None:
    """A Python with arq, or None where it cannot be had."""
    say(f"installing {_ARQ} into a virtual environment")
    python = folder / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", _ARQ]
    for command in ([sys.executable, "-m", "venv", str(folder)], install):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            say(f"arq cannot be installed here, so only ours is measured: {done.stderr.strip()[-300:]}")
            return None
    return python


def _sides(arq_python: Path | None) -> Iterator[Side]:
    yield Side("publish", (sys.executable, "-m", "bench._our_side"), (), 0.05)
    for delay_s in (0.5, 0.05) if arq_python else ():
        name = f"arq_poll_{delay_s:g}"
        yield Side(name, (str(arq_python), "-I", str(_ARQ_SIDE)), (str(delay_s),), delay_s)


def _read(stream: IO[str] | None) -> str:
    assert stream is not None
    line = stream.readline().strip()
    assert line, "a process of the measurement has ended"
    return line


def _latencies(side: Side, url: str, rings: int) -> list[float]:
    """Seconds from ring to wake."""
    listen, ring = [*side.command, "listen", url, *side.listen_args], [*side.command, "ring", url]
    with _child(listen) as listener, _child(ring) as ringer:
        for child in (listener, ringer):
            _read(child.stdout)
        found = []
        for _ in range(rings):
            time.sleep(random.uniform(0, side.poll_s))
            print(file=ringer.stdin, flush=True)
            found.append(float(_read(listener.stdout)) - float(_read(ringer.stdout)))
    return found


def _idle_percent(side: Side, url: str, seconds: float) -> float:
    """CPU of a listener that nobody rings, in percent of one core."""
    with _child([*side.command, "listen", url, *side.listen_args]) as listener:
        _read(listener.stdout)
        time.sleep(2)
        before = _cpu_s(listener.pid)
        time.sleep(seconds)
        return 100 * (_cpu_s(listener.pid) - before) / seconds


def _cpu_s(pid: int) -> float:
    """What the main thread has used, to the nanosecond; nothing here uses another one while it is idle."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def _measure(sides: list[Side], url: str, rings: int, seconds: float) -> Figures:
    figures = Figures()
    medians = {}
    for side in sides:
        say(f"{side.name}: {rings} rings, then {seconds:.0f} s of silence")
        latencies = _latencies(side, url, rings)
        medians[side.name] = percentile(latencies, 50)
        figures.add(f"{side.name}_wake_median", 1000 * medians[side.name], "ms")
        figures.add(f"{side.name}_wake_p95", 1000 * percentile(latencies, 95), "ms")
        figures.add(f"{side.name}_idle_cpu", _idle_percent(side, url, seconds), "%")
    for side in sides[1:]:
        figures.add(f"{side.name}_ratio_to_publish", medians[side.name] / medians["publish"], "x")
    return figures


def measure() -> Figures:
    """The whole measurement, as the command line asks for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rings", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long an idle listener is watched")
    args = parser.parse_args()
    with scratch() as folder:
        (folder / "data").mkdir()
        sides = list(_sides(_install_arq(folder / "venv")))
        with _redis(folder / "data") as url:
            return _measure(sides, url, args.rings, args.seconds)


if __name__ == "__main__":
    _tools.main(measure)
