"""The tree of a commit: listed and exported within bounds, straight from the object store.

A git child reads, because it tells the size of an object before its content; the walk is iterative, and what
comes out is counted while it comes. Nothing is ever checked out.
"""

import re
import tarfile
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import IO, NamedTuple

from hermes.errors import Refused, Unavailable
from hermes.objects import Objects
from hermes.tree_entries import FOLDER, GITLINK, SYMLINK, read_entries, too_many
from hermes.units import show_size

OWNER_ID = 65534  # nobody: who the files belong to inside a box
_MAX_DEPTH = 64
_MAX_PATH = 1024
_MAX_NAME = 255
_MAX_TREE_BYTES = 16 << 20
_MAX_ENTRY_BYTES = 300  # of a tree: mode, a name of 255, object id
_MAX_SHOWN = 130  # characters of a path in a message
_MODES = {0o100644: 0o644, 0o100755: 0o755, SYMLINK: 0o777, GITLINK: 0}
_KNOWN = {FOLDER, *_MODES}
_CONTROL = re.compile(rb"[\0-\x1f\x7f]")

_Found = tuple[int, str, str]  # mode, object, path


@dataclass(frozen=True)
class TreeLimits:
    """The bounds of a tree that is built."""

    files: int
    size_bytes: int


class Entry(NamedTuple):
    """A file, a link or a submodule of a tree."""

    mode: int
    sha: str
    size_bytes: int
    path: str

    @property
    def is_file(self) -> bool:
        """Neither a link nor a submodule."""
        return self.mode not in (SYMLINK, GITLINK)

    @property
    def is_link(self) -> bool:
        """A symbolic link."""
        return self.mode == SYMLINK

    @property
    def is_submodule(self) -> bool:
        """Another repository's commit."""
        return self.mode == GITLINK


def list_tree(objects: Objects, commit: str, limits: TreeLimits) -> dict[str, Entry]:
    """All entries by path, in git's order. Raises Refused, with the path at fault, when the tree cannot be
    built here, and Unavailable when an object of it is not there."""
    found = _walk(objects, f"{commit}^{{tree}}", limits.files)
    sizes = objects.sizes([sha for mode, sha, _ in found if mode != GITLINK])
    entries = {
        path: Entry(mode, sha, sizes[sha] if mode != GITLINK else 0, path) for mode, sha, path in found
    }
    _check_size(entries, limits.size_bytes)
    return entries


def _check_size(entries: dict[str, Entry], most_bytes: int) -> None:
    sizes = [entry.size_bytes for entry in entries.values()]
    if sum(sizes) > most_bytes:
        reached = sum(total <= most_bytes for total in accumulate(sizes))
        raise Refused(
            f"the files of the commit are more than {show_size(most_bytes)} together "
            f"(reached at {_shown(list(entries)[reached])})",
            "keep data out of the repository, or raise HERMES_TREE_SIZE",
        )


class _Folder:
    """One that is walked through: its entries were looked at, of its folders the next few are at hand."""

    def __init__(self, objects: Objects, path: bytes, data: bytes, most: int) -> None:
        entries = read_entries(data, most)
        modes = {mode: int(mode, 8) for mode in {mode for mode, _, _ in entries}}
        _check_names(path, entries, modes)
        folders = [sha.hex() for mode, _, sha in entries if modes[mode] == FOLDER]
        self.path, self.size_bytes = path, len(data)
        self.folders, self.files = len(folders), len(entries) - len(folders)
        self._modes, self._rest = modes, iter(entries)
        self._below = objects.read_many(folders, _MAX_TREE_BYTES)

    def files_into(self, found: list[_Found]) -> tuple[bytes, bytes] | None:
        """All files up to the next folder; then that one's path and content."""
        prefix, modes = self.path.decode("utf-8", "surrogateescape"), self._modes
        for mode, name, sha in self._rest:
            if modes[mode] == FOLDER:
                return self.path + name + b"/", next(self._below)
            found.append((modes[mode], sha.hex(), prefix + name.decode("utf-8", "surrogateescape")))
        return None


