"""Many who watch the same log: each sees all of it, whatever way they came, and only while they may."""

import itertools
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.programs import shell
from tests.service import PATIENCE_S, Service, wait_for
from tests.test_sse import Event, events_of, text_of

_CUTS = shell(  # most writes end in the middle of a character, which is cut by the pieces of a live log
    "echo begun; sleep 1; i=0\n"
    "while [ $i -lt 100 ]; do printf '\\200 \\033[31m%s \\360\\237' $i; sleep 0.01\n"
    "printf '\\232\\200 \\r\\n\\342'; i=$((i+1)); sleep 0.01; done\n"
    "seq 1 60000; printf '\\360'"
)
_WAYS = ["events", "events?lines=1", "log?follow=1", "events?after=1.2&lines=1", "events?after=1.6"]


@pytest.fixture(scope="module", autouse=True)
def revoked(service: Service) -> Iterator[tuple[threading.Thread, list[Event]]]:
    """Somebody watches whose token is revoked; it takes a while until that is noticed."""
    token = service.add_user("eve")
    pushed = service.push(shell("echo begun; sleep 600"), "detach", repo="eve/own", token=token, user="eve")
    seen: list[Event] = []

    def watch() -> None:
        page = f"/api/v1/repos/eve/own/commits/{pushed.sha}"
        with service.client(token) as client:
            run = wait_for(lambda: client.get(page).json()["runs"])[0]
            with client.stream("GET", f"/runs/{run['id']}/events") as answer:
                for event in events_of(answer):
                    seen.append(event)

    watching = threading.Thread(target=watch)
    watching.start()
    wait_for(lambda: "begun" in text_of(seen))
    number = json.loads(service.admin("token", "list", "eve", "--json").stdout)[0]["id"]
    service.admin("token", "revoke", "eve", str(number))
    yield watching, seen
    with service.client(service.admin("token", "add", "eve").stdout.strip()) as client:
        run = client.get(f"/api/v1/repos/eve/own/commits/{pushed.sha}").json()["runs"][0]
        assert client.post(f"/api/v1/runs/{run['id']}/cancel").status_code == 202
    watching.join(PATIENCE_S)


def see(service: Service, path: str, pause_s: float) -> tuple[bytes, list[Event]]:
    """All bytes of a raw log, or all events. With a pause after each part: who reads slowly."""
    with service.client() as client, client.stream("GET", path) as answer:
        assert answer.status_code == 200
        if "/log" in path:
            parts = []
            for part in answer.iter_raw(1 << 14):
                parts.append(part)
                time.sleep(pause_s)
            return b"".join(parts), []
        events = []
        for event in events_of(answer):
            events.append(event)
            time.sleep(pause_s)
        return b"", events


@pytest.mark.fault(41)
def test_everybody_in_a_crowd_sees_all_of_it(service: Service) -> None:
    pushed = service.push(_CUTS, "detach")
    run = wait_for(lambda: service.commit_page(pushed)["runs"])[0]
    wait_for(lambda: service.read_log("runs", run["id"]))  # nobody comes from a place that is not there yet
    ways = list(itertools.islice(itertools.product((0.0, 0.03), _WAYS), 10)) * 2
    with ThreadPoolExecutor(len(ways)) as crowd:
        seen = crowd.map(lambda way: see(service, f"/runs/{run['id']}/{way[1]}", way[0]), ways)
        answers = list(zip(ways, seen, strict=True))
    log = service.read_log("runs", run["id"])
    assert log.endswith(b"60000\n\xf0") and b"\xf0\x9f\x9a\x80" in log
    for (_, way), (whole, events) in answers:
        if way.startswith("log"):
            assert whole == log
            continue
        start = int(way.partition("after=1.")[2].partition("&")[0] or 0)
        assert text_of(events) == log[start:].decode(errors="replace"), way
        assert events[-1].name == "end"
        if "lines=1" in way:
            check_lines(log, start, events)


def check_lines(log: bytes, start: int, events: list[Event]) -> None:
    """Each piece was said to begin in the line where it does."""
    at = start
    for told, printed in itertools.pairwise(events):
        if told.name == "lines":
            assert printed.name == "log"
            assert told.data["line"] == log.count(b"\n", 0, at) + 1
            assert told.data["begins"] == (at == 0 or log[at - 1 : at] == b"\n")
            assert ("sgr" in told.data) == (at == start)
            at = int(printed.id.partition(".")[2])


def test_who_may_not_watch_any_more_does_not(revoked: tuple[threading.Thread, list[Event]]) -> None:
    watching, seen = revoked
    watching.join(PATIENCE_S)
    assert not watching.is_alive()
    assert seen[-1].name == "reconnect"
