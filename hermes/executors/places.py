"""The places of a box on bounded disks, in a folder of its own: tree, output, what is kept for it."""

import shutil
from pathlib import Path

from hermes.executors import disks
from hermes.executors.base import Task
from hermes.executors.container import FOLDERS, kept_disks, own_folder
from hermes.executors.tars import unpack
from hermes.tree import OWNER_ID


def make(own: Path, task: Task) -> list[str]:
    """Mount the disks and unpack the tree; returns the binds. Raises Unavailable."""
    disks.make_disk(own / "disk.img", task.limits.disk_bytes)
    disks.mount(own / "disk.img", own / "disk")
    binds = [f"{own_folder(own / 'disk' / folder)}:{FOLDERS[folder]}:rw" for folder in FOLDERS]
    unpack(task.tree, own / "disk" / "app", OWNER_ID)
    for kept, size_bytes, place in kept_disks(task):
        point = own / place.rpartition("/")[2]
        if disks.mount_kept(kept, point, size_bytes):
            binds.append(f"{own_folder(point / 'kept')}:{place}:rw")
    return binds


def remove(own: Path) -> None:
    """Unmount what is mounted there, and delete it."""
    for point in list(own.glob("*")):
        disks.unmount(point)
    shutil.rmtree(own, ignore_errors=True)
