"""Where a backup goes: a folder or a tar, with the SHA-256 of each file. It has its name when it is whole."""

import hashlib
import io
import os
import shutil
import sys
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from hermes.backup import SUMS
from hermes.backup.named import Item
from hermes.errors import UserError

_PIECE_BYTES = 1 << 20


class Target(ABC):
    """Files go in one after the other; `scratch` is a folder on the same disk."""

    def __init__(self, scratch: Path | None) -> None:
        self.scratch = scratch
        self.digests: dict[str, str] = {}
        self.size_bytes = 0
        if scratch is not None:
            scratch.mkdir(parents=True, exist_ok=True)

    def add(self, item: Item) -> str:
        """As long as the file is now. Returns its digest; raises FileNotFoundError."""
        with item.source.open("rb") as file:
            pieces = Pieces(file, os.fstat(file.fileno()).st_size)
            self._copy(item, file, pieces)
        self.size_bytes += pieces.size_bytes
        digest = self.digests[item.name] = pieces.digest.hexdigest()
        return digest

    def write(self, name: str, data: bytes) -> None:
        """A file of the backup's own."""
        self._write(name, data)
        self.digests[name] = hashlib.sha256(data).hexdigest()

    def finish(self) -> None:
        """All is there, and on disk: it gets its name."""
        sums = "".join(f"{digest}  {name}\n" for name, digest in self.digests.items())
        self._write(SUMS, sums.encode())
        self._finish()

    @abstractmethod
    def _copy(self, item: Item, file: IO[bytes], pieces: "Pieces") -> None: ...

    @abstractmethod
    def _write(self, name: str, data: bytes) -> None: ...

    @abstractmethod
    def _finish(self) -> None: ...

    @abstractmethod
    def discard(self) -> None:
        """It did not become whole."""


class Pieces:
    """So many bytes of a file and no more, counted and hashed while they are read."""

    def __init__(self, file: IO[bytes], size_bytes: int) -> None:
        self._file, self.size_bytes = file, size_bytes
        self._left = size_bytes
        self.digest = hashlib.sha256()

    def read(self, count: int = _PIECE_BYTES) -> bytes:
        """Raises OSError when the file has become shorter."""
        data = self._file.read(min(count, self._left))
        if not data and self._left:
            raise OSError(f"{self._file.name} became shorter while it was copied")
        self.digest.update(data)
        self._left -= len(data)
        return data

    def __iter__(self) -> Iterator[bytes]:
        while self._left:
            yield self.read()


class Folder(Target):
    """Files that never change are linked where that can be."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.parent)
        self._path = path
        self._partial = path.with_name(f"{path.name}.partial")
        shutil.rmtree(self._partial, ignore_errors=True)  # of a backup that was killed
        self._partial.mkdir(mode=0o700)

    def _copy(self, item: Item, file: IO[bytes], pieces: Pieces) -> None:
        place = self._place(item.name)
        if item.is_final and _link(item.source, place):
            for _ in pieces:
                pass
            return
        with place.open("xb") as copy:
            for piece in pieces:
                copy.write(piece)
        shutil.copystat(item.source, place)

    def _write(self, name: str, data: bytes) -> None:
        self._place(name).write_bytes(data)

    def _place(self, name: str) -> Path:
        place = self._partial / name
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def _finish(self) -> None:
        os.sync()
        self._partial.rename(self._path)

    def discard(self) -> None:
        shutil.rmtree(self._partial, ignore_errors=True)


class Tar(Target):
    """One file, or a stream to stdout (`-`)."""

    def __init__(self, path: Path | None) -> None:
        super().__init__(path and path.parent)
        self._path = path
        self._partial = path and path.with_name(f"{path.name}.partial")
        if self._partial is None:
            self._file: IO[bytes] = sys.stdout.buffer
            self._tar = tarfile.open(fileobj=self._file, mode="w|")  # noqa: SIM115  (until `finish`)
        else:
            self._partial.touch(mode=0o600)
            self._file = self._partial.open("wb")
            self._tar = tarfile.open(fileobj=self._file, mode="w")  # noqa: SIM115  (likewise)

    def _copy(self, item: Item, file: IO[bytes], pieces: Pieces) -> None:
        member = self._tar.gettarinfo(arcname=item.name, fileobj=file)
        member.type, member.size = tarfile.REGTYPE, pieces.size_bytes  # never a link within the tar
        self._tar.addfile(member, pieces)

    def _write(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        self._tar.addfile(member, io.BytesIO(data))

    def _finish(self) -> None:
        self._tar.close()
        self._file.flush()
        if self._path is not None and self._partial is not None:
            self._file.close()
            os.sync()
            self._partial.rename(self._path)

    def discard(self) -> None:
        if self._partial is not None:
            with suppress(OSError):
                self._file.close()
            self._partial.unlink(missing_ok=True)


@contextmanager
def open_target(words: str, data: Path) -> Iterator[Target]:
    """`-`, a name that ends in .tar, or a folder that is not there yet. Raises UserError."""
    target = Tar(None) if words == "-" else _at(Path(words).absolute(), data)
    try:
        yield target
    except BaseException:
        target.discard()
        raise


def _at(path: Path, data: Path) -> Target:
    if path.is_relative_to(data.absolute()):
        raise UserError(f"{path} is in the data directory itself", "choose a place on another disk")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(
            f"{path} is there already, and a backup never overwrites one",
            f"give it a name of its own: {path.parent}/$(date +%Y-%m-%d)",
        )
    return Tar(path) if path.suffix == ".tar" else Folder(path)


def _link(source: Path, place: Path) -> bool:
    try:
        os.link(source, place)
    except OSError:  # another file system, or too many links
        return False
    return True
