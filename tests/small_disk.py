"""A small disk of its own for a service's data: filled, freed, broken and mended while the service runs."""

import os
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hermes.executors.disks import can_mount
from tests.conftest import missing
from tests.service import wait_for

_STEPS = (16 << 20, 1 << 20, 64 << 10, 4 << 10)  # bytes


def call(*words: str | Path, check: bool = True) -> None:
    """Run a program of the system."""
    subprocess.run([str(word) for word in words], check=check, capture_output=True)


@dataclass
class SmallDisk:
    """An ext4 in a file, mounted at `point` for the block. Nothing of it is kept back for root."""

    folder: Path
    size_bytes: int = 256 << 20

    @property
    def point(self) -> Path:
        """Where it is mounted."""
        return self.folder / "disk"

    @property
    def image(self) -> Path:
        """The file that it lies in."""
        return self.folder / "disk.img"

    @property
    def free_bytes(self) -> int:
        """What is left."""
        found = os.statvfs(self.point)
        return found.f_bavail * found.f_frsize

    def __enter__(self) -> "SmallDisk":
        self.folder.mkdir(parents=True, exist_ok=True)
        if not can_mount(self.folder / "probe"):
            missing("the right to mount a disk")
        self.point.mkdir()
        with self.image.open("wb") as image:
            image.truncate(self.size_bytes)
        call("mkfs.ext4", "-q", "-F", "-m", "0", self.image)
        self._mount()
        return self

    def __exit__(self, *_: object) -> None:
        self._unmount()

    def fill(self, leave_bytes: int = 0) -> None:
        """Take all of it but so much; more, or less, than the last time."""
        with (self.point / "ballast").open("ab") as ballast:
            size = ballast.tell()
            for step in _STEPS:
                with suppress(
                    OSError
                ):  # of less than it seems, as blocks for the file itself are needed, too
                    while self.free_bytes - step >= leave_bytes:
                        os.posix_fallocate(ballast.fileno(), size, step)
                        size += step

    def empty(self) -> None:
        """Give back what `fill` took."""
        (self.point / "ballast").unlink(missing_ok=True)

    def break_writing(self) -> None:
        """As when a disk fails: the kernel finds a fault and lets nobody write there any more. Files that are
        open for writing stay open, which `mount -o remount,ro` would refuse."""
        device = subprocess.run(
            ["findmnt", "-n", "-o", "SOURCE", self.point], check=True, capture_output=True, text=True
        )
        trigger = Path("/sys/fs/ext4", Path(device.stdout.strip()).name, "trigger_fs_error")
        if not os.access(trigger, os.W_OK):
            missing(f"the right to write {trigger}")
        trigger.write_text("a test")

    def mend(self) -> None:
        """Check and mount it anew; nobody may have it open. Its device stays while anybody looks at it, as
        each `mount` of this machine does, or a box has it among its mounts; what would be mounted then is the
        old one, with what was read of it before, and cannot be written."""

        def is_mended() -> bool:
            if self.point.is_mount():
                self._unmount()
            if _devices_of(self.image):
                return False
            call("e2fsck", "-f", "-y", self.image, check=False)  # 1: mended
            self._mount()
            return self._can_be_written()

        wait_for(is_mended)

    def _can_be_written(self) -> bool:
        try:
            (self.point / "probe").write_text("")
        except OSError:
            return False
        return True

    def _mount(self) -> None:
        call("mount", "-o", "loop,errors=remount-ro", self.image, self.point)

    def _unmount(self) -> None:
        """What lies mounted on it goes first; who still lets go of it is waited for."""
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for each in sorted((it for it in mounts if it.startswith(f"{self.point}/")), reverse=True):
            call("umount", "--lazy", each, check=False)
        for _ in range(50):
            if subprocess.run(["umount", self.point], check=False, capture_output=True).returncode == 0:
                return
            time.sleep(0.1)
        call("umount", "--lazy", self.point)


def _devices_of(image: Path) -> bytes:
    done = subprocess.run(["losetup", "--associated", image], check=True, capture_output=True)
    return done.stdout
