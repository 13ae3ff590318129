"""A backup as it lies there, a folder or a tar, and what it says of itself. It is not simply believed."""

import json
import re
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from hermes.backup import DATABASE, FORMAT, INFO, SUMS
from hermes.errors import UserError

_PLACES = {"artifacts", "images", "inputs", "keys", "logs", "repos", "results"}
_NAME = re.compile(r"[\w-][\w.-]*(?:/[\w-][\w.-]*)+", re.ASCII)


class Source(ABC):
    """Its files by their names."""

    @abstractmethod
    def open(self, name: str) -> tuple[IO[bytes], int, int, float]:
        """The content, its size, mode and time. Raises KeyError, OSError."""

    def read(self, name: str) -> bytes:
        """A small one, whole."""
        file, *_ = self.open(name)
        with file:
            return file.read()


class Folder(Source):
    """What `hermes admin backup FOLDER` has made."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self, name: str) -> tuple[IO[bytes], int, int, float]:
        path = self._path / name
        stat = path.stat()
        return path.open("rb"), stat.st_size, stat.st_mode, stat.st_mtime


class Tar(Source):
    """What `hermes admin backup FILE.tar` has made."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._members = {member.name: member for member in tar.getmembers()}

    def open(self, name: str) -> tuple[IO[bytes], int, int, float]:
        member = self._members[name]
        file = self._tar.extractfile(member)
        if file is None:
            raise KeyError(name)
        return file, member.size, member.mode, member.mtime


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Raises UserError for what is neither."""
    if path.is_dir():
        yield Folder(path)
        return
    try:
        with tarfile.open(path, "r:") as tar:
            yield Tar(tar)
    except (tarfile.TarError, FileNotFoundError) as error:
        raise UserError(f"{path} is no backup: {error}", "name the folder or the .tar, unpacked") from None


def info_of(source: Source) -> dict[str, Any]:
    """What it says of itself. Raises UserError for what a newer program has written, and for halves."""
    try:
        info: dict[str, Any] = json.loads(source.read(INFO))
    except (KeyError, OSError, ValueError):
        raise UserError(f"this is no whole backup: it has no {INFO}", "take another one") from None
    if info.get("format") != FORMAT:
        found = f"the backup has format {info.get('format')}, and this program knows {FORMAT}"
        raise UserError(found, f"restore it with Hermes {info.get('hermes')}")
    return info


def sums_of(source: Source) -> dict[str, str]:
    """{name: SHA-256}. Raises UserError for a name that is no place of ours."""
    sums = {}
    for line in source.read(SUMS).decode().splitlines():
        digest, _, name = line.partition("  ")
        is_ours = name in (DATABASE, INFO) or (
            _NAME.fullmatch(name) is not None and name.partition("/")[0] in _PLACES
        )
        if not is_ours:
            raise UserError(f"{SUMS} names {name[:80]!r}, which is no file of a backup", "take another one")
        sums[name] = digest
    return sums
