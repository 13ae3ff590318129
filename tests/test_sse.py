"""Live logs by real HTTP: byte-exact from any offset, whatever id a viewer sends, to the end."""

import json
import re
import signal
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest

from tests.programs import go_on, shell, told
from tests.service import PATIENCE_S, Service, wait_for

WIDE = "größe → π 🚀 "
PRINTS = shell(
    "i=0\nwhile [ $i -lt 40 ]; do printf '%s line %s\\r\\n' '" + WIDE + "' $i; i=$((i+1)); sleep 0.02; done\n"
    "printf '\\360\\237'\n"  # half a character, and the end
)

#: The first byte of a character comes with what stands before it, the second one when the viewer has that.
HALVES = (
    "trap told=1 USR1; i=0\nwhile [ $i -lt 4 ]; do\n"
    "  printf '%s line %s\\r\\n\\317' '" + WIDE + "' $i; i=$((i+1))\n"
    '  until [ "$told" ]; do sleep 0.05; done; told=\n'
    "  printf '\\200 is here\\r\\n'\ndone\n"
)


class Event(NamedTuple):
    """One event of a stream."""

    name: str
    id: str
    data: Any


def events_of(answer: httpx.Response) -> Iterator[Event]:
    """Parse a stream as a browser does."""
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        key, _, value = line.partition(":")
        if line and key:
            fields[key] = value.removeprefix(" ")
        elif not line and "data" in fields:
            yield Event(fields.get("event", "message"), fields.get("id", ""), json.loads(fields["data"]))
            fields = {}


def watch(service: Service, path: str, last_id: str | None = None) -> list[Event]:
    """The whole stream, to its end."""
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    with service.client() as client, client.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-accel-buffering"] == "no"
        return list(events_of(answer))


def text_of(events: list[Event]) -> str:
    """What a viewer has printed."""
    return "".join(event.data for event in events if event.name == "log")


@pytest.fixture(scope="module")
def run(service: Service) -> dict[str, Any]:
    """A run that printed wide characters and has ended."""
    found = service.run_of(service.push(PRINTS))
    assert found["state"] == "succeeded", found
    return found


@pytest.fixture(scope="module")
def log(service: Service, run: dict[str, Any]) -> bytes:
    """Its log."""
    return service.read_log("runs", run["id"])


def test_a_stream_tells_the_whole_story(service: Service, run: dict[str, Any], log: bytes) -> None:
    events = watch(service, f"/runs/{run['id']}/events")
    names = [event.name for event in events]
    assert names[:2] == ["state", "attempt"] and names[-1] == "end"
    assert text_of(events) == log.decode(errors="replace")
    assert events[-1].data["state"] == "succeeded"
    assert events[-1].data["exit_code"] == 0


