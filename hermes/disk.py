"""Files that are whole and on disk, or not there: also after a power cut."""

import ctypes
import fcntl
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hermes.errors import Unavailable

_BEGIN = 2  # SYNC_FILE_RANGE_WRITE
_sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None)
if _sync_file_range is not None:
    _sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


def begin_sync(descriptor: int, offset: int, size_bytes: int) -> None:
    """The disk may begin with what was written there, so that less is left for `fsync`. Only Linux has it."""
    if _sync_file_range is not None:
        _sync_file_range(descriptor, offset, size_bytes, _BEGIN)


def sync(paths: Iterable[Path]) -> None:
    """Files and folders are on disk; what is not there any more needs not be. Raises Unavailable."""
    try:
        for path in paths:
            with suppress(FileNotFoundError):  # a folder of refs that has become empty is removed
                handle = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)
    except OSError as error:
        raise Unavailable(f"fsync failed: {error}") from error


def write_private(path: Path, data: bytes) -> Path:
    """A file beside `path`, whole and on disk, that only we read: to be renamed or linked to it."""
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return fresh


@contextmanager
def held(path: Path, how: int) -> Iterator[None]:
    """The folder of a file: LOCK_SH while one is put there, LOCK_EX while one is looked at and removed."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, how)
        yield
    finally:
        os.close(folder)


def make_once(path: Path, data: bytes) -> None:
    """A file that only we read, unless it is there; of several processes that make it at a time, one does."""
    if path.exists():
        return
    fresh = write_private(path, data)
    try:
        with suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        fresh.unlink()
    sync([path.parent])
