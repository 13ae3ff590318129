"""What befalls the private Redis of each instance in `make test-redis`: emptied and killed all the time."""

import random
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

from hermes.redis_server import find_server, socket_path

VARIABLE = "HERMES_TEST_REDIS"  # "faulty": in every instance that a test starts
_PAUSE_S = 2.0
_KILLS = 0.15  # of the strikes


def empty_redis(data: Path) -> bool:
    """FLUSHALL; False: there is none that answers."""
    return _tell(data, "FLUSHALL")


def kill_redis(data: Path) -> bool:
    """SHUTDOWN NOSAVE; `hermes up` starts it again."""
    return _tell(data, "SHUTDOWN", "NOSAVE")


def plague_redis(data: Path, ended: threading.Event) -> None:
    """Until then, in a thread of its own, with dice of its own: those of the module are Hypothesis's."""
    dice = random.Random()

    def strike() -> None:
        while not ended.wait(dice.uniform(0.2, _PAUSE_S)):
            (kill_redis if dice.random() < _KILLS else empty_redis)(data)

    threading.Thread(target=strike, name="redis faults", daemon=True).start()


def _tell(data: Path, *words: str) -> bool:
    server = find_server()
    if server is None:
        return False
    command = [server.replace("redis-server", "redis-cli"), "-s", str(socket_path(data)), *words]
    with suppress(subprocess.TimeoutExpired):
        return subprocess.run(command, capture_output=True, check=False, timeout=5).returncode == 0
    return False
