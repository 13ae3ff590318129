"""Uploads in parts (tus 1.0): they go on where they broke off, after cut connections and restarts of ours."""

import base64
import hashlib
import http.client
import os
import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.access_tools import execute, open_house
from tests.files import sizes_below
from tests.programs import shell
from tests.service import Service, wait_for

COUNT = shell('sha256sum < "$HERMES_INPUT_FILE"', '[on]\nupload = "*.bin"\n')
FUNCTION = "/api/v1/functions/alice/count"
DATA = random.Random(5).randbytes(9_000_001)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance with a function that takes files."""
    for one in open_house(tmp_path_factory.mktemp("tus"), HERMES_INPUT_SIZE="16M"):
        pushed = one.push(COUNT, "build-only", repo="alice/count")
        assert one.settled(pushed)["state"] == "built", pushed.output
        yield one


@pytest.fixture
def alice(house: Service) -> Iterator[httpx.Client]:
    with house.client() as client:
        client.headers["Tus-Resumable"] = "1.0.0"
        yield client


def begin(client: httpx.Client, path: str, size: int, **more: str) -> httpx.Response:
    metadata = f"path {base64.b64encode(path.encode()).decode()},filetype {base64.b64encode(b'x').decode()}"
    headers = {"Upload-Length": str(size), "Upload-Metadata": metadata, **more}
    return client.post(f"{FUNCTION}/inbox", headers=headers)


def place_of(answer: httpx.Response) -> str:
    assert answer.status_code == 201, answer.text
    return urlsplit(answer.headers["location"]).path


def send(client: httpx.Client, place: str, offset: int, data: bytes, **more: str) -> httpx.Response:
    headers = {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream", **more}
    return client.patch(place, content=data, headers=headers)


def offset(client: httpx.Client, place: str) -> int:
    answer = client.head(place)
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    return int(answer.headers["upload-offset"])


def log_of(service: Service, upload: dict[str, Any]) -> str:
    wait_for(lambda: service.api(f"/runs/{upload['run']}")["ended_at"])
    return service.read_log("runs", upload["run"]).decode().split()[0]


def break_off(service: Service, place: str, offset: int, data: bytes) -> http.client.HTTPConnection:
    """A sender that says nothing more in the middle of a part."""
    where = urlsplit(service.url)
    one = http.client.HTTPConnection(where.hostname or "", where.port)
    one.putrequest("PATCH", place)
    for name, value in {
        "Authorization": f"Bearer {service.token}",
        "Tus-Resumable": "1.0.0",
        "Upload-Offset": str(offset),
        "Content-Type": "application/offset+octet-stream",
        "Content-Length": str(len(DATA) - offset),
    }.items():
        one.putheader(name, value)
    one.endheaders(data)
    return one


def test_parts_make_one_file_and_one_run(house: Service, alice: httpx.Client) -> None:
    place = place_of(begin(alice, "a/parts.bin", len(DATA)))
    record = alice.get(place).json()
    assert (record["state"], record["run"], record["size_bytes"]) == ("receiving", None, len(DATA))
    for at in range(0, len(DATA), 4_000_000):
        assert offset(alice, place) == at
        answer = send(alice, place, at, DATA[at : at + 4_000_000])
        assert answer.status_code == 204, answer.text
    record = alice.get(place).json()
    assert log_of(house, record) == hashlib.sha256(DATA).hexdigest()
    assert house.api(f"/runs/{record['run']}")["why"] == "a/parts.bin uploaded by alice"
    assert send(alice, place, len(DATA), b"").status_code == 204  # heard too late, and asked again
    assert alice.get(place).json()["run"] == record["run"]
    assert len(house.api("/functions/alice/count/uploads?name=a/parts.bin")["uploads"]) == 1


def test_it_goes_on_after_a_cut_connection_and_a_restart(house: Service, alice: httpx.Client) -> None:
    place = place_of(begin(alice, "cut.bin", len(DATA)))
    file = next(path for path, size in sizes_below(house.data / "inputs").items() if not size)
    silent = break_off(house, place, 0, DATA[:3_000_000])
    wait_for(lambda: file.stat().st_size >= 2_000_000)
    here = offset(alice, place)  # whoever asks takes over: nobody waits for the end of a dead line
    assert here >= 2_000_000 and offset(alice, place) == here
    held = break_off(house, place, here, DATA[here:5_000_000])
    wait_for(lambda: file.stat().st_size >= 4_000_000)
    held.close()
    wait_for(lambda: file.stat().st_size == 5_000_000)
    silent.close()
    left = place_of(begin(alice, "left.bin", 10))
    assert send(alice, left, 0, b"12345").status_code == 204
    house.stop()
    let_a_day_pass(house, int(left.rpartition("/")[2]))
    house.start()
    assert alice.get(place).json()["received_bytes"] == 5_000_000
    assert alice.get(place).json()["run"] is None
    assert send(alice, place, offset(alice, place), DATA[5_000_000:]).status_code == 204
    assert log_of(house, alice.get(place).json()) == hashlib.sha256(DATA).hexdigest()
    wait_for(lambda: alice.get(left).status_code == 404)  # that was too long ago
    wait_for(lambda: len(b"12345") not in sizes_below(house.data / "inputs").values())


def let_a_day_pass(house: Service, number: int) -> None:
    """For an upload of which `12345` is here."""
    execute(house, "UPDATE upload SET created_at = created_at - 90000 WHERE id = ?", number)
    file = next(path for path in (house.data / "inputs").glob("*/*") if path.read_bytes() == b"12345")
    old = file.stat().st_mtime - 90_000
    os.utime(file, (old, old))


def test_what_cannot_be_is_refused(house: Service, alice: httpx.Client) -> None:
    assert begin(alice, "a.txt", 5).status_code == 403
    assert begin(alice, "../../x.bin", 5).status_code == 400
    assert begin(alice, "a.bin", 17 << 20).status_code == 413
    assert alice.post(f"{FUNCTION}/inbox", headers={"Upload-Length": "5"}).status_code == 400
    bad = {"Upload-Length": "5", "Upload-Metadata": "path !!!"}
    assert alice.post(f"{FUNCTION}/inbox", headers=bad).status_code == 400
    assert begin(alice, "a.bin", 5, **{"Tus-Resumable": "0.2.2"}).status_code == 412
    place = place_of(begin(alice, "a.bin", 5))
    assert send(alice, place, 3, b"de").status_code == 409
    assert send(alice, place, 0, b"more than that").status_code == 400
    assert send(alice, place, 0, b"x", **{"Content-Type": "text/plain"}).status_code == 415
    assert offset(alice, place) == 0
    with house.client(house.add_user("other")) as other:
        assert send(other, place, 0, b"x", **{"Tus-Resumable": "1.0.0"}).status_code == 404
        assert other.delete(place).status_code == 404 and other.head(place).status_code == 404
    assert alice.delete(place).status_code == 204 and alice.head(place).status_code == 404


def test_a_file_with_another_digest_than_announced_starts_nothing(
    house: Service, alice: httpx.Client
) -> None:
    digest = hashlib.sha256(b"right").hexdigest()
    place = place_of(begin(alice, "digest.bin", 5, **{"X-Checksum-Sha256": digest}))
    assert "was to have" in send(alice, place, 0, b"wrong").json()["error"]["message"]
    assert alice.get(place).json()["run"] is None
    place = place_of(begin(alice, "digest.bin", 5, **{"X-Checksum-Sha256": digest}))
    assert send(alice, place, 0, b"right").status_code == 204 and alice.get(place).json()["run"]


def test_an_empty_file_is_whole_at_once(house: Service, alice: httpx.Client) -> None:
    assert alice.get(place_of(begin(alice, "empty.bin", 0))).json()["run"]
