"""Bounded disks: a file that holds an ext4 file system, mounted by loop. Exact limits, 2 ms, needs root."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from hermes.errors import Unavailable
from hermes.executors import loops
from hermes.tree import OWNER_ID

_BLOCK = 4096
_LINGERS_S = 5.0
_LOOK_S = 0.02  # nobody tells when the kernel lets go of a file


def can_mount(scratch: Path) -> bool:
    """Whether this process may mount such a disk, found by doing it once."""
    if os.geteuid() != 0:
        return False
    scratch.mkdir(parents=True, exist_ok=True)
    _remove_old_probes(scratch)
    file, point = scratch / f"probe.{os.getpid()}.img", scratch / f"probe.{os.getpid()}"
    try:
        make_disk(file, 8 << 20)
        mount(file, point)
        unmount(point)
    except Unavailable:
        return False
    finally:
        file.unlink(missing_ok=True)
        if point.is_dir():
            point.rmdir()
    return True


def _remove_old_probes(scratch: Path) -> None:
    """Of processes that were killed while they tried."""
    for each in scratch.glob("probe.*"):
        if Path("/proc", each.name.split(".")[1]).exists():
            continue
        with suppress(OSError, Unavailable):  # another process removes it at this moment
            if each.is_dir():
                unmount(each)
                each.rmdir()
            else:
                each.unlink()


def make_disk(file: Path, size_bytes: int) -> None:
    """A sparse file with an empty file system that belongs to the box's user."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with file.open("wb") as image:
            image.truncate(size_bytes)
            for at, block in _empty_disk(size_bytes):
                os.pwrite(image.fileno(), block, at)
    except OSError as error:
        raise Unavailable(f"no disk can be made: {error}") from error


@lru_cache(maxsize=8)
def _empty_disk(size_bytes: int) -> tuple[tuple[int, bytes], ...]:
    """What mkfs writes to a disk of this size, without the zeros: it takes ten times as long as to write that
    again, and a disk is made for every box."""
    with tempfile.NamedTemporaryFile(prefix="hermes-disk-") as image:
        image.truncate(size_bytes)
        _make_file_system(image.name)
        return tuple(_blocks(image.fileno(), size_bytes))


def _blocks(image: int, size_bytes: int) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < size_bytes:
        try:
            at = os.lseek(image, at, os.SEEK_DATA)
        except OSError:  # only a hole is left
            return
        end = os.lseek(image, at, os.SEEK_HOLE)
        for start in range(at, end, _BLOCK):
            block = os.pread(image, min(_BLOCK, end - start), start)
            if block.strip(b"\0"):
                yield start, block
        at = end


def _make_file_system(file: str) -> None:
    owner = f"root_owner={OWNER_ID}:{OWNER_ID}"
    _call(
        "mkfs.ext4",
        "-q",
        "-F",
        "-O",
        "^has_journal,^resize_inode",  # neither is of use to a disk that lives once
        "-m",
        "0",
        "-E",
        f"lazy_itable_init=1,{owner}",
        file,
    )


def mount(file: Path, point: Path) -> None:
    """Mount it; programs in it never gain rights, devices in it are dead."""
    point.mkdir(parents=True, exist_ok=True)
    try:
        loops.mount_file(file, point)
    except OSError:  # a kernel before 5.8, or a machine with rules of its own
        _call("mount", "-o", "loop,nosuid,nodev,noatime", str(file), str(point))


def mount_kept(file: Path, point: Path, size_bytes: int) -> bool:
    """Mount a disk that outlives its boxes, made at its first use. False: another box has it now.

    Two mounts of one file would destroy it; the kernel's list of loop devices is asked, since it also knows
    the mounts of a process that was killed. Takes up to 5 s where one that is gone still lingers."""
    if file.is_dir():  # of a service that could not mount: what is kept can be made again
        shutil.rmtree(file)
    if not file.exists():
        fresh = file.with_suffix(f".{os.getpid()}")
        make_disk(fresh, size_bytes)
        fresh.rename(file)
    elif _is_taken(file):
        return False
    mount(file, point)
    return True


def _is_taken(file: Path) -> bool:
    """Whether another box has it. A mount that we have no more is one in a moment: whoever just makes a place
    for a program on this machine has been given all mounts, and gives them up."""
    until = time.monotonic() + _LINGERS_S
    while found := _call("losetup", "--noheadings", "--output", "NAME", "--associated", str(file)):
        devices = {mount.split()[0] for mount in Path("/proc/self/mounts").read_bytes().splitlines()}
        if devices & {*found.split()} or time.monotonic() > until:
            return True
        time.sleep(_LOOK_S)
    return False


def unmount(point: Path) -> None:
    """Unmount, at once for names and as soon as possible for files that are still open."""
    if point.is_mount():
        try:
            loops.detach(point)
        except OSError as error:
            raise Unavailable(f"{point.name} cannot be unmounted: {error.strerror}") from error


def _call(*command: str) -> bytes:
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip()[-300:]
        raise Unavailable(f"{command[0]} failed: {words}")
    return done.stdout
