"""How many live logs are open at a time: who has too many is told, who leaves makes room."""

import json
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Request, expect

from hermes.throttle import source
from tests.access_tools import browsing, open_house
from tests.browsing import sign_in
from tests.programs import shell
from tests.raw_http import connect
from tests.service import PATIENCE_S, Service, wait_for

EVENT_STREAM = {"Accept": "text/event-stream"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance that bears little."""
    bounds = {"HERMES_STREAMS": "10", "HERMES_USER_STREAMS": "4", "HERMES_ADDRESS_STREAMS": "2"}
    yield from open_house(tmp_path_factory.mktemp("streams"), **bounds)


@pytest.fixture(scope="module")
def run(house: Service) -> dict[str, Any]:
    """A public run that goes on while these tests look at it."""
    return running(house, "public = true\n")


def running(service: Service, manifest: str = "") -> dict[str, Any]:
    """A run that prints a line and then is silent for long."""
    pushed = service.push(shell("echo begun; sleep 600", manifest), "detach")
    run: dict[str, Any] = wait_for(lambda: service.commit_page(pushed)["runs"])[0]
    wait_for(lambda: service.read_log("runs", run["id"]) == b"begun\n")
    return run


@pytest.fixture(scope="module", autouse=True)
def stalled(house: Service) -> Iterator[tuple[str, dict[str, Any]]]:
    """Somebody who asks for four streams of a long log and reads none; it goes on while other tests run."""
    run = house.run_of(house.push(shell("seq 1 700000", "public = true\n")))
    token = house.add_user("carol")
    request = f"GET /runs/{run['id']}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(4):
            client = stack.enter_context(connect(("127.0.0.1", house.port), buffer_bytes=1 << 16))
            client.sendall(request.encode())
            assert client.recv(12) == b"HTTP/1.1 200"
        yield token, run


def open_stream(
    stack: ExitStack, service: Service, run: dict[str, Any], token: str, kind: str = "events"
) -> None:
    """One that is held until the stack ends. Those who had its place before may be noticed to have left only
    now."""
    client = stack.enter_context(service.client(token))
    path = f"/runs/{run['id']}/{kind}"

    def opened() -> httpx.Response | None:
        answer = stack.enter_context(client.stream("GET", path, params={"follow": "1"}))
        assert answer.status_code in (200, 429, 503), answer.read()
        return answer if answer.status_code == 200 else None

    answer = wait_for(opened)
    parts: Any = answer.iter_text()
    stack.callback(parts.close)  # else it would end here, and the stream with it
    wait_for(lambda: "begun" in next(parts))


def ask(service: Service, run: dict[str, Any], token: str, kind: str = "events") -> tuple[int, str, bytes]:
    """Status, when to come back, and all that comes of a stream that is over at once."""
    with (
        service.client(token) as client,
        client.stream("GET", f"/runs/{run['id']}/{kind}?follow=1") as answer,
    ):
        body = b"" if answer.status_code == 200 else answer.read()
        return answer.status_code, answer.headers.get("retry-after", ""), body


def wait_for_room(service: Service, run: dict[str, Any], token: str) -> None:
    """Those who left are noticed."""
    wait_for(lambda: ask(service, run, token)[0] == 200)


def wait_until_left(service: Service) -> None:
    """All strangers, and of users all but the four that stall."""

    def is_noticed() -> bool:
        with service.client("") as client:
            text = client.get("/metrics").text
        found = re.findall(r'^hermes_streams_open\{who="(\w+)"\} (\d+)', text, re.MULTILINE)
        count = {who: int(number) for who, number in found}
        return count["anonymous"] == 0 and count["user"] <= 4

    wait_for(is_noticed)


@pytest.mark.fault(41)
def test_who_has_too_many_is_told_and_who_leaves_makes_room(house: Service, run: dict[str, Any]) -> None:
    with ExitStack() as stack:
        for kind in ("events", "log", "events", "log"):
            open_stream(stack, house, run, house.token, kind)
        for kind in ("events", "log"):
            status, wait_s, body = ask(house, run, house.token, kind)
            error = json.loads(body)["error"]
            assert (status, error["code"]) == (429, "too_many")
            assert error["message"] == "alice has 4 live logs open, and may have no more"
            assert 0 < int(wait_s) < 60 and error["hint"] == f"try again in {wait_s} s"
        assert house.read_log("runs", run["id"]) == b"begun\n", "what is there can always be read"
        assert ask(house, run, house.add_user("bob"))[0] == 200, "others are not hit"
    wait_for_room(house, run, house.token)


def test_strangers_of_one_address_share_a_few_and_all_of_them_half(
    house: Service, run: dict[str, Any]
) -> None:
    def at(stack: ExitStack, host: str) -> httpx.Response:
        way = httpx.HTTPTransport(local_address=host)
        client = stack.enter_context(httpx.Client(base_url=house.url, transport=way, timeout=PATIENCE_S))
        return stack.enter_context(client.stream("GET", f"/runs/{run['id']}/events"))

    wait_until_left(house)
    with ExitStack() as stack:
        assert [at(stack, "127.0.0.5").status_code for _ in range(3)] == [200, 200, 429]
        assert [at(stack, host).status_code for host in ("127.0.0.6", "127.0.0.6", "127.0.0.7")] == [200] * 3
        full = at(stack, "127.0.0.8")
        assert (full.status_code, full.headers["retry-after"]) == (503, "10")
        assert b"as many live logs are open as this server may have" in full.read()
        open_stream(stack, house, run, house.token)
    wait_for_room(house, run, "")


def test_what_may_not_be_seen_is_not_counted(house: Service) -> None:
    with house.client("") as stranger:
        for _ in range(9):
            assert stranger.get("/runs/999999/events").status_code == 401
            assert stranger.get("/runs/999999/log?follow=1").status_code == 401


def test_a_browser_is_told_to_come_back_later(house: Service, run: dict[str, Any]) -> None:
    with ExitStack() as stack, browsing(house, house.token) as client:
        for _ in range(4):
            open_stream(stack, house, run, house.token)
        answer = client.get(f"/runs/{run['id']}/events", headers=EVENT_STREAM)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    retry, event, data, *_ = answer.text.split("\n")
    assert event == "event: reconnect"
    assert 5_000 < int(retry.removeprefix("retry: ")) < 30_000
    assert "may have no more" in json.loads(data.removeprefix("data: "))["words"]


def test_a_page_without_a_stream_gets_one_when_there_is_room(
    house: Service, browser: Browser, run: dict[str, Any]
) -> None:
    context = browser.new_context(base_url=house.url)
    page = context.new_page()
    sign_in(page, house, house.token)
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request) if "/events" in request.url else None)
    with ExitStack() as stack:
        for _ in range(4):
            open_stream(stack, house, run, house.token)
        page.goto(f"/runs/{run['id']}")
        expect(page.locator("[data-note]")).to_contain_text("live logs open, and may have no more")
    expect(page.locator("[data-note]")).to_contain_text("running")
    began_s = [each.timing["startTime"] / 1000 for each in asked]
    assert len(asked) > 1 and all(later - at > 5 for at, later in pairwise(began_s)), began_s
    context.close()


@pytest.mark.fault(41)
def test_a_reader_that_stalls_is_let_go(house: Service, stalled: tuple[str, dict[str, Any]]) -> None:
    token, run = stalled
    wait_for(lambda: ask(house, run, token)[0] == 200)


@pytest.mark.fault(41)
def test_fifty_open_streams_end_when_the_service_stops(tmp_path_factory: pytest.TempPathFactory) -> None:
    houses = open_house(tmp_path_factory.mktemp("fifty"))
    one = next(houses)
    run = running(one)
    with ExitStack() as stack:
        answers = []
        for number in range(50):
            client = stack.enter_context(one.client())
            path = f"/runs/{run['id']}/{('events', 'log')[number % 2]}?follow=1"
            answers.append(stack.enter_context(client.stream("GET", path)))
        parts = [answer.iter_raw() for answer in answers]
        for each in parts[:25]:  # the others never read at all
            next(each)
        assert one.process is not None
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(PATIENCE_S) == 0 and not one.was_killed
        for number, each in enumerate(parts[:25]):
            rest = b"".join(each)  # a whole answer: its last chunk came
            assert number % 2 or b"event: reconnect" in rest
    assert next(houses, None) is None


def test_ipv6_counts_by_network_and_ipv4_by_address() -> None:
    assert source("10.0.0.1") == "10.0.0.1" == source("::ffff:10.0.0.1")
    assert source("2001:db8:1:2::5") == source("2001:db8:1:2:ffff::1") == "2001:db8:1:2::/64"
    assert source("2001:db8:1:3::5") != source("2001:db8:1:2::5")
    assert source("fe80::1%eth0") == "fe80::/64"
    assert source("") == "" and source("testclient") == "testclient"
