"""The record of an invocation is sent to its caller's address when it ends: signed, until it is taken."""

import hmac
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hermes.errors import UserError
from hermes.outward import check_url, parse_networks
from tests.service import PATIENCE_S, Service, living, wait_for
from tests.test_invoke import FILES


class Receiver(ThreadingHTTPServer):
    """Somebody's server; it fails as often as it is told to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fails = 0
        self.status = 500
        self.taken: list[tuple[dict[str, str], bytes]] = []
        self.asked = 0
        self.before_answer: Callable[[], object] = lambda: None

    @property
    def url(self) -> str:
        return f"http://localhost:{self.server_port}/done?key=1"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked += 1
        failing = self.server.asked <= self.server.fails
        if not failing:
            self.server.taken.append((dict(self.headers), body))
        self.server.before_answer()
        self.send_response(self.server.status if failing else 204)
        self.send_header("Location", "http://127.0.0.1:1/")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def calling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    env = {"HERMES_EXECUTOR": "local", "HERMES_TRUST": "all", "HERMES_CALLBACK_NETWORKS": "127.0.0.0/8,::1"}
    with living(Service(tmp_path_factory.mktemp("calling"), env)) as one:
        pushed = one.push(FILES, repo="echo")
        assert one.settled(pushed)["state"] == "succeeded", pushed.output
        yield one


def invoke(service: Service, callback: str, repo: str = "echo") -> tuple[int, str]:
    with service.client() as client:
        address = f"/api/v1/functions/{service.user}/{repo}/runs?arg=hello"
        answer = client.post(address, headers={"X-Callback-Url": callback})
    return answer.status_code, answer.text


def test_a_receiver_that_fails_twice_gets_the_signed_record(calling: Service, receiver: Receiver) -> None:
    receiver.fails = 2
    status, text = invoke(calling, receiver.url)
    assert status == 202, text
    run = json.loads(text)
    headers, body = wait_for(lambda: receiver.taken)[0]
    record = json.loads(body)
    assert record["id"] == run["id"] and record["state"] == "succeeded" and receiver.asked == 3
    assert headers["X-Hermes-Event"] == "run.ended" and headers["X-Hermes-Delivery"] == f"run-{run['id']}"
    at, _, sent = headers["X-Hermes-Signature"].removeprefix("t=").partition(",v1=")
    secret = calling.api("/callback-secret")["secret"]
    signature = hmac.digest(secret.encode(), f"{at}.".encode() + body, "sha256").hex()
    assert sent == signature and record["ended_at"] - 1 < int(at) <= time.time()
    with calling.client() as client:
        address = f"/runs/{run['id']}"
        wait_for(lambda: "callback taken" in client.get(address).text)
        assert "callback not taken (try 2): the answer was 500" in client.get(address).text


def test_what_came_of_it_is_written_when_the_database_is_there_again(
    calling: Service, receiver: Receiver
) -> None:
    """And the receiver does not get it twice because of that."""
    with closing(
        sqlite3.connect(calling.data / "hermes.db", timeout=PATIENCE_S, check_same_thread=False)
    ) as database:
        database.isolation_level = None
        receiver.before_answer = lambda: database.execute("BEGIN IMMEDIATE")
        run = json.loads(invoke(calling, receiver.url)[1])["id"]
        wait_for(lambda: "message left for later" in calling.log)
        database.execute("ROLLBACK")
    with calling.client() as client:
        wait_for(lambda: "callback taken" in client.get(f"/runs/{run}").text)
    assert receiver.asked == 1


def test_redirects_are_not_followed(calling: Service, receiver: Receiver) -> None:
    receiver.fails, receiver.status = 1, 302
    assert invoke(calling, receiver.url)[0] == 202
    wait_for(lambda: receiver.taken)
    assert receiver.asked == 2


def test_addresses_inside_are_refused_unless_the_operator_allows_them(
    service: Service, receiver: Receiver, tmp_path: Path
) -> None:
    pushed = service.push(FILES, repo="called-back")
    service.settled(pushed)
    for inside in ("http://127.0.0.1:8000/", "http://[::1]/", "http://169.254.169.254/latest/meta-data/"):
        status, text = invoke(service, inside, "called-back")
        assert status == 400 and "HERMES_CALLBACK_NETWORKS" in text, text
    assert (
        invoke(service, receiver.url, "called-back")[0] == 202
    )  # a name: what it means is found when it is connected to
    wait_for(lambda: "is not on the public internet" in service.log)
    assert receiver.asked == 0


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x.org/",
        "//x.org/",
        "http://",
        "http://a:b@x.org/",
        "http://x.org:99999/",
        "x" * 3000,
        "http://ü.org/",
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(UserError):
        check_url(url, ())


def test_addresses_in_disguise_are_inside_too() -> None:
    for host in ("[::ffff:10.0.0.1]", "0.0.0.0", "[fe80::1]", "100.64.0.1", "224.0.0.1", "192.168.1.1"):
        with pytest.raises(UserError):
            check_url(f"http://{host}/", ())
    check_url("http://10.1.2.3/", parse_networks("10.0.0.0/8, 127.0.0.1"))
    check_url("https://example.org/hook", ())
