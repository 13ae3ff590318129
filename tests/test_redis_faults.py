"""Redis is emptied, shut down, full, slow, deaf, and holds what others put there: work goes on without it."""

import asyncio
import pickle
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeout

from hermes.queue import BUILDS, CHANGED, RANKS, Doorbell
from hermes.redis_server import find_server
from tests.cable import Cable
from tests.conftest import missing
from tests.programs import arrivals, begin_push, end_of, shell
from tests.promises import Told, all_is_kept
from tests.service import PATIENCE_S, Pushed, Service, living, wait_for

HELLO = shell("echo hello")
SLOW = shell("echo begun; sleep 2; echo finished")
CHANNEL = "hermes:doorbell"
PROCESSES = ("web", "builder", "runner")  # that listen there


class Server:
    """A redis-server of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """From now on it answers."""
        program = find_server()
        if program is None:
            missing("redis-server")
        options = {"port": "0", "unixsocket": self.socket, "save": "", "dir": self.socket.parent}
        options |= {"logfile": self.socket.with_suffix(".log")}
        words = [f"{word}" for name, value in options.items() for word in (f"--{name}", value)]
        self._process = subprocess.Popen([str(program), *words])
        wait_for(self._answers)

    def _answers(self) -> bool:
        with suppress(RedisConnectionError):  # its socket is there before it listens
            return bool(self.ask("PING"))
        return False

    def shut_down(self) -> None:
        """Nothing is saved."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE_S)
            self.socket.unlink(missing_ok=True)

    def ask(self, *words: bytes | str | int) -> Any:
        """One command."""
        with Redis(unix_socket_path=str(self.socket), socket_timeout=PATIENCE_S) as client:
            return client.execute_command(*words)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one = Server(tmp_path_factory.mktemp("redis"))
    one.start()
    yield one
    one.shut_down()


@pytest.fixture(scope="module")
def line(redis: Server) -> Iterator[Cable]:
    """To it, over TCP."""
    one = Cable(0, redis.socket)
    one.plug_in()
    yield one
    one.end()


