"""Which files are to be sent, by which names, and to which function."""

import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from hermes.errors import UserError


@dataclass(frozen=True)
class File:
    """One; `name` is what it is called there."""

    path: Path
    name: str
    size_bytes: int


@dataclass
class Shelf:
    """All, and in words what is not among them."""

    files: list[File] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def to_send(paths: Sequence[Path], name: str, patterns: Sequence[str]) -> Shelf:
    """Of folders what matches and is a file; links in them lead elsewhere. Raises UserError."""
    if name and len(paths) > 1:
        raise UserError("--as names one file or one folder, and there are several", "send them one by one")
    shelf = Shelf()
    for path in paths:
        if path.is_dir():
            _take_folder(shelf, path, name or _base(path), patterns)
        elif path.exists() and not path.is_file():
            raise UserError(f"{path} is no file", "send what it holds as a file")
        else:
            shelf.files.append(_file(path, name or path.name))
    names = Counter(each.name for each in shelf.files)
    if twice := next((each for each, count in names.items() if count > 1), ""):
        raise UserError(f"two files would be called {twice!r}", "send their folders, or one by one with --as")
    return shelf


def _take_folder(shelf: Shelf, folder: Path, name: str, patterns: Sequence[str]) -> None:
    found, others, links = list(_inside(folder)), 0, 0
    for path in found:
        there = "/".join(filter(None, (name, path.relative_to(folder).as_posix())))
        base = there.rpartition("/")[2]
        if path.is_symlink():
            links += 1
        elif not any(fnmatchcase(there, each) or fnmatchcase(base, each) for each in patterns):
            others += 1
        elif path.is_file():
            shelf.files.append(_file(path, there))
    if links:
        shelf.left_out.append(f"{folder}: {links} links are left out: they may lead elsewhere")
    if others:
        wanted = " ".join(patterns) or "no pattern, as the function has none"
        shelf.left_out.append(f"{folder}: {others} files are left out that do not match {wanted}")


def _inside(folder: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(folder):
        folders.sort()
        links = [each for each in folders if (Path(where) / each).is_symlink()]
        yield from (Path(where) / each for each in sorted([*names, *links]))


def _base(folder: Path) -> str:
    """What a folder is called; nothing for `.`: its files are then at the top."""
    return "" if folder in (Path(), Path("..")) else folder.name


def _file(path: Path, name: str) -> File:
    try:
        with path.open("rb") as file:
            return File(path, name, os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None


def function_here(url: str) -> str:
    """The function that a remote of the repository here is, on this server. Raises UserError."""
    asked = ["git", "remote", "-v"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    except OSError:
        said = ""
    host = re.escape(url.partition("://")[2])
    if found := re.search(rf"://(?:[^@/\s]*@)?{host}/([^/\s]+/[^/\s]+?)(?:\.git)?\s", said):
        return found[1]
    raise UserError("to which function?", "say --to OWNER/NAME, or be in a repository with a remote there")
