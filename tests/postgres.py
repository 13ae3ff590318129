"""A real PostgreSQL of the tests' own, in a temporary directory, on a Unix socket."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def find_binaries() -> Path | None:
    """Where Debian puts the server's programs; the newest version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


def _as_postgres(command: list[str]) -> list[str]:
    """The server refuses to run as root."""
    return (
        ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]
        if os.getuid() == 0
        else command
    )


@contextmanager
def running(binaries: Path) -> Iterator[str]:
    """Yields the URL of an empty database."""
    folder = Path(tempfile.mkdtemp(prefix="hermes-pg-", dir="/tmp"))
    if os.getuid() == 0:
        shutil.chown(folder, "postgres")
    user = "postgres" if os.getuid() == 0 else os.environ["USER"]

    def call(*command: str) -> None:
        subprocess.run(_as_postgres(list(command)), check=True, capture_output=True, cwd=folder)

    data = str(folder / "data")
    call(str(binaries / "initdb"), "-D", data, "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    call(str(binaries / "pg_ctl"), "-D", data, "-w", "-o", options, "-l", str(folder / "log"), "start")
    try:
        call(str(binaries / "createdb"), "-h", str(folder), "-U", user, "hermes")
        yield f"postgresql://{user}@/hermes?host={folder}"
    finally:
        call(str(binaries / "pg_ctl"), "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)
