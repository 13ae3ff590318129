"""The private Redis of an instance: a Unix socket, nothing on disk; losing all of it loses only time."""

import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

from hermes.paths import Paths
from hermes.settings import load_settings

_MAX_SOCKET_PATH = 100  # the kernel takes 107 bytes


def find_server() -> str | None:
    """The system's redis-server, or the one that a wheel put beside this Python."""
    beside = Path(sys.executable).parent / "redis-server"
    return shutil.which("redis-server") or (str(beside) if beside.exists() else None)


def socket_path(data: Path) -> Path:
    """Where it listens: in the data directory, or in /tmp when that has too long a name for a socket."""
    path = Paths(data.absolute()).redis_socket
    if len(str(path)) <= _MAX_SOCKET_PATH:
        return path
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"hermes-{os.getuid()}-{digest}.sock"


def main() -> None:
    """`python -m hermes.redis_server`: becomes redis-server."""
    server = find_server()
    if server is None:
        sys.exit(
            "hermes redis: no redis-server found: apt-get install redis-server, or set HERMES_REDIS_URL=none"
        )
    data = load_settings().data
    options = {
        "port": "0",
        "unixsocket": str(socket_path(data)),
        "unixsocketperm": "700",
        "save": "",
        "appendonly": "no",
        "maxmemory": "64mb",
        "maxmemory-policy": "noeviction",
        "dir": str(data.absolute()),
        "loglevel": "warning",
        "hz": "1",
    }
    words = [word for key, value in options.items() for word in (f"--{key}", value)]
    os.execv(server, [server, *words])


if __name__ == "__main__":
    main()
