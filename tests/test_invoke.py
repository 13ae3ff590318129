"""Built functions run with other inputs: by HTTP, as any client would ask."""

import base64
import hashlib
import http.client
import json
import os
import struct
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.service import Pushed, Service, wait_for

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
    "hermes.toml": 'handler = "./a.out"\nversion = "1.0.0"\n[run]\nargs = ["first"]\nenv = { FROM = "manifest" }\n',
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


def raw_post(
    service: Service, path: str, body: bytes
) -> tuple[http.client.HTTPResponse, bytes, dict[str, str]]:
    """With the trailers, which most clients throw away."""
    import socket

    where = urlsplit(service.url)
    with socket.create_connection((where.hostname, where.port)) as one:
        one.settimeout(60)
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.token}\r\nConnection: close\r\n"
        one.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
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
    return head_bytes, data, {name.lower(): value for name, value in pairs}  # type: ignore[return-value]


def test_a_call_is_answered_with_what_the_program_writes_and_how_it_ended(
    service: Service, function: Pushed
) -> None:
    head, data, trailers = raw_post(service, "/api/v1/functions/alice/echo/runs?mode=sync&arg=both", b"")
    assert b" 200 " in head and b"X-Hermes-Run" in head or b"x-hermes-run" in head
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
