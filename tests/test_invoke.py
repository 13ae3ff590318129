"""Built functions run with other inputs: by HTTP, as any client would ask."""

import asyncio
import base64
import hashlib
import json
import os
import random
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.programs import go_on, shell, told
from tests.service import PATIENCE_S, Pushed, Service, living, wait_for

SOURCE = r"""
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unistd.h>
#include <string>
int main(int argc, char** argv) {
    std::string what = argc > 1 ? argv[1] : "args";
    if (what == "cat") {
        static char block[1 << 16];
        for (ssize_t n; (n = read(0, block, sizeof block)) > 0;)
            if (write(1, block, n) != n) return 9;
        return 0;
    }
    if (what == "both") {
        fprintf(stderr, "to stderr\n"); printf("to stdout\n"); return 7;
    }
    if (what == "sh") { execl("/bin/sh", "sh", "-c", argv[2], (char*)0); return 9; }
    for (int i = 1; i < argc; i++) printf("[%s]", argv[i]);
    printf("\n");
    return 0;
}
"""
FILES: dict[str, str | bytes] = {
    "hermes.toml": 'handler = "./a.out"\nversion = "1.0.0"\n[run]\nargs = ["first"]\nenv = { FROM = "us" }\n',
    "Makefile": "a.out: main.cpp\n\tg++ -O1 main.cpp -o a.out\n",
    "main.cpp": SOURCE,
}


@pytest.fixture(scope="module")
def function(service: Service) -> Pushed:
    pushed = service.push(FILES, repo="echo")
    assert pushed.code == 0 and service.settled(pushed)["state"] == "succeeded", pushed.output
    return pushed


def frames(body: bytes) -> Iterator[tuple[int, int, bytes]]:
    at = 0
    while at < len(body):
        word, size = struct.unpack_from(">II", body, at)
        yield word >> 24, word & 0xFFFFFF, body[at + 8 : at + 8 + size]
        at += 8 + size


