"""The door: heads and bodies that no client should send, answers that always arrive, a stop in time."""

import base64
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dulwich.protocol import pkt_line

from tests.programs import command_lines
from tests.raw_http import Answer, ask, connect, ends
from tests.service import Service, living, wait_for

PUSH = "/alice/rude.git/git-receive-pack"
FETCH = "/alice/rude.git/git-upload-pack"
MAKEFILE = "all:\n\t@true\nrun:\n\t@true\n"


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance of its own: what comes here counts as failed logins of this address."""
    with living(
        Service(tmp_path_factory.mktemp("door"), {"HERMES_EXECUTOR": "local", "HERMES_REDIS_URL": "none"})
    ) as one:
        yield one


def address(service: Service) -> tuple[str, int]:
    return "127.0.0.1", service.port


def git_children(service: Service) -> list[str]:
    """Git programs that work in the repositories of this instance."""
    return [
        line for line in command_lines().values() if "git" in line and str(service.data / "repos") in line
    ]


def signed_in(service: Service, path: str, *headers: str) -> bytes:
    """The head of alice's POST to git, without its end."""
    basic = base64.b64encode(f"alice:{service.token}".encode()).decode()
    kind = path.rpartition("/")[2]
    lines = [f"POST {path} HTTP/1.1", "Host: hermes", f"Authorization: Basic {basic}"]
    lines += [f"Content-Type: application/x-{kind}-request", *headers]
    return "\r\n".join(lines).encode() + b"\r\n"


def get(path: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([b"GET " + path + b" HTTP/1.1", b"Host: hermes", *headers, b"", b""])


def post(*headers: bytes, body: bytes = b"") -> bytes:
    head = [b"POST /signin HTTP/1.1", b"Host: hermes", b"Content-Type: application/x-www-form-urlencoded"]
    return b"\r\n".join([*head, *headers, b"", body])


USER = b"Authorization: Bearer TOKEN"  # with alice's put in
GIT = b"Authorization: Basic BASIC"
CHUNKED = b"Transfer-Encoding: chunked"
REFUSED: list[tuple[str, bytes]] = [
    ("two lengths", post(b"Content-Length: 5", b"Content-Length: 6", body=b"token=")),
    ("two lengths in one", post(b"Content-Length: 5, 6", body=b"token=")),
    ("length and chunks", post(b"Content-Length: 5", CHUNKED, body=b"0\r\n\r\n")),
    ("chunks and length", post(CHUNKED, b"Content-Length: 5", body=b"0\r\n\r\n")),
    ("chunked twice", post(CHUNKED, CHUNKED, body=b"0\r\n\r\n")),
    ("chunked, disguised", post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n")),
    ("chunked, hidden", post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n")),
    ("negative length", post(b"Content-Length: -1")),
    ("length with a sign", post(b"Content-Length: +5", body=b"token")),
    ("length in words", post(b"Content-Length: five")),
    ("length in hex", post(b"Content-Length: 0x5", body=b"token")),
    ("length of 30 digits", post(b"Content-Length: " + b"9" * 30)),
    ("negative chunk", post(CHUNKED, body=b"-1\r\nx\r\n0\r\n\r\n")),
    ("huge chunk", post(CHUNKED, body=b"f" * 21 + b"\r\nx\r\n0\r\n\r\n")),
    ("chunk in words", post(CHUNKED, body=b"five\r\nx\r\n0\r\n\r\n")),
    ("chunk longer than it says", post(CHUNKED, body=b"1\r\nxyz\r\n0\r\n\r\n")),
    ("bare LF behind a chunk", post(CHUNKED, body=b"1\nx\n0\n\n" + b"x" * 70_000)),
    ("blank before the colon", get(b"/", b"X-A : b")),
    ("bare CR", get(b"/", b"X-A: b\rX-B: c")),
    ("NUL in a header", get(b"/", b"X-A: b\0c")),
    ("no host", b"GET / HTTP/1.1\r\n\r\n"),
    ("two hosts", get(b"/", b"Host: other")),
    ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("HTTP/9.9", b"GET / HTTP/9.9\r\nHost: x\r\n\r\n"),
    ("chunks of HTTP/1.0", post(CHUNKED, body=b"0\r\n\r\n").replace(b"HTTP/1.1", b"HTTP/1.0")),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64))),
    ("words", b"hello?\r\n\r\n"),
    ("zeros", bytes(100_000)),
    ("10,000 headers", get(b"/", *(b"X-%d: y" % number for number in range(10_000)))),
    ("one header of 200 KB", get(b"/", b"X-A: " + b"b" * 200_000)),
    ("path of 100 KB", get(b"/" + b"a" * 100_000)),
    ("another server", get(b"http://evil.example/healthz")),
    ("a file", get(b"file:///etc/passwd")),
    ("a star", get(b"*")),
    ("a tunnel", b"CONNECT evil.example:443 HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("a web socket", get(b"/none", b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: x")),
    ("no such escape", get(b"/alice/%zz", USER)),
    ("half an escape", get(b"/alice/rude.git/info/refs%", USER)),
    ("an escape that is no text", get(b"/alice/%ff%fe", USER)),
    ("escaped NUL", get(b"/alice/%00", USER)),
    ("escaped NUL in a commit", get(b"/alice/rude/commit/%00", USER)),
    ("escaped NUL for git", get(b"/alice/%00.git/info/refs?service=git-upload-pack", GIT)),
    ("escaped NUL in a push", get(b"/%00/x.git/info/refs?service=git-receive-pack", GIT)),
    ("escaped newline", get(b"/alice/%0d%0aSet-Cookie:%20a=b", USER)),
    ("escaped dots", get(b"/%2e%2e/%2e%2e/etc/passwd", USER)),
    ("NUL in a query", get(b"/alice/rude.git/info/refs?service=%00", GIT)),
    ("NUL in a number", get(b"/runs/1%00", USER)),
    ("endless number", get(b"/runs/" + b"9" * 5000, USER)),
    ("endless number for programs", get(b"/api/v1/runs/" + b"9" * 30, USER)),
]


