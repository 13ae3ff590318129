"""HTTP as no library sends it: raw sockets, and a small real server with limits that a test can wait for."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPResponse

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from hermes.http import http_protocol
from hermes.http_limits import HttpLimits
from tests.service import PATIENCE_S

QUICK = HttpLimits(
    head_s=0.6,
    body_s=0.6,
    stall_s=1.0,
    peer_s=3.0,
    linger_s=2.0,
    linger_silence_s=0.5,
    shutdown_s=0.5,
    tick_s=0.05,
)


@dataclass(frozen=True)
class Answer:
    """A complete one: reading it raised nothing."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict, compare=False)  # names in small letters


def connect(address: tuple[str, int], *, buffer_bytes: int = 0) -> socket.socket:
    """A client. With `buffer_bytes` its kernel takes only so much for it."""
    client = socket.socket()
    if buffer_bytes:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    client.settimeout(PATIENCE_S)
    client.connect(address)
    return client


def read_answer(client: socket.socket) -> Answer:
    """Raises when there is none, or a part of one."""
    response = HTTPResponse(client)
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, response.read(), headers)


def ask(address: tuple[str, int], request: bytes) -> Answer | None:
    """Send everything, then read one answer. None: closed without one."""
    with connect(address) as client:
        try:
            client.sendall(request)
            first = client.recv(1, socket.MSG_PEEK)
        except ConnectionError:
            return None
        return read_answer(client) if first else None


def ends(client: socket.socket) -> bytes:
    """What still comes until the server closes; a reset is an end too."""
    rest = b""
    while True:
        try:
            part = client.recv(1 << 16)
        except ConnectionError:
            return rest
        if not part:
            return rest
        rest += part


@dataclass
class App:
    """Handlers that tell the test what they saw."""

    saw: list[str] = field(default_factory=list)
    sent_bytes: int = 0

    async def swallow(self, request: Request) -> Response:
        """Reads the whole body; with `?wait=1` not at once, with `?begin` after the answer has begun."""
        wait_s = float(request.query_params.get("wait", 0))
        size = 0
        try:
            await asyncio.sleep(wait_s)
            async for chunk in request.stream():
                size += len(chunk)
                await asyncio.sleep(wait_s)
                wait_s = 0.0
        except ClientDisconnect:
            self.saw.append("gone")
        return PlainTextResponse(f"{size}")

    async def deny(self, request: Request) -> Response:
        """Answers without a look at the body, in `size` bytes."""
        return PlainTextResponse("x" * int(request.query_params.get("size", 1000)), 401)

    async def duplex(self, request: Request) -> Response:
        """Begins to answer, then reads."""

        async def echo() -> AsyncIterator[bytes]:
            yield b"begins"
            try:
                async for chunk in request.stream():
                    yield chunk
            except ClientDisconnect:
                self.saw.append("gone")

        return StreamingResponse(echo())

    async def stream(self, request: Request) -> Response:
        """Without end: as fast as it is taken, or a bit every `pause` seconds."""
        pause_s = float(request.query_params.get("pause", 0))
        chunk = bytes(10 if pause_s else 1 << 14)

        async def chunks() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield chunk
                    self.sent_bytes += len(chunk)
                    await asyncio.sleep(pause_s)
            finally:
                self.saw.append("stream ended")

        return StreamingResponse(chunks())

    def starlette(self) -> Starlette:
        """The application."""
        return Starlette(
            routes=[
                Route("/swallow", self.swallow, methods=["POST"]),
                Route("/deny", self.deny, methods=["GET", "POST"]),
                Route("/duplex", self.duplex, methods=["POST"]),
                Route("/stream", self.stream),
            ]
        )


@dataclass
class SmallServer:
    """A running uvicorn with our protocol."""

    address: tuple[str, int]
    app: App
    uvicorn: uvicorn.Server


class _Unhurried(asyncio.SelectorEventLoop):
    """Its clock leaves out what it slept through: a machine that stands still makes no client late."""

    _MOST_S = 0.2  # it looks at connections more often

    def __init__(self) -> None:
        self._last_s = self._awake_s = time.monotonic()
        super().__init__()

    def time(self) -> float:
        now = time.monotonic()
        self._awake_s += min(now - self._last_s, self._MOST_S)
        self._last_s = now
        return self._awake_s


def _run(server: uvicorn.Server, listener: socket.socket) -> None:
    with asyncio.Runner(loop_factory=_Unhurried) as runner:
        runner.run(server.serve(sockets=[listener]))


@contextmanager
def small_server(limits: HttpLimits = QUICK, host: str = "127.0.0.1") -> Iterator[SmallServer]:
    """Uvicorn in a thread, on a port of its own."""
    app = App()
    config = uvicorn.Config(
        app.starlette(),
        loop="asyncio",
        http=http_protocol(limits),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=3,
    )
    server = uvicorn.Server(config)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind((host, 0))
    listener.listen()
    thread = threading.Thread(target=lambda: _run(server, listener))
    thread.start()
    try:
        yield SmallServer(listener.getsockname(), app, server)
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
    assert not thread.is_alive()