@pytest.mark.parametrize("step", [1, 7, 64, 1000])
def test_a_viewer_resumes_byte_exactly_from_any_offset(
    service: Service, run: dict[str, Any], log: bytes, step: int
) -> None:
    for offset in range(0, len(log), max(step, len(log) // 12)):
        events = watch(service, f"/runs/{run['id']}/events", f"1.{offset}")
        assert text_of(events) == log[offset:].decode(errors="replace")
        assert "attempt" not in [event.name for event in events]
        by_query = watch(service, f"/runs/{run['id']}/events?after=1.{offset}")
        assert text_of(by_query) == text_of(events)


@pytest.mark.parametrize(
    "last_id",
    [
        "",
        "x",
        "1",
        "1.",
        ".5",
        "-1.-5",
        "1.-1",
        "1.1.1",
        "0.0",
        "7.3",
        "9" * 50,
        "9." + "9" * 30,
        "1 .5",
        "١.٢",
    ],
)
def test_a_nonsense_id_means_from_the_start(
    service: Service, run: dict[str, Any], log: bytes, last_id: str
) -> None:
    path = f"/runs/{run['id']}/events"
    with service.client() as client, client.stream("GET", path, params={"after": last_id}) as answer:
        assert answer.status_code == 200
        assert text_of(list(events_of(answer))) == log.decode(errors="replace")


def test_an_offset_beyond_the_end_means_the_end(service: Service, run: dict[str, Any], log: bytes) -> None:
    for offset in (len(log), len(log) + 1, 10**14):
        events = watch(service, f"/runs/{run['id']}/events", f"1.{offset}")
        assert text_of(events) == ""
        assert events[-1].name == "end"


def test_a_build_has_a_stream_too(service: Service, run: dict[str, Any]) -> None:
    events = watch(service, f"/builds/{run['build']}/events")
    assert text_of(events).encode() == service.read_log("builds", run["build"])
    assert events[-1].data["state"] == "built"


def test_ids_never_cut_a_character_while_it_runs(service: Service) -> None:
    script, files = told(HALVES, "")
    files[script] = HALVES
    pushed = service.push(files, "detach")
    run = wait_for(lambda: service.commit_page(pushed)["runs"])[0]
    events: list[Event] = []
    with service.client() as client, client.stream("GET", f"/runs/{run['id']}/events") as answer:
        for event in events_of(answer):
            events.append(event)
            if event.name == "log" and event.data and re.search(r"line \d\r\n$", text_of(events)):
                go_on(script)  # it has come while its program runs
    log = service.read_log("runs", run["id"])
    assert text_of(events) == log.decode()
    printed = [event for event in events if event.name == "log"]
    assert len(printed) >= 4, "it came in one piece, not live"
    for event in printed[:-1]:
        offset = int(event.id.partition(".")[2])
        log[offset:].decode(errors="replace")
        assert not 0x80 <= log[offset] < 0xC0, "an id in the middle of a character"
    states = [event.data["state"] for event in events if event.name == "state"]
    assert "running" in states


def test_the_raw_log_takes_ranges(service: Service, run: dict[str, Any], log: bytes) -> None:
    path, size = f"/runs/{run['id']}/log", len(log)
    with service.client() as client:
        whole = client.get(path)
        assert (whole.status_code, whole.content) == (200, log)
        assert whole.headers["content-type"] == "text/plain; charset=utf-8"
        assert whole.headers["accept-ranges"] == "bytes"
        assert "sandbox" in whole.headers["content-security-policy"]
        for asked, start, end in (
            ("0-0", 0, 1),
            ("5-", 5, size),
            ("-4", size - 4, size),
            (f"3-{size * 9}", 3, size),
        ):
            part = client.get(path, headers={"Range": f"bytes={asked}"})
            assert (part.status_code, part.content) == (206, log[start:end]), asked
            assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
        for asked in (f"{size}-", "99999999999-", "-0"):
            none = client.get(path, headers={"Range": f"bytes={asked}"})
            assert (none.status_code, none.headers["content-range"]) == (416, f"bytes */{size}"), asked
        for asked in ("0-1,3-4", "5-2", "x-y", "-"):
            assert client.get(path, headers={"Range": f"bytes={asked}"}).content == log, asked
        assert client.get(path, params={"attempt": "999"}).content == b""
        head = client.head(path)
        assert (head.headers["content-length"], head.content) == (str(size), b"")


def test_following_the_raw_log_ends_with_the_run(service: Service) -> None:
    script, files = told("echo first", "echo last")
    pushed = service.push(files, "detach")
    run = wait_for(lambda: service.commit_page(pushed)["runs"])[0]
    got = b""
    path = f"/runs/{run['id']}/log"
    with service.client() as client, client.stream("GET", path, params={"follow": "1"}) as answer:
        for chunk in answer.iter_raw():
            got += chunk
            if got == b"first\n":  # it has come while its program runs
                go_on(script)
    assert got == b"first\nlast\n" == service.read_log("runs", run["id"])
    with service.client() as client:
        rest = client.get(path, params={"follow": "1", "offset": "3"})
    assert rest.content == got[3:]


@pytest.mark.fault(40)
def test_streams_end_when_the_service_stops(tmp_path_factory: pytest.TempPathFactory) -> None:
    env = {"HERMES_EXECUTOR": "local", "HERMES_REDIS_URL": "none", "HERMES_POLL": "1"}
    one = Service(tmp_path_factory.mktemp("stops"), env)
    one.token = one.add_user(one.user)
    one.start()
    pushed = one.push(shell("echo begun\nsleep 600\n"), "detach")
    run = wait_for(lambda: one.commit_page(pushed)["runs"])[0]
    seen: list[Event] = []

    def see() -> None:
        with one.client() as client, client.stream("GET", f"/runs/{run['id']}/events") as answer:
            for event in events_of(answer):
                seen.append(event)

    watching = threading.Thread(target=see)
    watching.start()
    wait_for(lambda: "begun" in text_of([*seen]))
    assert one.process is not None
    one.process.send_signal(signal.SIGTERM)
    assert one.process.wait(PATIENCE_S) == 0 and not one.was_killed
    watching.join(PATIENCE_S)
    assert seen[-1].name == "reconnect", seen
