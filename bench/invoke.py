"""Invocations: a warm call against `docker run`, how many are taken a second, and bytes through a program.

warm     a program that does nothing, called with mode=sync over a fresh connection, and by `hermes run` as a
         process, in turns with `docker run --rm` of the same base image that does nothing either; each begins
         when what the last call left to do is done, so that nobody pays for another
accept   invocations with mode=async by eight clients at a time, and until all have ended; programs without
         an engine, so that the machine is not what is measured
through  bytes from a client's stdin through `cat` and back, against a pipe on the same machine, and against
         its disk: input is on it before a program begins, its result is kept there (TMPDIR=/dev/shm: none)

    make bench NAME=invoke [ARGS="--only warm,accept,through --runs 20"]
"""

import hashlib
import http.client
import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from functools import partial
from statistics import median
from urllib.parse import urlsplit

from bench import _tools
from bench._tools import IMAGE, Figures, instance, say, scratch, wanted
from hermes.settings import Settings
from tests.leftovers import containers
from tests.service import Service, wait_for

_CASES = {"warm": 20, "accept": 1000, "through": 3}
_CLIENTS = 8
_WAITING = Settings().warm
_REST_S = 0.3  # the engine has things to do after its answers
_THROUGH_BYTES = 1 << 30
_MOST_RATIO, _MOST_OVER_S, _LEAST_PER_S, _LEAST_MB_S = 1.2, 0.15, 200.0, 200.0
_FILES: dict[str, str | bytes] = {
    "hermes.toml": 'handler = "./a.out"\n',
    "Makefile": "a.out: main.c\n\tgcc -O2 -o a.out main.c\n",
    "main.c": "#define _GNU_SOURCE\n#include <fcntl.h>\n#include <unistd.h>\n"
    "static char block[1 << 20];\n"
    "int main(int argc, char **argv) {\n"
    "    if (argc < 2) return 0;\n"
    "    for (ssize_t n; (n = read(0, block, sizeof block)) > 0;)\n"
    "        for (ssize_t at = 0, k; at < n; at += k) if ((k = write(1, block + at, n - at)) < 0) return 1;\n"
    "    return 0;\n}\n",
}


def _connect(service: Service) -> http.client.HTTPConnection:
    where = urlsplit(service.url)
    return http.client.HTTPConnection(where.hostname or "", where.port, timeout=600)


def _post(service: Service, one: http.client.HTTPConnection, query: str) -> http.client.HTTPResponse:
    headers = {"Authorization": f"Bearer {service.token}"}
    one.request("POST", f"/api/v1/functions/{service.user}/noop/runs?{query}", headers=headers)
    return one.getresponse()


def _called(service: Service) -> float:
    began = time.monotonic()
    one = _connect(service)
    answer = _post(service, one, "mode=sync")
    body = answer.read()
    one.close()
    assert answer.status == 200, body
    return time.monotonic() - began


def _timed(command: list[str], env: dict[str, str] | None = None) -> float:
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL, env=env)
    return time.monotonic() - began


def _rest(service: Service) -> None:
    """Until the box of the last call is gone, and those of the next calls are started."""
    boxes = service.data / "spool" / "boxes"

    def rests() -> bool:
        here, running = [*boxes.iterdir()], containers(service, all_of_them=False)
        return len(here) == len(containers(service)) == len(running) == _WAITING

    wait_for(rests)
    time.sleep(_REST_S)


def _push(service: Service) -> None:
    pushed = service.push(_FILES, repo="noop")
    assert service.settled(pushed)["state"] == "succeeded", pushed.output


