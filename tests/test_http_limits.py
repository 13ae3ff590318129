"""Every wait for a client has an end, its app is told, and a slow client is not taken for a rude one."""

import logging
import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest

from hermes.http_limits import HttpLimits
from tests.raw_http import QUICK, SmallServer, connect, ends, read_answer, small_server
from tests.service import wait_for

GET = b"GET /deny HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


#: For clients that are slow and not late: a busy machine makes them slower.
SLOWER = replace(QUICK, head_s=2.0, body_s=2.0, stall_s=4.0)
#: Nobody is cut while the test is busy with something else.
LONG = replace(QUICK, head_s=600.0, body_s=600.0, stall_s=600.0)


@pytest.fixture
def server(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[SmallServer]:
    """With short limits, or those of a test; nothing that clients do to it is an error of ours."""
    with small_server(getattr(request, "param", QUICK)) as one:
        yield one
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert errors == []


def stops(server: SmallServer, word: str) -> None:
    """The app has seen it."""
    wait_for(lambda: word in server.app.saw)


# ---- heads


def test_silent_connection_is_closed_without_a_word(server: SmallServer) -> None:
    with connect(server.address) as client:
        began = time.monotonic()
        assert ends(client) == b""
        assert time.monotonic() - began < HttpLimits().head_s, "these limits are shorter"


@pytest.mark.fault(4)
@pytest.mark.parametrize("part", [b"G", b"GET / HTTP/1.1\r\n", GET[:-2]])
def test_half_a_head_gets_a_408(server: SmallServer, part: bytes) -> None:
    with connect(server.address) as client:
        client.sendall(part)
        answer = read_answer(client)
        assert (answer.status, answer.body) == (408, b"the head of the request took too long\n")
        assert ends(client) == b""


@pytest.mark.fault(4)
def test_head_that_comes_byte_by_byte_is_cut_at_the_same_time(server: SmallServer) -> None:
    with connect(server.address) as client:
        began = time.monotonic()
        client.settimeout(0.1)
        answer = b""
        while not answer and time.monotonic() - began < HttpLimits().head_s:
            with suppress(ConnectionError):  # what was answered before is read all the same
                client.sendall(b"G")
            try:
                answer = client.recv(12)
            except TimeoutError:
                continue
        assert answer == b"HTTP/1.1 408"


@pytest.mark.parametrize("server", [SLOWER], indirect=True)
def test_idle_connection_is_kept_and_its_next_head_has_the_whole_time(server: SmallServer) -> None:
    with connect(server.address) as client:
        for _ in range(2):
            client.sendall(GET)
            assert read_answer(client).status == 401
            time.sleep(2.5)  # longer than a head may take, shorter than idle connections are kept
        client.sendall(GET[:20])
        time.sleep(0.3)
        client.sendall(GET[20:])
        assert read_answer(client).status == 401
        client.sendall(GET[:20])
        assert read_answer(client).status == 408


def test_pipelined_requests_are_answered_in_order_and_rubbish_behind_them_is_refused(
    server: SmallServer,
) -> None:
    with connect(server.address) as client:
        client.sendall(POST % (b"/swallow", 3) + b"abc" + GET + b"\x16\x03\x01 rubbish\r\n\r\n")
        said = ends(client)
    assert re.findall(rb"HTTP/1.1 (\d+)", said) == [b"200", b"401", b"400"]


# ---- bodies


@pytest.mark.fault(4)
def test_body_that_stops_ends_the_request(server: SmallServer) -> None:
    with connect(server.address) as client:
        client.sendall(POST % (b"/swallow", 10) + b"abc")
        assert read_answer(client).status == 408
        stops(server, "gone")
        assert ends(client) == b""


@pytest.mark.parametrize("server", [SLOWER], indirect=True)
def test_slow_body_is_not_cut(server: SmallServer) -> None:
    with connect(server.address) as client:
        client.sendall(POST % (b"/swallow", 10))
        for _ in range(10):
            time.sleep(0.4)  # 4 s in all, where 2 s without a byte are allowed
            client.sendall(b"x")
        assert read_answer(client).body == b"10"


@pytest.mark.parametrize("server", [SLOWER], indirect=True)
@pytest.mark.parametrize("size", [100, 4 << 20])
def test_body_that_lies_here_unread_is_not_late(server: SmallServer, size: int) -> None:
    """The app takes its time; the client cannot send more (or may not know that it should)."""
    with connect(server.address) as client:
        client.sendall(POST % (b"/swallow?wait=3", size) + bytes(size))
        assert read_answer(client).body == b"%d" % size


@pytest.mark.parametrize("server", [SLOWER], indirect=True)
def test_client_that_was_not_told_to_go_on_is_not_late(server: SmallServer) -> None:
    with connect(server.address) as client:
        client.sendall((POST % (b"/swallow?wait=3", 3))[:-2] + b"Expect: 100-continue\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 100")
        client.sendall(b"abc")
        assert read_answer(client).body == b"3"


@pytest.mark.parametrize("server", [LONG], indirect=True)
def test_bad_chunk_in_a_body_ends_whoever_reads_it(server: SmallServer) -> None:
    head = b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connect(server.address) as client:
        client.sendall(head % b"/swallow" + b"1\r\na\r\nzz\r\n")
        assert read_answer(client).status == 400
        stops(server, "gone")
    server.app.saw.clear()
    with connect(server.address) as client:
        client.sendall(head % b"/duplex" + b"1\r\na\r\n")
        wait_for(lambda: b"begins" in client.recv(1 << 16, socket.MSG_PEEK))
        client.sendall(b"zz\r\n")
        assert not ends(client).endswith(b"0\r\n\r\n")  # the answer is not made to look whole
        stops(server, "gone")


# ---- answers before the end of a request


@pytest.mark.parametrize("server", [replace(QUICK, linger_s=60.0, linger_silence_s=5.0)], indirect=True)
@pytest.mark.parametrize("header", [b"", b"Connection: close\r\n"])
def test_answer_to_an_unread_body_always_arrives(server: SmallServer, header: bytes) -> None:
    size = 20_000_000  # more than the kernels on both sides take: the client still sends when it is answered
    request = (POST % (b"/deny", size))[:-2] + header + b"\r\n" + bytes(size)
    for _ in range(20):
        with connect(server.address) as client:
            client.sendall(request)
            answer = read_answer(client)
            assert (answer.status, len(answer.body)) == (401, 1000)
            client.shutdown(socket.SHUT_WR)  # else it would be heard for a while
            assert ends(client) == b""


def test_client_that_sends_on_after_the_answer_is_heard_for_a_while_only() -> None:
    for limits in (QUICK, replace(QUICK, linger_s=60, linger_bytes=1 << 20)):  # by time, by bytes
        with small_server(limits) as server, connect(server.address) as client:
            client.sendall(POST % (b"/deny", 10**12))
            assert read_answer(client).status == 401
            began = time.monotonic()
            with pytest.raises(ConnectionError):
                while time.monotonic() - began < 50:  # less than `linger_s`, and than these bytes take
                    client.sendall(bytes(1 << 14))
                    time.sleep(0.001)


def test_an_answer_before_the_request_was_read_says_that_it_is_the_last(server: SmallServer) -> None:
    """Else a proxy sends its next request into a connection that we close (502)."""
    with connect(server.address) as client:
        client.sendall(POST % (b"/deny", 10))
        assert read_answer(client).headers["connection"] == "close"
    with connect(server.address) as client:
        for _ in range(2):  # one that was read leaves it open
            client.sendall(POST % (b"/deny", 3) + b"abc")
            answer = read_answer(client)
            assert answer.status == 401 and "connection" not in answer.headers


# ---- readers


@pytest.mark.fault(41)
def test_reader_that_stops_is_cut_and_costs_little(server: SmallServer) -> None:
    with connect(server.address, buffer_bytes=1 << 16) as client:
        client.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        stops(server, "stream ended")
        assert server.app.sent_bytes < 1 << 20  # in our buffer, our kernel and theirs together


@pytest.mark.parametrize("server", [SLOWER], indirect=True)
def test_slow_reader_is_not_cut(server: SmallServer) -> None:
    with connect(server.address, buffer_bytes=1 << 16) as client:
        client.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        for _ in range(12):
            assert client.recv(1 << 16)
            time.sleep(0.5)  # 6 s in all, where 4 s without progress are allowed
        assert server.app.saw == []
    stops(server, "stream ended")


def test_reader_that_pauses_is_not_taken_for_one_that_vanished() -> None:
    """Its machine still answers. TCP_USER_TIMEOUT would cut it."""
    limits = replace(QUICK, peer_s=1, stall_s=600)
    with small_server(limits) as server, connect(server.address, buffer_bytes=1 << 16) as client:
        client.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(4)
        assert server.app.saw == []
        sent_bytes = server.app.sent_bytes
        wait_for(lambda: client.recv(1 << 16) and server.app.sent_bytes > sent_bytes)


def test_answer_that_nobody_reads_does_not_outlive_the_limit(server: SmallServer) -> None:
    """The app is done; what is left of its answer lies in our buffer, and the connection is to be closed."""
    with connect(server.address, buffer_bytes=1 << 14) as client:
        client.sendall(POST % (b"/deny?size=8000000", 10))
        wait_for(lambda: server.uvicorn.server_state.total_requests)
        wait_for(lambda: not server.uvicorn.server_state.connections)


@pytest.mark.parametrize("server", [replace(QUICK, stall_s=60.0)], indirect=True)
def test_last_answer_is_read_to_its_end_by_a_slow_reader(server: SmallServer) -> None:
    with connect(server.address, buffer_bytes=1 << 16) as client:
        client.sendall(POST % (b"/deny?size=3000000", 9_000_000) + bytes(500_000))
        size, began = 0, time.monotonic()
        while part := client.recv(1 << 16):
            size += len(part)
            time.sleep(max(0, began + size / 1e6 - time.monotonic()))  # 3 s: longer than we listen on
        assert size > 3_000_000


@pytest.mark.fault(41)
@pytest.mark.parametrize("server", [LONG], indirect=True)
def test_stop_of_the_server_waits_for_nobody(server: SmallServer) -> None:
    reader, head, body = (connect(server.address, buffer_bytes=1 << 16) for _ in range(3))
    with reader, head, body:
        reader.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        body.sendall(POST % (b"/swallow", 10) + b"abc")
        wait_for(lambda: server.app.sent_bytes > 0)
        head.sendall(GET[:20])
        server.uvicorn.should_exit = True
        assert ends(head) == b""
        stops(server, "stream ended")
        stops(server, "gone")
