"""A client that vanishes without a word (closed laptop, cable out): a network whose link goes down."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from tests.conftest import missing
from tests.raw_http import QUICK, small_server
from tests.service import wait_for

LIMITS = replace(QUICK, peer_s=3, stall_s=600)
CLIENT = """
import socket, sys
client = socket.create_connection((sys.argv[1], int(sys.argv[2])))
client.sendall(sys.argv[3].encode() + b"\\r\\n\\r\\n")
print(client.recv(12), flush=True)
while client.recv(65536): pass
"""


def ip(*args: str, check: bool = True) -> None:
    """Configure a network; needs root."""
    try:
        subprocess.run(["ip", *args], check=check, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        missing(f"`ip {' '.join(args)}` ({error})")


@dataclass(frozen=True)
class Away:
    """A second machine, as far as the network is concerned."""

    name: str
    here: str  # our address on the wire

    def open(self, port: int, request: str) -> "subprocess.Popen[str]":
        """A client there that has the head of its answer."""
        command = [
            "ip",
            "netns",
            "exec",
            self.name,
            sys.executable,
            "-c",
            CLIENT,
            self.here,
            str(port),
            request,
        ]
        client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert client.stdout is not None
        assert client.stdout.readline() == "b'HTTP/1.1 200'\n"
        return client

    def unplug(self) -> None:
        """Not a byte passes from now on, and nobody is told."""
        ip("-n", self.name, "link", "set", "there", "down")


@pytest.fixture
def away() -> Iterator[Away]:
    """A namespace with a wire to us, taken down again whatever happens."""
    name, ours = f"hermes-{os.getpid()}", f"hm{os.getpid()}"
    net = f"10.213.{random.randrange(256)}"
    ip("netns", "add", name)
    try:
        ip("link", "add", ours, "type", "veth", "peer", "name", "there", "netns", name)
        ip("addr", "add", f"{net}.1/30", "dev", ours)
        ip("link", "set", ours, "up")
        ip("-n", name, "addr", "add", f"{net}.2/30", "dev", "there")
        ip("-n", name, "link", "set", "there", "up")
        yield Away(name, f"{net}.1")
    finally:
        ip("link", "del", ours, check=False)
        ip("netns", "del", name, check=False)


@pytest.mark.parametrize(
    ("what", "pause_s"), [("silent stream", 1000), ("line now and then", 0.2), ("full stream", 0)]
)
def test_stream_to_a_client_that_vanished_ends(away: Away, what: str, pause_s: float) -> None:
    """Noticed by the kernel's probes where nothing is sent, else by what is not acknowledged."""
    with small_server(LIMITS, away.here) as server:
        client = away.open(server.address[1], f"GET /stream?pause={pause_s} HTTP/1.1\r\nHost: x")
        try:
            time.sleep(0.5)
            assert server.app.saw == []
            began = time.monotonic()
            away.unplug()
            wait_for(lambda: server.app.saw)  # not after `stall_s`
            assert time.monotonic() - began > 0.5 and client.poll() is None  # it is not its end that was seen
        finally:
            client.kill()
            client.communicate()