def _warm(runs: int, figures: Figures) -> None:
    docker = ["docker", "run", "--rm", "--network", "none", IMAGE, "true"]
    samples: dict[str, list[float]] = defaultdict(list)
    with instance("docker") as service:
        _push(service)
        env = service.environment() | {"HERMES_SERVER": service.url, "HERMES_TOKEN": service.token}
        ours = [sys.executable, "-m", "hermes", "run", f"{service.user}/noop"]
        for _ in range(_WAITING):
            _called(service)
        rivals = {
            "call": partial(_called, service),
            "docker_run": partial(_timed, docker),
            "command": partial(_timed, ours, env),
        }
        for number in range(-2, runs):
            once = {}
            for name, measured in rivals.items():
                _rest(service)
                once[name] = measured()
            if number >= 0:
                for name, seconds in once.items():
                    samples[name].append(seconds)
                said = "  ".join(f"{name} {seconds:.3f} s" for name, seconds in once.items())
                say(f"warm {number + 1}/{runs}  {said}")
    bare = median(samples["docker_run"])
    for name in ("docker_run", "call", "command"):
        figures.median(f"warm_{name}", samples[name])
    figures.add("warm_call_over_docker_run", median(samples["call"]) - bare, "s", _MOST_OVER_S)
    figures.add("warm_call_ratio", median(samples["call"]) / bare, "x", _MOST_RATIO)
    figures.add("warm_command_ratio", median(samples["command"]) / bare, "x", _MOST_RATIO)


def _accept(calls: int, figures: Figures) -> None:
    with instance("local", {"HERMES_RUNS_PER_MINUTE": "0"}) as service:
        _push(service)
        left = list(range(calls))
        taken: list[int] = []

        def client() -> None:
            one = _connect(service)
            while left:
                left.pop()
                answer = _post(service, one, "")
                assert answer.status == 202, answer.read()
                taken.append(int(answer.headers["X-Hermes-Run"]))
                answer.read()

        clients = [threading.Thread(target=client) for _ in range(_CLIENTS)]
        began = time.monotonic()
        for each in clients:
            each.start()
        for each in clients:
            each.join()
        took_s = time.monotonic() - began
        say(f"{len(taken)} taken in {took_s:.1f} s")
        rows = _tools.read_only(service.data)
        over = "SELECT count(*) FROM run WHERE trigger = 'api' AND state = 'succeeded'"
        wait_for(lambda: rows.execute(over).fetchone()[0] == calls, 900)
        all_s = time.monotonic() - began
        rows.close()
    assert len(set(taken)) == calls
    figures.add("accept_per_s", calls / took_s, "1/s")
    say(f"target accept_per_s >= {_LEAST_PER_S:g}: {'met' if calls / took_s >= _LEAST_PER_S else 'MISSED'}")
    figures.add("accept_all_ended", all_s, "s")


def _through(runs: int, figures: Figures) -> None:
    with scratch() as folder, instance("local") as service:
        _push(service)
        data = folder / "data"
        block, began = os.urandom(1 << 20), time.monotonic()
        with data.open("wb") as file:
            for _ in range(_THROUGH_BYTES >> 20):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        disk_s = time.monotonic() - began
        digest = hashlib.sha256(data.read_bytes()).hexdigest()
        rates: dict[str, list[float]] = defaultdict(list)
        address = f"{service.url}/api/v1/functions/{service.user}/noop/runs?mode=sync&arg=cat"
        for number in range(runs):
            call = f"curl -sf -H 'Authorization: Bearer {service.token}' -T {data} -X POST '{address}'"
            for name, command in (("call", call), ("pipe", f"cat {data} | cat")):
                began = time.monotonic()
                found = subprocess.run(
                    f"{command} | sha256sum" if number == 0 else f"{command} | cat >/dev/null",
                    shell=True, check=True, capture_output=True, text=True,
                ).stdout  # fmt: skip
                assert number or found.split()[0] == digest
                if number:
                    rates[name].append(_THROUGH_BYTES / 1e6 / (time.monotonic() - began))
            say(f"through {number + 1}/{runs} { ({name: round(each[-1]) for name, each in rates.items()}) }")
    figures.add("through_disk", _THROUGH_BYTES / 1e6 / disk_s, "MB/s")
    figures.median("through_call", rates["call"], "MB/s")
    figures.median("through_pipe", rates["pipe"], "MB/s")
    met = median(rates["call"]) >= _LEAST_MB_S
    say(f"target through_call >= {_LEAST_MB_S:g} MB/s: {'met' if met else 'MISSED'}")


def measure() -> Figures:
    """The whole measurement, as the command line asks for it."""
    figures = Figures()
    cases = {"warm": _warm, "accept": _accept, "through": _through}
    for name, runs in wanted(__doc__, _CASES).items():
        cases[name](runs, figures)
    return figures


if __name__ == "__main__":
    _tools.main(measure)
