"""The tree of a commit: listed and exported within bounds, straight from the object store.

git lists and reads because it tells the size of an object before its content, in a child of its own; the
walk is git's and iterative, and what comes out is counted while it comes. Nothing is ever checked out.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hermes.errors import Refused, Unavailable
from hermes.git import git_child
from hermes.objects import open_objects
from hermes.units import show_size

OWNER_ID = 65534  # nobody: who the files belong to inside a box
_MAX_DEPTH = 64
_MAX_PATH = 1024
_SYMLINK, _GITLINK = 0o120000, 0o160000
_MODES = {0o100644: 0o644, 0o100755: 0o755, _SYMLINK: 0o777, _GITLINK: 0}


@dataclass(frozen=True)
class TreeLimits:
    """The bounds of a tree that is built."""

    files: int
    size_bytes: int


@dataclass(frozen=True)
class Entry:
    """A file, a link or a submodule of a tree."""

    mode: int
    sha: str
    size_bytes: int
    path: str

    @property
    def is_file(self) -> bool:
        """Neither a link nor a submodule."""
        return self.mode not in (_SYMLINK, _GITLINK)

    @property
    def is_link(self) -> bool:
        """A symbolic link."""
        return self.mode == _SYMLINK

    @property
    def is_submodule(self) -> bool:
        """Another repository's commit."""
        return self.mode == _GITLINK


def list_tree(
    repo: Path, commit: str, limits: TreeLimits, quarantine: Path | None = None
) -> dict[str, Entry]:
    """All entries by path. Raises Refused, with the path at fault, when the tree cannot be built here."""
    entries: dict[str, Entry] = {}
    total = 0
    with git_child(repo, quarantine, "ls-tree", "-r", "-l", "-z", "--full-tree", commit) as child:
        for line in _split_nul(child.stdout):
            entry = _entry(line)
            total += entry.size_bytes
            if len(entries) >= limits.files:
                raise Refused(
                    f"the commit has more than {limits.files} files", "push fewer, or raise HERMES_TREE_FILES"
                )
            if total > limits.size_bytes:
                raise Refused(
                    f"the files of the commit are more than {show_size(limits.size_bytes)} together "
                    f"(reached at {entry.path!r})",
                    "keep data out of the repository, or raise HERMES_TREE_SIZE",
                )
            entries[entry.path] = entry
    return entries


def _entry(line: bytes) -> Entry:
    meta, _, name = line.partition(b"\t")
    mode, _kind, sha, size = meta.split()
    path = name.decode("utf-8", "surrogateescape")
    shown = ascii(path[:200])
    if int(mode, 8) not in _MODES:
        raise Refused(
            f"{shown} has the unusual mode {mode.decode()}", "commit plain files, links and folders"
        )
    if len(name) > _MAX_PATH or path.count("/") >= _MAX_DEPTH or any(len(p) > 255 for p in name.split(b"/")):
        raise Refused(f"the path {shown} is too long or too deep", "shorten it")
    if any(byte < 32 or byte == 127 for byte in name):
        raise Refused(f"the path {shown} has control characters", "rename it")
    return Entry(int(mode, 8), sha.decode(), 0 if size == b"-" else int(size), path)


def _split_nul(stream: IO[bytes] | None) -> Iterator[bytes]:
    assert stream is not None
    rest = b""
    while chunk := stream.read(1 << 16):
        *whole, rest = (rest + chunk).split(b"\0")
        yield from whole


def export_tar(repo: Path, commit: str, entries: dict[str, Entry], target: Path, mtime: int) -> list[str]:
    """Write the tree as a tar; returns the paths of submodules, which are left out.

    Raises Refused for a link that leaves the tree."""
    submodules = []
    with (
        open_objects(repo) as objects,
        tarfile.open(
            target, "w", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape"
        ) as tar,
    ):
        for folder in _folders(entries):
            tar.addfile(_member(folder, tarfile.DIRTYPE, 0o755, mtime))
        for entry in entries.values():
            if entry.is_submodule:
                submodules.append(entry.path)
                continue
            with objects.open(entry.sha) as (info, content):
                if info.size_bytes != entry.size_bytes:
                    raise Unavailable(f"object {entry.sha} cannot be read")
                _add(tar, entry, content, mtime)
    return submodules


def _add(tar: tarfile.TarFile, entry: Entry, content: IO[bytes], mtime: int) -> None:
    if entry.is_link:
        member = _member(entry.path, tarfile.SYMTYPE, 0o777, mtime)
        member.linkname = content.read(entry.size_bytes).decode("utf-8", "surrogateescape")
        check_link(entry, member.linkname)
        tar.addfile(member)
        return
    member = _member(entry.path, tarfile.REGTYPE, _MODES[entry.mode], mtime)
    member.size = entry.size_bytes
    tar.addfile(member, content)


def check_link(entry: Entry, target: str) -> None:
    """Raises Refused for a symbolic link that leaves the tree."""
    if not _stays_inside(entry.path, target):
        raise Refused(f"{entry.path!a} is a link that leaves the repository", "use a relative link inside it")


def _stays_inside(path: str, link: str) -> bool:
    if link.startswith("/") or "\0" in link:
        return False
    depth = path.count("/")
    for part in link.split("/"):
        depth += -1 if part == ".." else int(part not in ("", "."))
        if depth < 0:
            return False
    return True


def _member(path: str, kind: bytes, mode: int, mtime: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.type, member.mode, member.mtime = kind, mode, mtime
    member.uid = member.gid = OWNER_ID
    return member


def _folders(entries: dict[str, Entry]) -> list[str]:
    folders = {"."}
    for path in entries:
        while path := path.rpartition("/")[0]:
            if path in folders:
                break
            folders.add(path)
    return sorted(folders)
