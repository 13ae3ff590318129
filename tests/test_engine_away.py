"""The Docker engine goes away in the middle of things and comes back: nothing is lost."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from hermes.executors.engine import engine_socket
from tests.service import Service, wait_for


class Cable:
    """A Unix socket that leads to the real engine, and can be pulled out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def plug_in(self) -> None:
        """From now on the engine answers."""
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(10)

    def pull_out(self) -> None:
        """Cut every connection and answer nobody."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)

    def end(self) -> None:
        """Nobody needs it any more."""
        self.pull_out()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _open(self) -> None:
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, str(self.path))

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0.1)
        self.path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_unix_connection(engine_socket())
        self._writers |= {writer, there_writer}
        try:
            await asyncio.gather(_copy(reader, there_writer), _copy(there_reader, writer))
        finally:
            for each in (writer, there_writer):
                self._writers.discard(each)
                each.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


@pytest.fixture
def cable(engine: None, tmp_path: Path) -> Iterator[Cable]:
    one = Cable(tmp_path / "engine.sock")
    one.plug_in()
    yield one
    one.end()


@pytest.fixture
def cabled(cable: Cable, tmp_path: Path) -> Iterator[Service]:
    env = {"HERMES_EXECUTOR": "docker", "HERMES_POLL": "1", "DOCKER_HOST": f"unix://{cable.path}"}
    one = Service(tmp_path / "data", env)
    one.token = one.add_user(one.user)
    one.start()
    yield one
    if not cable.path.exists():
        cable.plug_in()
    assert one.stop() == 0


def test_a_run_survives_an_engine_that_goes_away(cabled: Service, cable: Cable) -> None:
    pushed = cabled.push("slow-printer", "detach")
    wait_for(lambda: any(each["state"] == "running" for each in cabled.commit_page(pushed)["runs"]))
    cable.pull_out()
    wait_for(lambda: cabled.commit_page(pushed)["runs"][0]["state"] == "queued")
    assert "engine" in cabled.commit_page(pushed)["runs"][0]["ranks"][0]["reason"]
    cable.plug_in()
    run = cabled.run_of(pushed)
    assert run["state"] == "succeeded" and run["ranks"][0]["attempt"] == 2
    assert cabled.read_log("runs", run["id"]).count(b"tick 10 of 10") == 1


def test_pushes_wait_while_the_engine_is_away_and_use_up_no_attempt(cabled: Service, cable: Cable) -> None:
    cable.pull_out()
    pushed = cabled.push("ancestor-config", "detach")
    assert pushed.code == 0
    wait_for(lambda: "cannot look for work" in cabled.log)
    cable.plug_in()
    page = cabled.settled(pushed)
    assert page["runs"][0]["state"] == "succeeded" and page["builds"][0]["attempt"] <= 2
