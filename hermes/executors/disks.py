"""Bounded disks: a file that holds an ext4 file system, mounted by loop. Exact limits, 14 ms, needs root."""

import os
import subprocess
from pathlib import Path

from hermes.errors import Unavailable
from hermes.tree import OWNER_ID


def can_mount(scratch: Path) -> bool:
    """Whether this process may mount such a disk, found by doing it once."""
    if os.geteuid() != 0:
        return False
    scratch.mkdir(parents=True, exist_ok=True)
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


def make_disk(file: Path, size_bytes: int) -> None:
    """A sparse file with an empty file system that belongs to the box's user."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as image:
        image.truncate(size_bytes)
    owner = f"root_owner={OWNER_ID}:{OWNER_ID}"
    _call(
        "mkfs.ext4",
        "-q",
        "-F",
        "-O",
        "^has_journal",
        "-m",
        "0",
        "-E",
        f"lazy_itable_init=1,{owner}",
        str(file),
    )


def mount(file: Path, point: Path) -> None:
    """Mount it; programs in it never gain rights, devices in it are dead."""
    point.mkdir(parents=True, exist_ok=True)
    _call("mount", "-o", "loop,nosuid,nodev,noatime", str(file), str(point))


def mount_kept(file: Path, point: Path, size_bytes: int) -> bool:
    """Mount a disk that outlives its boxes, made at its first use. False: another box has it now.

    Two mounts of one file would destroy it; the kernel's list of loop devices is asked, since it also knows
    the mounts of a process that was killed."""
    if not file.exists():
        fresh = file.with_suffix(f".{os.getpid()}")
        make_disk(fresh, size_bytes)
        fresh.rename(file)
    elif _call("losetup", "--associated", str(file)):
        return False
    mount(file, point)
    return True


def unmount(point: Path) -> None:
    """Unmount, at once for names and as soon as possible for files that are still open."""
    if point.is_mount():
        _call("umount", "--lazy", str(point))


def _call(*command: str) -> bytes:
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip()[-300:]
        raise Unavailable(f"{command[0]} failed: {words}")
    return done.stdout
