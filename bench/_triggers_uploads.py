"""Uploads: many files against as many calls of the same bytes, one against a warm call; a watched folder."""

import http.client
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from bench import _tools
from bench._tools import Figures, instance, say, scratch
from tests.programs import shell
from tests.service import Service, wait_for

_CLIENTS = 8
_FILE = os.urandom(20_000)
_MOST_RATIO = 1.2
_PROGRAM = shell('cp "${HERMES_INPUT_FILE:-/dev/null}" "$HERMES_OUTPUT_DIR/copy"', '[on]\nupload = "*"\n')
_FREE = {"HERMES_RUNS_PER_MINUTE": "0"}


def _connect(service: Service) -> http.client.HTTPConnection:
    where = urlsplit(service.url)
    return http.client.HTTPConnection(where.hostname or "", where.port, timeout=600)


def _ask(service: Service, one: http.client.HTTPConnection, method: str, path: str) -> str:
    """The run that came of it."""
    function = f"/api/v1/functions/{service.user}/copy"
    headers = {"Authorization": f"Bearer {service.token}"}
    one.request(method, f"{function}{path}", body=_FILE, headers=headers)
    answer = one.getresponse()
    body = answer.read()
    assert answer.status in (200, 201, 202), body
    return answer.headers["X-Hermes-Run"]


def _push(service: Service) -> None:
    pushed = service.push(_PROGRAM, "build-only", repo="copy")
    assert service.settled(pushed)["state"] == "built", pushed.output


def _all_done_s(service: Service, trigger: str, count: int, act: Callable[[], None]) -> float:
    """From the first to the last run's end."""
    began = time.monotonic()
    act()
    rows = _tools.read_only(service.data)
    over = "SELECT count(*) FROM run WHERE trigger = ? AND state = 'succeeded'"
    wait_for(lambda: rows.execute(over, (trigger,)).fetchone()[0] >= count, 1800)
    rows.close()
    return time.monotonic() - began


def _by_clients(service: Service, count: int, method: str, path: str) -> Callable[[], None]:
    def act() -> None:
        left = list(range(count))

        def client() -> None:
            one = _connect(service)
            while left:
                try:
                    number = left.pop()
                except IndexError:
                    return
                _ask(service, one, method, path.format(number=number))

        clients = [threading.Thread(target=client) for _ in range(_CLIENTS)]
        for each in clients:
            each.start()
        for each in clients:
            each.join()

    return act


def measure_many(count: int, figures: Figures) -> None:
    """Files by eight clients, against calls by eight clients; without an engine: what is ours is measured."""
    with instance("local", _FREE) as service:
        _push(service)
        calls_s = _all_done_s(service, "api", count, _by_clients(service, count, "POST", "/runs"))
        say(f"{count} calls have ended after {calls_s:.1f} s")
        files_s = _all_done_s(
            service, "upload", count, _by_clients(service, count, "PUT", "/inbox/{number}.bin")
        )
        say(f"{count} files have become runs, which have ended, after {files_s:.1f} s")
    figures.add("uploads_calls_all_ended", calls_s, "s")
    figures.add("uploads_files_all_ended", files_s, "s")
    figures.add("uploads_per_file", files_s / count, "s")
    figures.add("uploads_file_ratio", files_s / calls_s, "x", _MOST_RATIO)


def measure_one(runs: int, figures: Figures) -> None:
    """One at a time in containers that wait: a call that is followed to its end, and an upload that is."""
    samples: dict[str, list[float]] = defaultdict(list)
    with instance("docker", _FREE) as service:
        _push(service)
        for number in range(-2, runs):
            for name, method, path in (
                ("call", "POST", "/runs"),
                ("upload", "PUT", f"/inbox/{number + 2}.bin"),
            ):
                began = time.monotonic()
                run = _ask(service, _connect(service), method, path)
                with service.client() as client:
                    client.get(f"/api/v1/runs/{run}/output")
                if number >= 0:
                    samples[name].append(time.monotonic() - began)
            if number >= 0:
                say(f"one {number + 1}/{runs} " + "  ".join(f"{k} {v[-1]:.3f} s" for k, v in samples.items()))
    figures.median("uploads_one_call", samples["call"])
    figures.median("uploads_one_file", samples["upload"])
    ratio = median(samples["upload"]) / median(samples["call"])
    figures.add("uploads_one_ratio", ratio, "x", _MOST_RATIO)


def measure_watched(count: int, figures: Figures) -> None:
    """Files that are moved into a watched folder all at once, until their outputs lie beside."""
    with scratch() as host, instance("local", _FREE) as service:
        _push(service)
        place, ready = host / "in", host / "ready"
        place.mkdir()
        ready.mkdir()
        for number in range(count):
            (ready / f"{number}.bin").write_bytes(_FILE)
        service.hermes("admin", "watch", "add", str(place), f"{service.user}/copy")
        began = time.monotonic()
        runs_s = _all_done_s(service, "upload", count, lambda: _move(ready, place))
        wait_for(lambda: len(list(Path(f"{place}.out").glob("*/.hermes.json"))) == count, 1800)
        say(f"{count} files have their outputs after {time.monotonic() - began:.1f} s")
    figures.add("uploads_watched_all_ended", runs_s, "s")
    figures.add("uploads_watched_all_delivered", time.monotonic() - began, "s")


def _move(ready: Path, place: Path) -> None:
    for file in ready.iterdir():
        file.rename(place / file.name)
