"""The connections of `hermes.client`: proxies, other addresses, answers that come too early or not at all."""

import io
import json
from base64 import b64encode
from pathlib import Path

import pytest

from hermes.client import AsyncClient, Client, Invocation
from hermes.client.body import Body, Form
from hermes.client.errors import BrokenOff, ClientError, Missing, NoServer, OtherServer, Unauthorized
from tests.cutting import Cutter
from tests.service import Service
from tests.stand_in import answering, proxying, saying

VERSION = json.dumps({"version": "9.1", "api": 1}).encode()
WHO = f"Basic {b64encode(b'me:p@ss').decode()}"


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What a proxy was asked."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return []


def test_a_proxy_is_asked_in_the_clear(seen: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(200, VERSION, {}) as url, proxying(seen) as proxy:
        with Client(url) as client:
            assert client.version()["version"] == "9.1" and not seen
        monkeypatch.setenv("http_proxy", f"http://me:p%40ss@{proxy}")
        with Client(url) as client:
            assert client.version()["version"] == client.version()["version"] == "9.1"
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with Client(url) as client:
            assert client.version()["version"] == "9.1"
    assert seen == [(f"GET {url}/api/v1/version HTTP/1.1", WHO)] * 2


async def test_a_proxy_does_not_see_what_is_encrypted(
    seen: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(200, VERSION, {}, tls=tmp_path) as url, proxying(seen) as proxy:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
        monkeypatch.setenv("https_proxy", f"http://me:p%40ss@{proxy}")
        with Client(url, "secret") as client:
            assert client.version()["version"] == "9.1"
        async with AsyncClient(url, "secret") as other:
            assert (await other.version())["version"] == "9.1"
    assert seen == [(f"CONNECT {url.removeprefix('https://')} HTTP/1.1", WHO)] * 2


def test_a_proxy_that_says_no_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    with saying(b"HTTP/1.1 403 Forbidden\r\n\r\n") as proxy, Client("https://127.0.0.1:9") as client:
        monkeypatch.setenv("https_proxy", proxy)
        with pytest.raises(NoServer, match=r"does not lead to 127\.0\.0\.1:9: HTTP/1\.1 403 Forbidden"):
            client.version()


def test_a_download_goes_where_it_is_sent_and_the_token_does_not(service: Service) -> None:
    there = {"Location": f"{service.url}/api/v1/user"}
    with answering(302, b"", there) as url, Client(url, service.token) as client:
        with pytest.raises(Unauthorized):
            list(client.result(1))
        with pytest.raises(OtherServer, match="has moved to"):
            client.user()
    lost = pytest.raises(OtherServer, match="from one address to the next")
    with answering(302, b"", {"Location": "/round"}) as url, Client(url) as client, lost:
        list(client.result(1))


def test_a_connection_that_was_closed_meanwhile_is_made_anew(service: Service) -> None:
    with Cutter(service.port) as cutter, Client(cutter.url, service.token) as client:
        for _ in range(3):
            assert client.user()["name"] == "alice"
        assert len(cutter._all) == 2  # one of each side
        cutter.cut()
        assert client.user()["name"] == "alice"


@pytest.mark.parametrize("size", [None, 60_000_000])
def test_who_says_no_before_the_end_of_the_body_is_heard(service: Service, size: int | None) -> None:
    with Client(service.url, service.token) as client, pytest.raises(Missing):
        next(client.invoke(Invocation("alice/nobodys", stdin=Body(io.BytesIO(bytes(60_000_000)), size=size))))


BROKEN = {
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}": "98 bytes are missing",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab": "ended the connection",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n": "ended the connection",
    b"\x15\x03\x01": "ended the connection",
    b"SSH-2.0-OpenSSH_9\r\n": "ended the connection",
    b"": "ended the connection",
}


@pytest.mark.parametrize("words", BROKEN)
def test_an_answer_that_is_none_is_broken_off(words: bytes) -> None:
    with saying(words) as url, Client(url) as client, pytest.raises(BrokenOff, match=BROKEN[words]):
        client.get("/limits")


def test_what_cannot_stand_in_a_header_is_never_sent() -> None:
    with Client("http://127.0.0.1:9", "two\r\nlines") as client, pytest.raises(ClientError):
        client.user()
    told = pytest.raises(ClientError, match="Authorization")
    with answering(200, VERSION, {}) as url, Client(url, "two\r\nlines") as other, told:
        other.user()


def test_a_form_says_its_length_where_it_is_known() -> None:
    parts = [("options", (None, b"{}", "application/json")), ("file", ('a "b"\n.txt', b"", "text/plain"))]
    form = Form(parts)
    whole = b"".join(iter(form.read, b""))
    assert form.size == len(whole) and b'filename="a %22b%22%0A.txt"' in whole
    assert whole.endswith(b"--\r\n") and form.media_type.partition("=")[2].encode() in whole
    assert Form([("file", ("a", Body(io.BytesIO(b"x")), "text/plain"))]).size is None
