"""The data directory: whether it is there and ours, what file system it is on, and how much room is left."""

import os
import pwd
import tempfile
from contextlib import suppress
from pathlib import Path

from sqlalchemy.engine import make_url

from hermes.checks import LEAST_FREE_BYTES
from hermes.doctor.findings import Finding, Look, note, ok, problem, warning
from hermes.room import LEAST_FREE_FILES
from hermes.settings import Settings
from hermes.units import show_size

_SCARCE_BYTES = 5 << 30
_SCARCE_INODES = 50_000
_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "lustre", "fuse.sshfs")


def look_at_data(settings: Settings) -> Look[bool]:
    """Whether there is a database already. Blocks while the file system does."""
    file = sqlite_file(settings)
    return Look(_findings(settings), file is None or file.exists())


def sqlite_file(settings: Settings) -> Path | None:
    """None with PostgreSQL."""
    url = make_url(settings.database)
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


def _findings(settings: Settings) -> list[Finding]:
    data = settings.data.absolute()
    if not data.is_dir():
        what = "is not a directory" if data.exists() else "is not there"
        step = f"HERMES_DATA=… as the service has it; for a new instance: mkdir -p {data}, then hermes up"
        return [problem("data", f"HERMES_DATA={data} {what}", step)]
    return [_place(data), *_file_system(data, settings), _room("disk", data)]


def _place(data: Path) -> Finding:
    try:
        with tempfile.TemporaryFile(dir=data) as probe:
            probe.write(b"hermes")
    except OSError as error:
        step = f"sudo chown -R {_name(os.geteuid())}: {data}, or run this as the user of the service"
        return problem("data", f"{data}: nothing can be written there ({error.strerror})", step)
    owner = data.stat().st_uid
    if owner != os.geteuid():
        found = f"{data} belongs to {_name(owner)}; this looks with the eyes of {_name(os.geteuid())}"
        return note("data", found, f"see it as the service does: sudo -u {_name(owner)} hermes doctor")
    files = files_like(data / "hermes.db")
    strange = [name for name, stat in files.items() if stat.st_uid not in (owner, os.geteuid())]
    if strange:
        found = f"{', '.join(strange)} in {data} belong to somebody else"
        return problem("data", found, f"sudo chown {_name(owner)}: {data}/hermes.db*")
    return ok("data", f"{data}, belongs to {_name(owner)}, writable")


def files_like(file: Path) -> dict[str, os.stat_result]:
    """A database and what SQLite keeps beside it, which comes and goes."""
    found = {}
    for each in file.parent.glob(f"{file.name}*"):
        with suppress(FileNotFoundError):
            found[each.name] = each.stat()
    return found


def _name(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return str(user_id)


def _file_system(data: Path, settings: Settings) -> list[Finding]:
    kind = file_system(data)
    if kind in _NETWORK and sqlite_file(settings) is not None:
        found = f"{data} is on {kind}: SQLite's locks do not hold there, the database can be destroyed"
        return [problem("file system", found, "HERMES_DATA=… on a disk of this machine, or PostgreSQL")]
    if kind in ("tmpfs", "ramfs"):
        found = f"{data} is on {kind}: it is empty after the next start of the machine"
        return [warning("file system", found, "HERMES_DATA=… on a disk")]
    return [ok("file system", kind)]


def file_system(path: Path) -> str:
    """Its type, by the mount that it is under."""
    best, kind = -1, "unknown"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _device, point, this, *_ = line.split()
        mount = Path(point.replace("\\040", " "))
        if path.resolve().is_relative_to(mount) and len(mount.parts) >= best:
            best, kind = len(mount.parts), this
    return kind


def _room(name: str, path: Path) -> Finding:
    """Bytes and inodes that are left to everybody but root."""
    disk = os.statvfs(path)
    free_bytes, total_bytes = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    step = f"sudo du -xh -d2 {path} | sort -h | tail"
    found = f"{show_size(free_bytes)} of {show_size(total_bytes)} free at {path}"
    if disk.f_files and disk.f_favail < _SCARCE_INODES:
        words = f"{disk.f_favail} inodes (files) left at {path}"
        say = problem if disk.f_favail < LEAST_FREE_FILES else warning
        return say(name, words, f"sudo du -x --inodes -d2 {path} | sort -n | tail")
    if free_bytes < LEAST_FREE_BYTES:
        return problem(name, f"{found}: no push is taken", step)
    if free_bytes < _SCARCE_BYTES:
        return warning(name, found, step)
    return ok(name, found)


def room_of(name: str, path: Path) -> list[Finding]:
    """Of another place, if it is on this machine and may be looked at."""
    try:
        return [_room(name, path)]
    except OSError:
        return []
