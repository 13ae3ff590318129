"""A disk whose power can be cut at any moment: what the kernel was not told to write is not there then."""

import filecmp
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hermes.executors.disks import can_mount
from tests.conftest import missing


def call(*words: str | Path) -> "subprocess.CompletedProcess[bytes]":
    """Run a program of the system."""
    return subprocess.run([str(word) for word in words], check=True, capture_output=True)


@dataclass
class Disk:
    """A file that the kernel uses as a disk. What was not synced comes to it late, if at all."""

    folder: Path
    _cuts: int = 0

    def __enter__(self) -> Path:
        if not can_mount(self.folder / "probe"):
            missing("the right to mount a disk")
        (self.folder / "disk").mkdir()
        with self._image.open("wb") as image:
            image.truncate(128 << 20)
        call("mkfs.ext4", "-q", "-F", self._image)
        call("mount", "-o", "loop,commit=300", self._image, self.folder / "disk")
        return self.folder / "disk"

    def __exit__(self, *_: object) -> None:
        call("umount", self.folder / "disk")

    @property
    def _image(self) -> Path:
        return self.folder / "disk.img"

    @contextmanager
    def cut(self) -> Iterator[Path]:
        """The disk as it would be found if the power had gone now. Another file each time: `mount` takes
        the device that a file has already, with all that was read of it before, and one that anybody on this
        machine just looks at stays when it is unmounted."""
        self._cuts += 1
        image, found = self.folder / f"cut{self._cuts}.img", self.folder / f"cut{self._cuts}"
        found.mkdir()
        copy_at_once(self._image, image)
        call("mount", "-o", "loop", image, found)
        try:
            yield found
        finally:
            call("umount", found)
            image.unlink()


def copy_at_once(source: Path, target: Path) -> None:
    """As it was at one moment: read again it is still the same, so nothing was written between the two."""
    while True:
        call("cp", "--sparse=always", source, target)
        if filecmp.cmp(source, target, shallow=False):
            return


def device_of(folder: Path) -> Path:
    """What is mounted there."""
    return Path(call("findmnt", "-n", "-o", "SOURCE", folder).stdout.decode().strip())
