"""What Hermes needs of the machine itself: control groups, loop mounts, git, the tools of the executors."""

import os
import shutil
import tempfile
from pathlib import Path

from hermes.checks import check_git
from hermes.doctor.findings import Finding, Look, note, ok, problem, warning
from hermes.errors import SettingsError
from hermes.executors.bubblewrap import find_fence
from hermes.executors.disks import can_mount
from hermes.settings import Settings

_GROUPS = Path("/sys/fs/cgroup")
_NEEDED = ("memory", "pids", "cpu")


def look_at_machine(settings: Settings) -> Look[None]:
    """Mounts a small disk, to see whether that works, and takes it away again."""
    findings = [_control_groups(settings), _disks(settings), _git(), _tools(settings)]
    return Look([*findings, *([_fence()] if settings.executor == "local" else [])])


def _control_groups(settings: Settings) -> Finding:
    version, usable = control_groups(_GROUPS)
    missing = [name for name in _NEEDED if name not in usable]
    if not missing:
        return ok("cgroups", f"version {version}: {', '.join(_NEEDED)}")
    found = f"version {version}, without {', '.join(missing)}: what runs use is neither seen nor bounded"
    if settings.executor == "local":  # it watches memory by itself
        return note("cgroups", found, "nothing, for the local executor")
    step = "mount | grep cgroup; cat /proc/cgroups; cgroup_enable=memory on the kernel's command line"
    return problem("cgroups", found, step)


def control_groups(root: Path) -> tuple[int, set[str]]:
    """The version that accounts are kept in, and the controllers that can be used."""
    unified = root / "cgroup.controllers"
    if unified.exists():
        return 2, set(unified.read_text().split())
    return 1, {each.name for each in root.glob("*") if each.is_mount() or each.is_symlink()}


def _disks(settings: Settings) -> Finding:
    step = "run Hermes as root (README, systemd); what it costs: a program can fill the engine's disk"
    if os.geteuid() != 0:
        return warning("disks", "not root: the disk of a program is not bounded", step)
    base = settings.data if settings.data.is_dir() else None
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=base) as scratch:
            can = can_mount(Path(scratch))
    except OSError:
        return note("disks", "not tried: nothing can be written in the data directory", "see `data` above")
    if can:
        return ok("disks", "loop mounts work: the disk of each program is bounded")
    loop = "sudo modprobe loop; apt-get install e2fsprogs mount"
    return warning("disks", "loop mounts do not work: the disk of a program is not bounded", loop)


def _fence() -> Finding:
    fence, why = find_fence()
    if fence is not None:
        return ok("bubblewrap", "programs without an engine run in it")
    return warning("bubblewrap", f"{why.partition(':')[0]}: programs see all that this user can", why)


def _git() -> Finding:
    try:
        return ok("git", check_git())
    except SettingsError as error:
        return problem("git", str(error), "apt-get install git")


def _tools(settings: Settings) -> Finding:
    tools = ("unshare", "prlimit") if settings.executor == "local" else ("unshare", "mkfs.ext4", "losetup")
    missing = [each for each in tools if shutil.which(each) is None]
    if missing:
        step = "apt-get install util-linux e2fsprogs mount"
        return warning("tools", f"not in the PATH: {', '.join(missing)}", step)
    return ok("tools", ", ".join(tools))
