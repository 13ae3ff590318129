"""What lies below a folder of a service that goes on: what vanishes while one looks is not there."""

import os
from contextlib import suppress
from pathlib import Path


def paths_below(folder: Path) -> list[Path]:
    """All of them; `rglob` raises where a folder goes while it is in it."""
    return [Path(at, name) for at, folders, names in os.walk(folder) for name in (*folders, *names)]


def found_in(folder: Path, values: list[str]) -> list[str]:
    """Which of these a file below a folder holds, and where."""
    found = []
    for path in paths_below(folder):
        with suppress(OSError):
            if path.is_file() and not path.is_symlink():
                content = data_of(path)
                found += [f"{value} in {path}" for value in values if value.encode() in content]
    return found


def data_of(path: Path) -> bytes:
    """Of a file without its holes: the disks of boxes are large, and empty."""
    parts, at = [], 0
    with path.open("rb") as file, suppress(OSError):  # no data after that
        while True:
            start = os.lseek(file.fileno(), at, os.SEEK_DATA)
            at = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            parts.append(os.pread(file.fileno(), at - start, start))
    return b"\0".join(parts)


def sizes_below(folder: Path) -> dict[Path, int]:
    """Of all files, in bytes."""
    found = {}
    for path in paths_below(folder):
        with suppress(OSError):
            if path.is_file():
                found[path] = path.stat().st_size
    return found