@pytest.fixture(scope="module")
def alone(line: Cable, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance at the end of that line."""
    env = {
        "HERMES_EXECUTOR": "local",
        "HERMES_TRUST": "all",
        "HERMES_CPUS": "8",
        "HERMES_POLL": "1s",
        "HERMES_REDIS_URL": f"redis://127.0.0.1:{line.here}",
    }
    with living(Service(tmp_path_factory.mktemp("alone"), env)) as one:
        yield one


def hears(service: Service) -> bool:
    """Whether it has the doorbell, as it says itself."""
    with service.client("") as client:
        state = client.get("/healthz").json()
    assert state["status"] == "ok" and state["degraded"] is not state["redis"]
    return bool(state["redis"])


@pytest.fixture
def service(alone: Service, redis: Server) -> Iterator[Service]:
    """All its processes hear the bell when the test begins."""
    wait_for(lambda: hears(alone) and redis.ask("PUBSUB", "NUMSUB", CHANNEL)[1] == len(PROCESSES))
    yield alone


def runs(service: Service, pushed: Pushed, says: bytes = b"hello\n") -> Told:
    """It was taken, and its program has run."""
    assert pushed.code == 0, pushed.output
    run = service.run_of(pushed)
    assert run["state"] == "succeeded" and run["ranks"][0]["attempt"] == 1
    return Told(pushed, says)


@pytest.mark.fault(11)
def test_redis_that_is_emptied_all_the_time_loses_nothing(service: Service, redis: Server) -> None:
    enough = threading.Event()

    def empty() -> None:
        while not enough.wait(0.002):
            redis.ask("FLUSHALL")

    thread = threading.Thread(target=empty)
    thread.start()
    try:
        told = [runs(service, service.push(HELLO, repo=f"emptied-{number}")) for number in range(4)]
    finally:
        enough.set()
        thread.join()
    all_is_kept(service, told)


@pytest.mark.fault(12)
def test_redis_that_is_shut_down_and_comes_back(service: Service, redis: Server) -> None:
    tree = service.worktree(SLOW, "shut-down")
    with begin_push(service, tree, "shut-down") as client:
        for _, words in arrivals(client):
            if words == "begun":
                redis.shut_down()
    assert client.returncode == 0
    wait_for(lambda: not hears(service))
    meanwhile = [runs(service, service.push(HELLO, repo=f"meanwhile-{number}")) for number in range(2)]
    redis.start()
    wait_for(lambda: hears(service))
    all_is_kept(service, [*meanwhile, runs(service, service.push(HELLO, repo="afterwards"))])


@pytest.mark.fault(13)
def test_redis_that_is_not_there_at_the_start(service: Service, redis: Server) -> None:
    assert service.stop() == 0
    redis.shut_down()
    try:
        service.start()
        assert not hears(service)
        told = runs(service, service.push(HELLO, repo="without"))
    finally:
        redis.start()
    wait_for(lambda: hears(service))
    all_is_kept(service, [told, runs(service, service.push(HELLO, repo="with"))])


@pytest.mark.fault(14)
def test_redis_that_has_no_memory_left(service: Service, redis: Server) -> None:
    redis.ask("CONFIG", "SET", "maxmemory", 1)
    try:
        told = runs(service, service.push(HELLO, repo="no-memory"))
    finally:
        redis.ask("CONFIG", "SET", "maxmemory", 0)
    all_is_kept(service, [told])


@pytest.mark.fault(15)
def test_redis_that_pauses_keeps_nobody_waiting(service: Service, redis: Server) -> None:
    redis.ask("CLIENT", "PAUSE", 3_600_000, "ALL")
    try:
        told = runs(service, service.push(HELLO, repo="paused"))
        asker = Redis(unix_socket_path=str(redis.socket), socket_timeout=0.2)
        with asker as client, pytest.raises(RedisTimeout):
            client.ping()  # it has answered nobody in all that time
    finally:
        redis.shut_down()  # what it has heard, it would do before anything else
        redis.start()
    all_is_kept(service, [told])


@pytest.mark.fault(15)
def test_line_that_is_half_open_keeps_nobody_waiting_and_is_found_out(service: Service, line: Cable) -> None:
    line.hang()
    try:
        told = runs(service, service.push(HELLO, repo="half-open"))
        wait_for(lambda: not hears(service))
    finally:
        line.go_on()
    wait_for(lambda: hears(service))
    all_is_kept(service, [told])


@pytest.mark.fault(15)
def test_line_that_is_slow_keeps_nobody_waiting(service: Service, line: Cable) -> None:
    line.delay_s = 3.0
    try:
        told = runs(service, service.push(HELLO, repo="slow-line"))
    finally:
        line.delay_s = 0.0
    all_is_kept(service, [told])


class Bomb:
    """What executes whoever unpickles it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._path,)


def all_hear(redis: Server, words: bytes) -> bool:
    """One that stood still may be about to come back."""
    return bool(redis.ask("PUBLISH", CHANNEL, words) == len(PROCESSES))


@pytest.mark.fault(16)
def test_rubbish_and_pickles_are_not_executed(service: Service, redis: Server, tmp_path: Path) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / "executed"))
    for key in ("arq:queue", CHANNEL, "arq:job:1", "hermes:rank", "arq:in-progress:1"):
        redis.ask("SET", key, bomb)
    redis.ask("DEL", "arq:queue")
    redis.ask("ZADD", "arq:queue", 1, bomb)
    rubbish = [bomb, b"", b"\xff" * 1000, b"rank " * 10_000, b"rank; rm -rf /", b"\0", b"0" * (1 << 20)]
    pushes = [begin_push(service, service.worktree(HELLO), f"rubbish-{number}") for number in range(2)]
    for words in rubbish * 20:
        wait_for(partial(all_hear, redis, words))
    assert [end_of(each)[0] for each in pushes] == [0, 0]
    told = runs(service, service.push(HELLO, repo="after-rubbish"))
    assert hears(service) and not (tmp_path / "executed").exists()
    pickle.loads(bomb)
    assert (tmp_path / "executed").exists()  # it was one
    all_is_kept(service, [told])


@pytest.mark.fault(17)
def test_a_hundred_rings_for_one_run_are_one_execution(service: Service) -> None:
    tree = service.worktree(SLOW, "rung")
    pushed = service.push(tree, "detach", repo="rung")
    asyncio.run(ring(service.env["HERMES_REDIS_URL"], 100))
    all_is_kept(service, [runs(service, pushed, b"begun\nfinished\n")])


async def ring(url: str, times: int) -> None:
    doorbell = Doorbell(url)
    for _ in range(times):
        await doorbell.ring(RANKS, BUILDS, CHANGED)
    await doorbell.close()