@pytest.fixture(autouse=True)
def traceless(door: Service) -> Iterator[None]:
    """No client of any test here makes us print a traceback."""
    before = len(door.log)
    yield
    assert "Traceback" not in door.log[before:], door.log[before:][:4000]


@pytest.mark.parametrize(("name", "request_bytes"), REFUSED, ids=[name for name, _ in REFUSED])
def test_request_that_nobody_should_send_is_refused_in_words(
    door: Service, name: str, request_bytes: bytes
) -> None:
    basic = base64.b64encode(f"alice:{door.token}".encode())
    answer = ask(address(door), request_bytes.replace(b"BASIC", basic).replace(b"TOKEN", door.token.encode()))
    assert answer is not None and (400 <= answer.status < 500 or answer.status == 501), answer
    with door.client("") as client:
        assert client.get("/healthz").status_code == 200


def test_lines_may_end_in_lf_alone_and_it_is_still_one_request(door: Service) -> None:
    """The standard allows it; what matters is that nobody reads two requests where we read one."""
    lf = b"GET /none HTTP/1.1\nHost: x\nConnection: close\n\nGET /healthz HTTP/1.1\nHost: x\n\n"
    with connect(address(door)) as client:
        client.sendall(lf)
        said = ends(client)
    assert said.startswith(b"HTTP/1.1 404") and said.count(b"HTTP/1.1") == 1


def test_the_same_length_twice_is_one_body(door: Service) -> None:
    first = post(b"Content-Length: 3", b"Content-Length: 3", body=b"a=b")
    with connect(address(door)) as client:
        client.sendall(first + get(b"/none", b"Connection: close"))
        said = ends(client)
    assert said.count(b"HTTP/1.1") == 2 and b"HTTP/1.1 404" in said


