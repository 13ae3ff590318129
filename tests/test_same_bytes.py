"""What a program wrote is what everybody sees, byte for byte: events, follow, ranges, push; behind nginx."""

import hashlib
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from dulwich.protocol import pkt_line

from tests.programs import shell
from tests.proxies import Nginx
from tests.service import PATIENCE_S, Pushed, Service, living, wait_for
from tests.test_sse import events_of, text_of

NOISE = random.Random(5).randbytes(300_000)
STORM = b"".join(b"\r%d %%" % number for number in range(20_000)) + b"\r\n\r\r\n\n\r"
BROKEN = "größe → π 🚀".encode() * 300 + b"\xff\xfe\xed\xa0\x80\xf0\x9f\xc3" * 500 + b"\x00\x00\n\xf0\x9f"
WRITTEN = NOISE + STORM + BROKEN
LINE_BYTES = 64 << 20
EMPTY_PACK = b"PACK" + bytes([0, 0, 0, 2, 0, 0, 0, 0])


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """An instance that keeps long logs, with nginx before it."""
    env = {"HERMES_EXECUTOR": "local", "HERMES_CPUS": "2", "HERMES_LOG_SIZE": "80M"}
    with living(Nginx(tmp_path_factory.mktemp("bytes") / "hermes", env, idle_s=600)) as one:
        one.start_proxy()
        yield one
        one.stop_proxy()


def begun(front: Nginx, files: dict[str, str | bytes]) -> tuple[Pushed, dict[str, Any]]:
    """Push, and the run that it started."""
    pushed = front.push(files, "detach")
    run: dict[str, Any] = wait_for(lambda: front.commit_page(pushed)["runs"])[0]
    return pushed, run


def events(client: httpx.Client, run: int) -> bytes:
    """What a page prints, in UTF-8."""
    with client, client.stream("GET", f"/runs/{run}/events") as answer:
        found = list(events_of(answer))
    assert found[-1].name == "end"
    return text_of(found).encode()


def followed(client: httpx.Client, run: int) -> bytes:
    """`curl -N …/log?follow=1`."""
    with client, client.stream("GET", f"/runs/{run}/log", params={"follow": "1"}) as answer:
        return b"".join(answer.iter_bytes())


def in_pieces(client: httpx.Client, run: int, size: int) -> bytes:
    """By ranges of odd lengths."""
    data, lengths = b"", random.Random(7)
    with client:
        while len(data) < size:
            last = len(data) + lengths.randrange(size // 9)
            part = client.get(f"/runs/{run}/log", headers={"Range": f"bytes={len(data)}-{last}"})
            assert part.status_code == 206
            data += part.content
    return data


def shown_by_git(service: Service, pushed: Pushed, run: int) -> bytes:
    """The progress band of a push that shows a run again, as git at a terminal gets it."""
    words = f"{'0' * 40} {pushed.sha} refs/follow/{run}\0 report-status side-band-64k agent=git/2.45.0"
    body = pkt_line(words.encode()) + b"0000" + EMPTY_PACK + hashlib.sha1(EMPTY_PACK).digest()
    answer = httpx.post(
        f"{service.url}/{pushed.owner}/{pushed.repo}.git/git-receive-pack",
        content=body,
        headers={"Content-Type": "application/x-git-receive-pack-request"},
        auth=(service.user, service.token),
        timeout=PATIENCE_S,
    )
    assert answer.status_code == 200, answer.text
    rest, bands = answer.content, b""
    while rest:
        size = int(rest[:4], 16)
        packet, rest = rest[4 : max(size, 4)], rest[max(size, 4) :]
        bands += packet[1:] if packet[:1] == b"\x02" else b""
    return bands


def test_everybody_sees_the_same_bytes_while_they_come_and_after(front: Nginx) -> None:
    files = shell("sleep 1; for part in noise storm broken; do cat $part; sleep 0.3; done")
    pushed, run = begun(front, files | {"noise": NOISE, "storm": STORM, "broken": BROKEN})
    number = run["id"]
    ways: list[Callable[[], httpx.Client]] = [front.client, lambda: front.browser(token=front.token)]
    with ThreadPoolExecutor(4) as pool:
        texts = [pool.submit(events, way(), number) for way in ways]
        streams = [pool.submit(followed, way(), number) for way in ways]
        assert [each.result() == WRITTEN for each in streams] == [True, True]
        assert [each.result() == seen(WRITTEN) for each in texts] == [True, True]
    assert front.run_of(pushed)["state"] == "succeeded"
    assert front.read_log("runs", number) == WRITTEN
    assert next(iter(front.data.glob("logs/rank/*.log"))).read_bytes() == WRITTEN
    for way in ways:
        assert in_pieces(way(), number, len(WRITTEN)) == WRITTEN
        assert events(way(), number) == seen(WRITTEN)
    bands, ours = shown_by_git(front, pushed, number), WRITTEN.replace(b"\0", b"")
    at = bands.index(ours[:40])
    assert bands[at : at + len(ours)] == ours, "git shows nothing behind a NUL, so only these are left out"
    assert bands[at + len(ours) :].startswith(f"\nhermes  run {number}    ".encode())


def seen(data: bytes) -> bytes:
    """As a page decodes it."""
    return data.decode(errors="replace").encode()


def test_one_line_of_64_mebibytes_arrives_whole(front: Nginx) -> None:
    files = shell(f"head -c {LINE_BYTES} /dev/zero | tr '\\0' x", "[run]\ntimeout = '10m'\n")
    pushed, run = begun(front, files)
    whole = b"x" * LINE_BYTES
    with ThreadPoolExecutor(2) as pool:
        stream = pool.submit(followed, front.browser(token=front.token), run["id"])
        text = pool.submit(events, front.client(), run["id"])
        assert stream.result() == whole
        assert text.result() == whole
    assert front.run_of(pushed)["state"] == "succeeded"
    with front.browser(token=front.token) as client:
        last = client.get(f"/runs/{run['id']}/log", headers={"Range": "bytes=-100001"})
    assert last.content == whole[-100001:]
    assert last.headers["content-range"] == f"bytes {LINE_BYTES - 100001}-{LINE_BYTES - 1}/{LINE_BYTES}"