def raw_post(service: Service, path: str, body: bytes) -> tuple[bytes, bytes, dict[str, str]]:
    """With the trailers, which most clients throw away."""
    where = urlsplit(service.url)
    with socket.create_connection((where.hostname, where.port)) as one:
        one.settimeout(PATIENCE_S)
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.token}\r\n"
        one.sendall(f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        with one.makefile("rb") as file:
            answer = file.read()
    head_bytes, _, rest = answer.partition(b"\r\n\r\n")
    data = b""
    while True:
        size, _, rest = rest.partition(b"\r\n")
        count = int(size, 16)
        if not count:
            break
        data, rest = data + rest[:count], rest[count + 2 :]
    pairs = [line.split(": ", 1) for line in rest.decode().split("\r\n") if line]
    return head_bytes, data, {name.lower(): value for name, value in pairs}


def test_a_call_is_answered_with_what_the_program_writes_and_how_it_ended(
    service: Service, function: Pushed
) -> None:
    head, data, trailers = raw_post(service, "/api/v1/functions/alice/echo/runs?mode=sync&arg=both", b"")
    assert (b" 200 " in head and b"X-Hermes-Run" in head) or b"x-hermes-run" in head
    assert data == b"to stdout\n"
    assert trailers == {"x-hermes-state": "failed", "x-hermes-exit-code": "7"}


def test_frames_tell_the_streams_apart(service: Service, function: Pushed) -> None:
    with service.client() as client:
        answer = client.post(
            "/api/v1/functions/alice/echo/runs?mode=sync&arg=both",
            headers={"Accept": "application/vnd.hermes.frames"},
        )
    found = list(frames(answer.content))
    assert b"".join(data for kind, _, data in found if kind == 1) == b"to stdout\n"
    assert b"".join(data for kind, _, data in found if kind == 2) == b"to stderr\n"
    first, last = json.loads(found[0][2]), json.loads(found[-1][2])
    assert first["event"] == "run" and last["event"] == "end"
    assert last["run"]["state"] == "failed" and last["run"]["exit_code"] == 7
    assert last["run"]["trigger"] == "api"


def post(service: Service, what: str = "", **more: Any) -> httpx.Response:
    function, _, query = what.partition("?")
    with service.client() as client:
        return client.post(f"/api/v1/functions/{function or 'alice/echo'}/runs?{query}", **more)


def ended(service: Service, run_id: int) -> dict[str, Any]:
    def ask() -> dict[str, Any] | None:
        run = service.api(f"/runs/{run_id}")
        return run if run["ended_at"] else None

    return wait_for(ask)


def result(service: Service, run_id: int) -> str:
    with service.client() as client:
        return client.get(f"/api/v1/runs/{run_id}/result").text


def test_an_invocation_without_waiting_is_answered_with_its_record(
    service: Service, function: Pushed
) -> None:
    answer = post(service, "?arg=one&arg=two%20words")
    run = answer.json()
    assert answer.status_code == 202 and answer.headers["location"] == f"/api/v1/runs/{run['id']}"
    assert (
        ended(service, run["id"])["state"] == "succeeded"
        and result(service, run["id"]) == "[one][two words]\n"
    )


def test_wait_gives_the_record_when_it_ends_in_time(service: Service, function: Pushed) -> None:
    assert post(service, "?arg=x&wait=100").status_code == 200
    late = post(service, "?arg=sh&arg=sleep%20600&wait=0.2")
    assert late.status_code == 202 and not late.json()["ended_at"]
    with service.client() as client:
        assert client.post(f"/api/v1/runs/{late.json()['id']}/cancel").is_success


def test_server_sent_events_end_with_the_record(service: Service, function: Pushed) -> None:
    answer = post(service, "?mode=sync&arg=both", headers={"Accept": "text/event-stream"})
    events = [block.split("\n") for block in answer.text.strip().split("\n\n")]
    found = [
        (lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: "))) for lines in events
    ]
    written = {name: base64.b64decode(data["data"]) for name, data in found if name in ("stdout", "stderr")}
    assert written == {"stdout": b"to stdout\n", "stderr": b"to stderr\n"}
    assert found[0][0] == "run" and found[-1][0] == "end" and found[-1][1]["exit_code"] == 7


def test_a_hundred_megabytes_go_through_unchanged(local_service: Service, tmp_path: Path) -> None:
    pushed = local_service.push(FILES, repo="echo")
    assert local_service.settled(pushed)["state"] == "succeeded", pushed.output
    data = random.Random(7).randbytes(100 << 20)
    name = f"{local_service.user}/echo"
    answer = post(local_service, f"{name}?mode=sync&arg=cat", content=data)
    assert hashlib.sha256(answer.content).digest() == hashlib.sha256(data).digest()
    with local_service.client() as client:
        part = client.get(
            f"/api/v1/runs/{answer.headers['x-hermes-run']}/result", headers={"Range": "bytes=1000-1999"}
        )
    assert part.status_code == 206 and part.content == data[1000:2000]


def test_files_and_options_come_in_a_form(service: Service, function: Pushed) -> None:
    script = 'cat; cd "$HERMES_INPUT_DIR"; find . -type f | sort | xargs sha256sum; echo "$FROM $NEW $TWO"'
    options = {"run": {"args": ["sh", script], "env": {"FROM": "options", "NEW": "n"}}}
    small, large = b"a,b\n1,2\n", random.Random(3).randbytes(3 << 20)
    parts = [
        ("options", (None, json.dumps(options), "application/json")),
        ("stdin", ("-", b"from stdin\n")),
        ("file", ("data/small.csv", small)),
        ("file", ("large.bin", large)),
    ]
    answer = post(service, "?mode=sync&env=TWO=2", files=parts)
    assert answer.status_code == 200, answer.text
    digests = [hashlib.sha256(data).hexdigest() for data in (small, large)]
    assert answer.text == (
        f"from stdin\n{digests[0]}  ./data/small.csv\n{digests[1]}  ./large.bin\noptions n 2\n"
    )


def test_a_run_again_has_the_same_input(service: Service, function: Pushed) -> None:
    run = post(service, "?arg=cat&wait=100", content=b"the input").json()
    with service.client() as client:
        again = client.post(f"/api/v1/runs/{run['id']}/again").json()
    assert ended(service, again["id"])["state"] == "succeeded" and result(service, again["id"]) == "the input"


def test_parameters_and_repeat_make_ranks_that_answer_one_after_another(
    service: Service, function: Pushed
) -> None:
    query = "mode=sync&arg=sh&arg=echo%20{rank}%20{n}&parameter=n=5&ranks.repeat=3"
    assert post(service, f"?{query}").text == "0 5\n1 5\n2 5\n"


def test_the_same_key_starts_one_run(service: Service, function: Pushed) -> None:
    key = {"Idempotency-Key": os.urandom(8).hex()}
    first, second = (post(service, "?arg=cat", content=b"x", headers=key).json() for _ in range(2))
    assert first["id"] == second["id"]
    other = post(service, "?arg=other", content=b"x", headers=key)
    assert other.status_code == 409 and other.json()["error"]["code"] == "conflict"
    version = post(service, "alice/echo:1.0.0?arg=cat", content=b"x", headers=key)
    assert version.status_code == 409, "another function is another request"


def test_a_repeat_is_recognised_when_the_instance_would_refuse_it_now(tmp_path: Path) -> None:
    env = {
        "HERMES_EXECUTOR": "local",
        "HERMES_TRUST": "all",
        "HERMES_REDIS_URL": "none",
        "HERMES_POLL": "0.5",
    }
    key = {"Idempotency-Key": "k"}
    with living(Service(tmp_path / "changing", env)) as one:
        one.settled(one.push(shell('echo "$@"\n'), repo="echo"))
        first = post(one, "?run.timeout=2h&wait=100", headers=key)
        assert first.status_code == 200, first.text
        assert one.stop() == 0
        one.env["HERMES_MAX_TIMEOUT"] = "1h"
        one.start()
        again = post(one, "?run.timeout=2h&wait=100", headers=key)
        assert (again.status_code, again.json()) == (200, first.json())
        assert post(one, "?run.timeout=2h").status_code == 400, "without a key it is another run"


def test_versions_stay_what_was_built_first_and_other_names_find_the_commit(service: Service) -> None:
    first = service.push(FILES, repo="versions")
    service.settled(first)
    changed = FILES | {"main.cpp": '#include <cstdio>\nint main() { puts("second"); }\n'}
    first.tree.write(changed).commit("second")
    second = service.push(first.tree, repo="versions", refs=("HEAD:main", "HEAD:refs/heads/topic/x"))
    first.tree.git("tag", "-a", "v2", "-m", "annotated")
    service.push(first.tree, repo="versions", refs=("v2",))
    assert service.settled(second)["state"] == "succeeded"
    assert f"version 1.0.0 was built from {first.sha[:7]} and stays that" in second.output
    assert "stays that" not in first.output
    for name, said in {
        "versions": "second\n",
        "versions:1.0.0": "[x]\n",
        "versions@main": "second\n",
        "versions@topic%2Fx": "second\n",
        "versions@v2": "second\n",
        f"versions@{first.sha[:9]}": "[x]\n",
        "versions@latest": "second\n",
    }.items():
        assert post(service, f"alice/{name}?mode=sync&arg=x").text == said, name


def test_a_function_that_is_being_built_is_waited_for(service: Service) -> None:
    slow = FILES | {"Makefile": "a.out: main.cpp\n\tsleep 2; g++ -O1 main.cpp -o a.out\n"}
    service.push(slow, "detach", "build-only", repo="slowly-built")
    answer = post(service, "alice/slowly-built?mode=sync&arg=x")
    assert answer.text == "[x]\n"


WRONG = {
    "alice/echoo": (404, "no function alice/echoo", "did you mean alice/echo?"),
    "alice/echo:9.9.9": (404, "has no version 9.9.9", "there are 1.0.0"),
    "alice/echo@nowhere": (404, "no branch, tag or built commit", ""),
    "alice/echo:main": (400, "names no function", "owner/name@main"),
    "alice/echo?mode=later": (400, "mode=later", ""),
    "alice/echo?argh=1": (400, "'argh' is no parameter", "arg"),
    "alice/echo?gpu.count=many": (400, "gpu.count", ""),
    "alice/echo?gpu.count=64": (400, "no GPU", ""),
    "alice/echo?run.timeout=1000h": (400, "HERMES_MAX_TIMEOUT", ""),
    "alice/echo?env=1=2": (400, "write env=NAME=VALUE", ""),
    "alice/echo?wait=1000": (400, "from 0 to 600", ""),
}


@pytest.mark.parametrize("asked", WRONG)
def test_what_is_asked_wrong_is_answered_with_the_next_step(
    service: Service, function: Pushed, asked: str
) -> None:
    status, words, hint = WRONG[asked]
    answer = post(service, asked)
    error = answer.json()["error"]
    said = f"{error['message']} {error['hint']}"
    assert answer.status_code == status and words in said and hint in error["hint"], answer.text


FORMS: dict[str, tuple[Any, int, str]] = {
    "a name that climbs": ([("file", ("../x", b"1"))], 400, "cannot be the name"),
    "an absolute name": ([("file", ("/etc/x", b"1"))], 400, "cannot be the name"),
    "one name twice": ([("file", ("a", b"1")), ("file", ("a", b"2"))], 400, "came twice"),
    "a file and a folder": ([("file", ("a", b"1")), ("file", ("a/b", b"2"))], 400, "also a folder"),
    "stdin twice": ([("stdin", ("-", b"1")), ("stdin", ("-", b"2"))], 400, "came twice"),
    "an unknown part": ([("files", ("a", b"1"))], 400, "has a part 'files'"),
    "a file without a name": ([("file", (None, b"1"))], 400, "no file name"),
    "options that are no JSON": ([("options", (None, "{"))], 400, "not JSON"),
    "options of a wrong shape": ([("options", (None, "[1]"))], 400, "object of tables"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_bad_form_starts_nothing_and_leaves_nothing(service: Service, function: Pushed, form: str) -> None:
    parts, status, words = FORMS[form]
    before = sorted((service.data / "inputs").glob("*/*"))
    answer = post(service, "?arg=cat", files=parts)
    assert answer.status_code == status and words in answer.text, answer.text
    assert sorted((service.data / "inputs").glob("*/*")) == before


def test_a_form_that_is_none(service: Service, function: Pushed) -> None:
    without = post(service, content=b"x", headers={"Content-Type": "multipart/form-data"})
    assert without.status_code == 415 and "boundary" in without.text
    broken = post(service, content=b"x", headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert broken.status_code == 400 and "multipart" in broken.text


def test_who_may_not_run_it(service: Service, function: Pushed) -> None:
    bob = service.add_user("invoke-bob")
    with service.client(bob) as client:
        assert client.post("/api/v1/functions/alice/echo/runs").status_code == 404
    service.admin("repo", "collaborator", "add", "alice/echo", "invoke-bob", "--role", "read", check=False)
    with service.client("") as client:
        assert client.post("/api/v1/functions/alice/echo/runs").status_code == 401


def test_a_client_that_vanishes_in_the_middle_leaves_nothing(service: Service, function: Pushed) -> None:
    before = sorted((service.data / "inputs").glob("*/*"))
    newest = service.api("/runs?limit=1")["runs"][0]["id"]
    where = urlsplit(service.url)
    with socket.create_connection((where.hostname, where.port)) as one:
        head = "POST /api/v1/functions/alice/echo/runs HTTP/1.1\r\nHost: x\r\nContent-Type: x/y\r\n"
        one.sendall(
            f"{head}Authorization: Bearer {service.token}\r\nContent-Length: 9000000\r\n\r\n".encode()
            + b"x" * 5_000_000
        )
        wait_for(lambda: sorted((service.data / "inputs").glob("*/*")) != before)
    wait_for(lambda: sorted((service.data / "inputs").glob("*/*")) == before)
    assert service.api("/runs?limit=1")["runs"][0]["id"] == newest


def test_a_run_goes_on_when_its_caller_leaves(service: Service) -> None:
    script, files = told("echo began", "echo ended")
    service.settled(service.push(files, "build-only", repo="left-alone"))
    with service.client() as client:
        address = "/api/v1/functions/alice/left-alone/runs?mode=sync"
        with client.stream("POST", address) as answer:
            run_id = int(answer.headers["x-hermes-run"])
            assert next(answer.iter_bytes()) == b"began\n"
    go_on(script)
    assert ended(service, run_id)["state"] == "succeeded" and result(service, run_id) == "began\nended\n"


def test_two_hundred_callers_at_a_time_all_get_their_own_answer(local_service: Service) -> None:
    pushed = local_service.push(FILES, repo="many-callers")
    assert local_service.settled(pushed)["state"] == "succeeded"

    async def call(client: httpx.AsyncClient, number: int) -> bool:
        address = f"/api/v1/functions/{local_service.user}/many-callers/runs?mode=sync&arg=cat"
        answer = await client.post(address, content=f"number {number}")
        return answer.status_code == 200 and answer.text == f"number {number}"

    async def all_of_them() -> list[bool]:
        headers = {"Authorization": f"Bearer {local_service.token}"}
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(
            base_url=local_service.url, headers=headers, timeout=200, limits=limits
        ) as client:
            return await asyncio.gather(*(call(client, number) for number in range(200)))

    assert all(asyncio.run(all_of_them()))
