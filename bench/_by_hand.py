"""The floor of a push: what a person would do on the same machine, with the same git, make and Docker.

A bare `git push` to git's own `http-backend` behind a tiny HTTP server, a checkout of what came, `make` in a
container of the base image, and a container of the result. The containers have no network, as those of
Hermes; by default they would have one, which costs 0.04 s to start and 0.1 s in all, on the floor's side."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from bench._tools import IMAGE
from tests.service import GIT_ENV, WorkTree

_BRANCH = "main"


class ByHand(NamedTuple):
    """The seconds of each step."""

    push: float
    checkout: float
    make: float
    run: float
    run_first_byte: float

    @property
    def total(self) -> float:
        """From the push to the end of the program."""
        return self.push + self.checkout + self.make + self.run


class _Backend(BaseHTTPRequestHandler):
    """`git http-backend` as CGI; a body has a length, since these pushes are small."""

    protocol_version = "HTTP/1.1"
    root = Path()

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers["Content-Length"])))

    def _serve(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        env = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_ADDR": "127.0.0.1",
        }
        done = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True, check=False)
        if done.returncode != 0:
            self.send_error(500)
        else:
            self._reply(done.stdout)

    def _reply(self, answer: bytes) -> None:
        head, _, body = answer.partition(b"\r\n\r\n")
        headers = dict(line.decode().split(": ", 1) for line in head.split(b"\r\n"))
        status = headers.pop("Status", "200 OK")
        self.send_response(int(status.split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""


@dataclass(frozen=True)
class Hand:
    """The places of the floor: a bare repository behind `url`, and the tree that it is checked out to."""

    bare: Path
    tree: Path
    url: str
    in_containers: bool

    def do(self, work: WorkTree) -> ByHand:
        """Push HEAD of `work`, and make and run it."""
        push = _timed(["git", "push", self.url, f"HEAD:{_BRANCH}"], cwd=work.folder)
        git = ["git", f"--git-dir={self.bare}", f"--work-tree={self.tree}"]
        checkout = _timed([*git, "checkout", "-q", "-f", _BRANCH], cwd=self.tree)
        make = _timed(self._command("make"), cwd=self.tree)
        first, run = first_byte(self._command("./hello"), cwd=self.tree)
        return ByHand(push, checkout, make, run, first)

    def bare_run(self) -> float:
        """Seconds to the first byte of what a container (or a process) of nothing but `echo` prints."""
        return first_byte(self._command("echo", "hello"), cwd=self.tree)[0]

    def _command(self, *words: str) -> list[str]:
        if not self.in_containers:
            return list(words)
        box = ["docker", "run", "--rm", "--network", "none", "--user", f"{os.getuid()}:{os.getgid()}"]
        return [*box, "-v", f"{self.tree}:/app", "-w", "/app", IMAGE, *words]


@contextmanager
def hand(folder: Path, in_containers: bool) -> Iterator[Hand]:
    """An empty bare repository with a server for it."""
    bare, tree = folder / "hello.git", folder / "tree"
    tree.mkdir(parents=True)
    for words in (["init", "-q", "--bare", "-b", _BRANCH, str(bare)], ["config", "http.receivepack", "true"]):
        subprocess.run(["git", *words], cwd=bare if bare.exists() else folder, check=True, env=_env())
    handler = type("Backend", (_Backend,), {"root": folder})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Hand(bare, tree, f"http://127.0.0.1:{server.server_port}/hello.git", in_containers)
    finally:
        server.shutdown()
        server.server_close()


def _env() -> dict[str, str]:
    return os.environ | GIT_ENV


def _timed(command: list[str], cwd: Path) -> float:
    """Seconds of a command that must succeed."""
    began = time.monotonic()
    done = subprocess.run(command, cwd=cwd, env=_env(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return time.monotonic() - began


def first_byte(command: list[str], cwd: Path) -> tuple[float, float]:
    """Seconds until a command prints, and until it has ended."""
    began = time.monotonic()
    with subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, bufsize=0) as child:
        assert child.stdout is not None
        byte = child.stdout.read(1)
        first = time.monotonic() - began
        child.stdout.read()
    assert byte and child.returncode == 0, f"{' '.join(command)}: exit {child.returncode}, output {byte!r}"
    return first, time.monotonic() - began