def _walk(objects: Objects, tree: str, most: int) -> list[_Found]:
    """Everything but folders. Iterative; a few objects can stand for very many paths, so folders count as
    well; and large ones in one another would fill the memory."""
    found: list[_Found] = []
    stack = [_Folder(objects, b"", objects.read(tree, _MAX_TREE_BYTES), most)]
    files, trees, held_bytes = stack[0].files, stack[0].folders, stack[0].size_bytes
    while stack:
        if files > most or trees > most or held_bytes > 2 * most * _MAX_ENTRY_BYTES:
            raise too_many(most)
        below = stack[-1].files_into(found)
        if below is None:
            held_bytes -= stack.pop().size_bytes
            continue
        stack.append(_Folder(objects, *below, most))
        files, trees = files + stack[-1].files, trees + stack[-1].folders
        held_bytes += stack[-1].size_bytes
    return found


def _check_names(folder: bytes, entries: list[tuple[bytes, bytes, bytes]], modes: dict[bytes, int]) -> None:
    """Raises Refused for the first bad one. Mostly all are good, which is seen at once."""
    room = min(_MAX_NAME, _MAX_PATH - len(folder)) if folder.count(b"/") < _MAX_DEPTH else -1
    names = [name for _, name, _ in entries]
    is_fit = max(map(len, names), default=-1) <= room
    if is_fit and _KNOWN.issuperset(modes.values()) and not _CONTROL.search(b"".join(names)):
        return
    for mode, name, _ in entries:
        if len(name) > room or modes[mode] not in _KNOWN or _CONTROL.search(name):
            raise _bad_path(modes[mode], folder + name)


def _bad_path(mode: int, path: bytes) -> Refused:
    shown = _shown(path.decode("utf-8", "surrogateescape"))
    if mode not in _KNOWN:
        return Refused(f"{shown} has the unusual mode {mode:06o}", "commit plain files, links and folders")
    if _CONTROL.search(path):
        return Refused(f"the path {shown} has control characters", "rename it")
    return Refused(f"the path {shown} is too long or too deep", "shorten it")


def export_tar(objects: Objects, entries: dict[str, Entry], target: Path, mtime: int) -> list[str]:
    """Write the tree as a tar; returns the paths of submodules, which are left out.

    Raises Refused for a link that leaves the tree."""
    submodules = []
    with tarfile.open(
        target, "w", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape"
    ) as tar:
        for folder in _folders(entries):
            tar.addfile(_member(folder, tarfile.DIRTYPE, 0o755, mtime))
        for entry in entries.values():
            if entry.is_submodule:
                submodules.append(entry.path)
                continue
            with objects.open(entry.sha) as (info, content):
                if info.size_bytes != entry.size_bytes:
                    raise Unavailable(f"object {entry.sha} cannot be read")
                _add(tar, entry, entries, content, mtime)
    return submodules


def _add(
    tar: tarfile.TarFile, entry: Entry, entries: dict[str, Entry], content: IO[bytes], mtime: int
) -> None:
    if entry.is_link:
        member = _member(entry.path, tarfile.SYMTYPE, 0o777, mtime)
        member.linkname = content.read(entry.size_bytes).decode("utf-8", "surrogateescape")
        check_link(entry, member.linkname, entries)
        tar.addfile(member)
        return
    member = _member(entry.path, tarfile.REGTYPE, _MODES[entry.mode], mtime)
    member.size = entry.size_bytes
    tar.addfile(member, content)


def check_link(entry: Entry, target: str, entries: dict[str, Entry]) -> None:
    """Raises Refused for a symbolic link that leaves the tree, by itself or through another one."""
    if not _stays_inside(entry.path, target, entries):
        raise Refused(
            f"{_shown(entry.path)} is a link that leaves the repository", "use a relative link inside it"
        )


def _stays_inside(path: str, link: str, entries: dict[str, Entry]) -> bool:
    if link.startswith("/") or "\0" in link:
        return False
    at, through_link = path.split("/")[:-1], False
    for part in link.split("/"):
        if part == "..":
            if not at or through_link:  # behind another link `..` is not where it seems to be
                return False
            at.pop()
        elif part not in ("", "."):
            at.append(part)
            found = entries.get("/".join(at))
            through_link = through_link or (found is not None and found.is_link)
    return True


def _shown(path: str) -> str:
    """A path in a message: whole when it is of a usual length, and nothing that a terminal obeys."""
    text = ascii(path)
    return text if len(text) <= _MAX_SHOWN + 2 else f"{text[:_MAX_SHOWN]}…'"


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
