"""A folder that others write to: what is in it now, and a file of it copied whole. No link is ever followed,
and nothing is opened but below the folder."""

import fcntl
import os
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from hermes.disk import sync
from hermes.growing import make_growing
from hermes.inputs import Stored
from hermes.paths import Paths

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MOST_DEEP = 64
_PIECE_BYTES = 1 << 20


class Changing(Exception):
    """Somebody writes to it at this moment, or it is another one by now: later."""


class Seen(NamedTuple):
    """A file as it is now. `mark` changes with its content; `odd`: why it is none that is taken."""

    name: str
    mark: str
    size_bytes: int
    odd: str = ""


def scan(folder: Path) -> list[Seen]:
    """All of it, but for what begins with a dot: programs write there before they rename. Raises OSError."""
    with _opened(os.open(folder, _FOLDER)) as descriptor:
        return list(_walk(descriptor, "", 0))


def _walk(folder: int, prefix: str, depth: int) -> Iterator[Seen]:
    with os.scandir(folder) as entries:
        names = sorted(each.name for each in entries if not each.name.startswith("."))
    for name in names:
        with suppress(FileNotFoundError):  # it has gone meanwhile
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode) and depth < _MOST_DEEP:
                with suppress(OSError), _opened(os.open(name, _FOLDER, dir_fd=folder)) as inner:
                    yield from _walk(inner, f"{prefix}{name}/", depth + 1)
            elif not stat.S_ISDIR(found.st_mode):
                yield Seen(f"{prefix}{name}", _mark(found), found.st_size, _oddity(found.st_mode))


def _mark(found: os.stat_result) -> str:
    return f"{found.st_ino}.{found.st_mtime_ns}.{found.st_size}"


def _oddity(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "it is a symbolic link, and those are not followed"
    return "" if stat.S_ISREG(mode) else "it is no regular file"


@contextmanager
def _opened(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def copy_whole(folder: Path, seen: Seen, paths: Paths) -> Stored:
    """It is on our disk, as it was seen. Raises Changing, OSError; then nothing of it stays."""
    with _opened(_open_below(folder, seen.name)) as source:
        if _mark(os.fstat(source)) != seen.mark or _is_written_to(source):
            raise Changing
        token = make_growing(paths)
        target = paths.input(token)
        try:
            _copy(source, target)
            if _mark(os.fstat(source)) != seen.mark or target.stat().st_size != seen.size_bytes:
                raise Changing
        except BaseException:
            target.unlink()
            raise
    return Stored(seen.name, token, seen.size_bytes)


def _open_below(folder: Path, name: str) -> int:
    descriptor = os.open(folder, _FOLDER)
    *folders, last = name.split("/")
    for each in folders:
        with _opened(descriptor) as outer:
            descriptor = os.open(each, _FOLDER, dir_fd=outer)
    with _opened(descriptor) as outer:
        found = os.open(last, _FILE, dir_fd=outer)
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise Changing
    return found


def _is_written_to(descriptor: int) -> bool:
    """Whether somebody has it open to write: then the kernel grants no lease. Where it grants us none in any
    case (NFS, another's file), time alone has to tell. A writer who comes just now sends us a signal, which
    is to be one that does nothing."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _copy(source: int, target: Path) -> None:
    with target.open("wb") as file:
        while piece := os.read(source, _PIECE_BYTES):
            file.write(piece)
        file.flush()
        os.fchmod(file.fileno(), 0o444)  # a program with another uid reads it
        os.fsync(file.fileno())


def write_below(folder: Path, name: str, source: Path | bytes) -> None:
    """A file that is there whole or not at all, in place of one that was there. Raises OSError: also where a
    link lies in the way."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, _FOLDER)
    *folders, last = name.split("/")
    for each in folders:
        with _opened(descriptor) as outer:
            with suppress(FileExistsError):
                os.mkdir(each, dir_fd=outer)
            descriptor = os.open(each, _FOLDER, dir_fd=outer)
    with _opened(descriptor) as outer:
        fresh = f".{last[:100]}.{os.urandom(6).hex()}"
        try:
            _fill(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644, dir_fd=outer), source)
            os.rename(fresh, last, src_dir_fd=outer, dst_dir_fd=outer)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(fresh, dir_fd=outer)
            raise
        os.fsync(outer)
    sync([folder])


def _fill(descriptor: int, source: Path | bytes) -> None:
    with open(descriptor, "wb") as target:
        if isinstance(source, bytes):
            target.write(source)
        else:
            with source.open("rb") as file:
                while piece := file.read(_PIECE_BYTES):
                    target.write(piece)
        target.flush()
        os.fsync(target.fileno())
