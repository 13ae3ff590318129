"""The server is killed at each step of an upload: the file has one run in the end, and is whole in it."""

import base64
import hashlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from hermes.faultpoint import POINTS
from tests.access_tools import open_house
from tests.programs import shell
from tests.promises import all_is_kept
from tests.service import Service, wait_for
from tests.test_faultpoints import strike

COPY = shell(
    'cp "$HERMES_INPUT_FILE" "$HERMES_OUTPUT_DIR/copy"; sha256sum < "$HERMES_INPUT_FILE"',
    '[on]\nupload = "*"\n',
)
FUNCTION = "/api/v1/functions/alice/copy"
DATA = random.Random(9).randbytes(200_000)


def but(*steps: str) -> list[str]:
    """All points of an upload, without those that this way of it does not come by."""
    return [point for point in POINTS if point.startswith("upload.") and point.partition(".")[2] not in steps]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A watched folder."""
    folder = tmp_path_factory.mktemp("host") / "in"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def frail(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance that dies where the test says."""
    settings = {"HERMES_FAULTPOINT": "file", "HERMES_POLL": "1s", "HERMES_LEASE": "8s"}
    for one in open_house(tmp_path_factory.mktemp("frail"), **settings):
        pushed = one.push(COPY, "build-only", repo="alice/copy")
        assert one.settled(pushed)["state"] == "built", pushed.output
        one.hermes("admin", "watch", "add", str(place), "alice/copy")
        yield one


@pytest.fixture(autouse=True)
def kept(frail: Service) -> Iterator[None]:
    """Whatever happened, no promise is broken."""
    yield
    wait_for(frail.answers)
    wait_for(lambda: not frail.api("/runs?state=queued&state=starting&state=running")["runs"])
    all_is_kept(frail, [])


def the_one(service: Service, name: str) -> dict[str, Any]:
    """The upload of this name, ended: there is one, it is whole, and it has one run."""

    def ask() -> dict[str, Any] | None:
        found = service.api(f"/functions/alice/copy/uploads?name={name}")["uploads"]
        return found[0] if found and found[0]["ended_at"] else None

    wait_for(service.answers)
    upload = wait_for(ask)
    assert len(service.api(f"/functions/alice/copy/uploads?name={name}")["uploads"]) == 1
    runs = service.api("/runs?trigger=upload&limit=100")["runs"]
    assert [each["id"] for each in runs if each["why"].startswith(f"{name} ")] == [upload["run"]]
    assert hashlib.sha256(DATA).hexdigest() in service.read_log("runs", upload["run"]).decode()
    return upload


@pytest.mark.fault(49)
@pytest.mark.parametrize("point", but("received", "delivered"))
def test_a_file_that_is_sent_again_with_its_key_has_one_run(frail: Service, point: str) -> None:
    name, has_struck = f"put-{point}", strike(frail, point)
    with frail.client() as client:

        def put() -> httpx.Response:
            return client.put(f"{FUNCTION}/inbox/{name}", content=DATA, headers={"Idempotency-Key": name})

        with pytest.raises(httpx.TransportError):
            put()
        assert has_struck()
        wait_for(frail.answers)
        assert put().status_code == (201 if point == "upload.stored" else 200)
    the_one(frail, name)


@pytest.mark.fault(49)
@pytest.mark.parametrize("point", but("delivered"))
def test_a_file_in_parts_is_finished_also_when_its_sender_is_gone(frail: Service, point: str) -> None:
    name = f"parts-{point}"
    half, part = len(DATA) // 2, {"Content-Type": "application/offset+octet-stream"}
    with frail.client() as client:
        client.headers["Tus-Resumable"] = "1.0.0"
        metadata = f"path {base64.b64encode(name.encode()).decode()}"
        about = {"Upload-Length": str(len(DATA)), "Upload-Metadata": metadata}
        answer = client.post(f"{FUNCTION}/inbox", headers=about)
        location = urlsplit(answer.headers["location"]).path
        assert client.patch(location, content=DATA[:half], headers=part | {"Upload-Offset": "0"}).is_success
        has_struck = strike(frail, point)
        with pytest.raises(httpx.TransportError):
            client.patch(location, content=DATA[half:], headers=part | {"Upload-Offset": str(half)})
        assert has_struck()
    the_one(frail, name)


@pytest.mark.fault(49)
@pytest.mark.parametrize("point", but("received"))
def test_a_file_of_a_watched_folder_is_taken_once(frail: Service, place: Path, point: str) -> None:
    name, has_struck = f"watched-{point}", strike(frail, point)
    (place / name).write_bytes(DATA)
    wait_for(has_struck)
    the_one(frail, name)
    out = Path(f"{place}.out") / name
    wait_for((out / ".hermes.json").exists)
    assert (out / "copy").read_bytes() == DATA
