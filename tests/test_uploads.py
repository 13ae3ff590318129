"""Uploads: one file, one run; whole or not at all; refused with the next step; its outputs lie beside it."""

import base64
import hashlib
import http.client
import random
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.access_tools import browsing, execute, open_house
from tests.files import sizes_below
from tests.programs import shell
from tests.service import Service, wait_for

LOOK = shell(
    'echo "$HERMES_INPUT_PATH"; sha256sum < "$HERMES_INPUT_FILE"\n'
    'test "$HERMES_INPUT_FILE" = "$INPUT_FILE_PATH" || exit 7\n'
    'test "$TMP_OUTPUT_DIR" = "$HERMES_OUTPUT_DIR" || exit 9\n'
    'test "$HERMES_INPUT_FILE" = "$HERMES_INPUT_DIR/$HERMES_INPUT_PATH" || exit 8\n'
    'wc -c < "$HERMES_INPUT_FILE" > "$TMP_OUTPUT_DIR/size.txt"\n',
    '[on]\nupload = ["*.png", "raw/*.tif"]\n',
)
FUNCTION = "/api/v1/functions/alice/look"
INBOX = f"{FUNCTION}/inbox"
_MANY = 80


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance with a function that takes pictures."""
    settings = {"HERMES_TRUST": "all", "HERMES_RUNS_PER_MINUTE": "0", "HERMES_INPUT_SIZE": "32M"}
    for one in open_house(tmp_path_factory.mktemp("uploads"), **settings):
        pushed = one.push(LOOK, "build-only", repo="alice/look")
        assert one.settled(pushed)["state"] == "built", pushed.output
        yield one


@pytest.fixture
def alice(house: Service) -> Iterator[httpx.Client]:
    with house.client() as client:
        yield client


def put(client: httpx.Client, path: str, data: bytes, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.put(f"{INBOX}/{path}", content=data, headers=named)


def ended(service: Service, run: int) -> dict[str, Any]:
    def ask() -> dict[str, Any] | None:
        found = service.api(f"/runs/{run}")
        return found if found["ended_at"] else None

    return wait_for(ask)


def count(service: Service, **query: str) -> int:
    return len(
        service.api("/runs?" + "&".join(f"{k}={v}" for k, v in {"limit": "100", **query}.items()))["runs"]
    )


def refusal(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["hint"], error
    return f"{error['message']} | {error['hint']}"


def test_a_file_starts_a_run_that_finds_it_and_whose_output_lies_beside_it(
    house: Service, alice: httpx.Client
) -> None:
    data = random.Random(1).randbytes(70_000)
    answer = put(alice, "img/a.png", data)
    assert answer.status_code == 201, answer.text
    upload = answer.json()
    run = ended(house, upload["run"])
    assert (run["state"], run["trigger"], run["why"]) == (
        "succeeded",
        "upload",
        "img/a.png uploaded by alice",
    )
    assert run["why_url"].endswith("/functions/alice/look/uploads?name=img%2Fa.png")
    log = house.read_log("runs", run["id"]).decode()
    assert log == f"img/a.png\n{hashlib.sha256(data).hexdigest()}  -\n"
    beside = alice.get(f"{FUNCTION}/outbox/img/a.png/size.txt")
    assert beside.text.strip() == "70000"
    listed = alice.get(f"{FUNCTION}/outbox/img/a.png").json()
    assert [each["path"] for each in listed["outputs"]] == ["size.txt"]
    assert alice.get(httpx.URL(listed["outputs"][0]["url"]).raw_path.decode()).content == beside.content
    assert [each["name"] for each in alice.get(f"{FUNCTION}/outbox/img").json()["uploads"]] == ["img/a.png"]
    record = alice.get(answer.headers["location"]).json()
    assert (record["state"], record["artifacts"], record["received_bytes"]) == ("succeeded", 1, 70_000)


def test_a_run_again_has_the_file_as_well(house: Service, alice: httpx.Client) -> None:
    run = put(alice, "again.png", b"once").json()["run"]
    again = alice.post(f"/api/v1/runs/{run}/again").json()["id"]
    assert ended(house, again)["state"] == "succeeded"
    assert house.read_log("runs", again) == house.read_log("runs", ended(house, run)["id"])


def test_what_is_refused_is_said_with_the_next_step_and_written_down(
    house: Service, alice: httpx.Client
) -> None:
    before = count(house, trigger="upload")
    for path in ("..%2F..%2Fx.png", "a%2F%2Fb.png", "%2Fetc%2Fx.png", "a%09b.png", "x%5Cy.png"):
        assert "cannot be the name" in refusal(put(alice, path, b"x"), 400)
    assert 'a.txt does not match on.upload of alice/look: "*.png", "raw/*.tif"' in refusal(
        put(alice, "a.txt", b"x"), 403
    )
    assert "X-Checksum" in refusal(put(alice, "a.png", b"x", X_Checksum_Sha256="12"), 400)
    assert "was to have" in refusal(put(alice, "a.png", b"x", X_Checksum_Sha256="0" * 64), 400)
    assert "no sha-256" in refusal(put(alice, "a.png", b"x", Repr_Digest="md5=:aaaa:"), 400)
    assert "Content-Range" in refusal(put(alice, "a.png", b"x", Content_Range="bytes 0-0/2"), 400)
    assert "HERMES_INPUT_SIZE" in refusal(put(alice, "a.png", bytes(33 << 20)), 413)
    assert count(house, trigger="upload") == before
    wait_for(lambda: 1 not in sizes_below(house.data / "inputs").values())
    execute(house, "UPDATE user SET is_admin = 1 WHERE name = 'alice'")
    with browsing(house, house.token) as browser:
        page = browser.get("/admin/audit?act=upload+refused").text
    assert "../../x.png" in page and "does not match on.upload" in page and "was to have" in page


def test_digests_that_fit_are_taken(house: Service, alice: httpx.Client) -> None:
    digest = hashlib.sha256(b"words").digest()
    field = f"sha-256=:{base64.b64encode(digest).decode()}:"
    assert put(alice, "d.png", b"words", Repr_Digest=field).status_code == 201
    answer = put(alice, "d.png", b"words", X_Checksum_Sha256=digest.hex())
    assert answer.status_code == 201 and answer.json()["sha256"] == digest.hex()


def test_a_function_without_a_pattern_says_how_it_gets_one(house: Service, alice: httpx.Client) -> None:
    house.settled(house.push(shell("true"), "build-only", repo="alice/plain"))
    answer = alice.put("/api/v1/functions/alice/plain/inbox/a.png", content=b"x")
    words = refusal(answer, 403)
    assert "alice/plain takes no uploads" in words and 'with `upload = "*"`' in words


def test_the_same_key_is_one_run_and_the_same_name_without_one_are_two(
    house: Service, alice: httpx.Client
) -> None:
    first, second = (put(alice, "k.png", b"same", Idempotency_Key="one") for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200) and first.json()["id"] == second.json()["id"]
    assert refusal(put(alice, "k.png", b"other one", Idempotency_Key="one"), 409)
    assert put(alice, "k.png", b"same").json()["run"] != first.json()["run"]


def test_uploads_of_one_name_at_once_are_each_a_run_of_their_own(house: Service) -> None:
    files = [random.Random(number).randbytes(300_000) for number in range(6)]
    found: dict[int, dict[str, Any]] = {}

    def send(number: int) -> None:
        with house.client() as client:
            found[number] = put(client, "raw/same.tif", files[number]).json()

    threads = [threading.Thread(target=send, args=(number,)) for number in range(len(files))]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len({each["run"] for each in found.values()}) == len(files)
    for number, upload in found.items():
        run = ended(house, upload["run"])
        assert hashlib.sha256(files[number]).hexdigest() in house.read_log("runs", run["id"]).decode()
    versions = house.api("/functions/alice/look/uploads?name=raw/same.tif")["uploads"]
    assert [each["id"] for each in versions] == sorted((each["id"] for each in found.values()), reverse=True)


def test_half_a_file_starts_nothing(house: Service, alice: httpx.Client) -> None:
    before, files = count(house, trigger="upload"), set((house.data / "inputs").glob("*/*"))
    where = urlsplit(house.url)
    one = http.client.HTTPConnection(where.hostname or "", where.port)
    one.putrequest("PUT", f"{INBOX}/half.png")
    one.putheader("Authorization", f"Bearer {house.token}")
    one.putheader("Content-Length", "3000000")
    one.endheaders(bytes(2_000_000))
    wait_for(lambda: set((house.data / "inputs").glob("*/*")) - files)
    one.close()
    wait_for(lambda: not set((house.data / "inputs").glob("*/*")) - files)
    assert count(house, trigger="upload") == before
    assert not house.api("/functions/alice/look/uploads?name=half.png")["uploads"]


def test_who_may_read_only_may_not_upload(house: Service, alice: httpx.Client) -> None:
    token = house.add_user("reader")
    with house.client(token) as reader:
        assert put(reader, "a.png", b"x").status_code == 404
        house.hermes("admin", "repo", "collaborator", "add", "alice/look", "reader", "--role", "read")
        assert "make you a collaborator" in refusal(put(reader, "a.png", b"x"), 403)
        assert reader.get(f"{FUNCTION}/uploads").status_code == 200


def test_lists_come_in_pages_and_say_the_patterns(house: Service, alice: httpx.Client) -> None:
    for number in range(5):
        assert put(alice, f"p/{number}.png", b"x").status_code == 201
    page = house.api("/functions/alice/look/uploads?limit=2")
    assert page["patterns"] == ["*.png", "raw/*.tif"]
    names = [each["name"] for each in page["uploads"]]
    page = alice.get(httpx.URL(page["next"]).raw_path.decode()).json()
    names += [each["name"] for each in page["uploads"]]
    assert names == ["p/4.png", "p/3.png", "p/2.png", "p/1.png"]
    outbox = house.api("/functions/alice/look/outbox/p?limit=3")
    names = [each["name"] for each in outbox["uploads"]]
    outbox = alice.get(httpx.URL(outbox["next"]).raw_path.decode()).json()
    assert names + [each["name"] for each in outbox["uploads"]] == [f"p/{number}.png" for number in range(5)]


def test_hundreds_of_files_are_hundreds_of_runs(house: Service) -> None:
    left, numbers = iter(range(_MANY)), list[int]()  # each thread takes the next one

    def send() -> None:
        with house.client() as client:
            for number in left:
                answer = put(client, f"many/{number}.png", b"%d" % number)
                assert answer.status_code == 201, answer.text
                numbers.append(answer.json()["run"])

    threads = [threading.Thread(target=send) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(set(numbers)) == _MANY

    def outbox() -> list[dict[str, Any]] | None:
        found = house.api("/functions/alice/look/outbox/many?limit=1000")["uploads"]
        return found if all(each["ended_at"] for each in found) else None

    found = wait_for(outbox, 600)
    assert {each["run"] for each in found} == set(numbers)
    assert {(each["state"], each["artifacts"]) for each in found} == {("succeeded", 1)}