# ---- heads


@pytest.mark.parametrize(
    "path", ["/", "/api/v1/me", PUSH, "/alice/rude.git/info/refs?service=git-upload-pack"]
)
def test_long_credentials_reach_the_app_and_are_refused_there(door: Service, path: str) -> None:
    answer = ask(address(door), get(path.encode(), b"Authorization: Basic " + b"A" * 60_000))
    assert answer is not None and answer.status != 431 and answer.status < 500, answer


@pytest.mark.parametrize(("size", "rounds"), [(100_000, 200), (300_000, 200), (5_000_000, 20)])
def test_too_long_a_head_always_gets_its_answer(door: Service, size: int, rounds: int) -> None:
    """The kernel resets a connection that is closed with bytes unread; so the answer was lost at times."""
    request = get(b"/", b"Authorization: Basic " + b"A" * size)
    for _ in range(rounds):
        answer = ask(address(door), request)
        assert answer == Answer(431, b"the head of the request has more than 64 KiB\n")


# ---- bodies


def test_push_of_a_terabyte_is_refused_at_once(door: Service) -> None:
    answer = ask(address(door), signed_in(door, PUSH, f"Content-Length: {10**12}") + b"\r\n" + bytes(100_000))
    assert answer is not None and answer.status == 413, answer


@pytest.mark.parametrize("header", ["Content-Length: 5000000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("path", [PUSH, FETCH])
def test_client_that_leaves_in_the_middle_of_a_body_leaves_no_trace(
    door: Service, path: str, header: str
) -> None:
    door.push({"Makefile": MAKEFILE}, "skip", repo="alice/rude", refs=("+HEAD:main",))
    command = pkt_line(f"{'0' * 40} {'1' * 40} refs/heads/x\0report-status\n".encode()) + b"0000PACK"
    body = command if path == PUSH else pkt_line(b"want " + b"1" * 40 + b"\n")
    if "chunked" in header:
        body = b"%x\r\n%b\r\n" % (len(body), body)
    for part in (b"", body):
        with connect(address(door)) as client:
            client.sendall(signed_in(door, path, header) + b"\r\n" + part)
            time.sleep(0.3)  # until git runs and waits for more
    assert door.push({"Makefile": MAKEFILE}, "skip").code == 0
    wait_for(lambda: not git_children(door))


def test_login_of_a_client_that_leaves_in_the_middle_leaves_no_trace(door: Service) -> None:
    for _ in range(3):
        with connect(address(door)) as client:
            client.sendall(post(b"Content-Length: 100", body=b"token=a"))
            time.sleep(0.2)


# ---- the end


def test_stop_waits_neither_for_a_stalled_reader_nor_for_half_a_request(tmp_path: Path) -> None:
    service = Service(tmp_path / "stop", {"HERMES_EXECUTOR": "local", "HERMES_REDIS_URL": "none"})
    service.token = service.add_user(service.user)
    service.start()
    pushed = service.push({"Makefile": MAKEFILE, "noise": os.urandom(20 << 20)}, "skip", repo="alice/rude")
    want = pkt_line(f"want {pushed.sha}\n".encode()) + b"0000" + pkt_line(b"done\n")
    clone = signed_in(service, FETCH, f"Content-Length: {len(want)}")
    reader, head, body = (connect(address(service), buffer_bytes=1 << 16) for _ in range(3))
    with reader, head, body:
        reader.sendall(clone + b"\r\n" + want)
        assert reader.recv(12) == b"HTTP/1.1 200"
        head.sendall(get(b"/")[:-4])
        body.sendall(signed_in(service, PUSH, "Content-Length: 1000") + b"\r\n0097")
        time.sleep(1)  # until the reader's stream is full
        assert git_children(service)
        assert service.stop() == 0 and not service.was_killed
    wait_for(lambda: not git_children(service))
    assert "Cancel" not in service.log and "Traceback" not in service.log
