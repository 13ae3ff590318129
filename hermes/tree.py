"""The tree of a commit: listed and exported within bounds, straight from the object store.

git lists and reads because it tells the size of an object before its content, in a child of its own; the
walk is git's and iterative, and what comes out is counted while it comes. Nothing is ever checked out.
"""

import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hermes.errors import Refused, Unavailable
from hermes.git import git_command, quarantine_env
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


def list_tree(
    repo: Path, commit: str, limits: TreeLimits, quarantine: Path | None = None
) -> dict[str, Entry]:
    """All entries by path. Raises Refused, with the path at fault, when the tree cannot be built here."""
    entries: dict[str, Entry] = {}
    total = 0
    with _child(repo, quarantine, "ls-tree", "-r", "-l", "-z", "--full-tree", commit) as child:
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


def read_blob(repo: Path, entry: Entry, quarantine: Path | None = None) -> bytes:
    """The content of one entry; look at its size first."""
    with _child(repo, quarantine, "cat-file", "blob", entry.sha) as child:
        assert child.stdout is not None
        return child.stdout.read()


def subject_of(repo: Path, commit: str, quarantine: Path | None = None) -> str:
    """The first line of a commit's message, at most 200 characters. Raises Refused if it is no commit."""
    with _child(repo, quarantine, "cat-file", "--batch") as child:
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(commit.encode() + b"\n")
        child.stdin.flush()
        kind = child.stdout.readline().split()[1:2]
        if kind != [b"commit"]:
            raise Refused(f"{commit[:7]} is not a commit", "a branch can only point to a commit")
        child.stdin.close()
        head = child.stdout.read(1 << 16)
    _headers, _, message = head.partition(b"\n\n")
    return message.decode("utf-8", "replace").strip().partition("\n")[0][:200]


def export_tar(repo: Path, commit: str, entries: dict[str, Entry], target: Path, mtime: int) -> list[str]:
    """Write the tree as a tar; returns the paths of submodules, which are left out.

    Raises Refused for a link that leaves the tree."""
    submodules = []
    with (
        _child(repo, None, "cat-file", "--batch") as child,
        tarfile.open(
            target, "w", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape"
        ) as tar,
    ):
        assert child.stdin is not None and child.stdout is not None
        for folder in _folders(entries):
            tar.addfile(_member(folder, tarfile.DIRTYPE, 0o755, mtime))
        for entry in entries.values():
            if entry.mode == _GITLINK:
                submodules.append(entry.path)
                continue
            child.stdin.write(entry.sha.encode() + b"\n")
            child.stdin.flush()
            _add(tar, entry, _content(child.stdout, entry), mtime)
            child.stdout.read(1)  # the line end after the content
    return submodules


def _content(stream: IO[bytes], entry: Entry) -> IO[bytes]:
    header = stream.readline().split()
    if len(header) != 3 or int(header[2]) != entry.size_bytes:
        raise Unavailable(f"object {entry.sha} cannot be read")
    return stream


def _add(tar: tarfile.TarFile, entry: Entry, content: IO[bytes], mtime: int) -> None:
    if entry.mode == _SYMLINK:
        member = _member(entry.path, tarfile.SYMTYPE, 0o777, mtime)
        member.linkname = content.read(entry.size_bytes).decode("utf-8", "surrogateescape")
        if not _stays_inside(entry.path, member.linkname):
            raise Refused(
                f"{entry.path!a} is a link that leaves the repository", "use a relative link inside it"
            )
        tar.addfile(member)
        return
    member = _member(entry.path, tarfile.REGTYPE, _MODES[entry.mode], mtime)
    member.size = entry.size_bytes
    tar.addfile(member, content)


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


@contextmanager
def _child(repo: Path, quarantine: Path | None, *args: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A git child that is gone when the block ends; a failure of git's is an error of ours."""
    with subprocess.Popen(
        git_command(repo, *args),
        env=quarantine_env(repo, quarantine),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as child:
        try:
            yield child
        except BaseException:
            child.kill()
            raise
        assert child.stdin is not None and child.stdout is not None
        child.stdin.close()
        child.stdout.close()
        if child.wait(60) not in (0, -13):  # -13: we stopped reading
            raise Unavailable(f"git {args[0]} failed")
