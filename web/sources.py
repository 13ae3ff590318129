"""What the source pages show: read from a repository by blocking calls within bounds."""

import re
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from hermes.objects import open_objects
from hermes.sources import Node, entries, find_node

MAX_SHOWN_BYTES = 1 << 20
_MAX_LINES = 20_000
_MAX_ENTRIES = 1000
_CHUNK_BYTES = 1 << 17
_LOOK_BYTES = 8000  # as git does: a NUL among them, and it is no text
#: Characters that turn the order of what follows: source that shows other than it says (CVE-2021-42574).
_TURNS = re.compile("[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]")


@dataclass(frozen=True)
class Entry:
    """A line of a folder."""

    name: str
    address: str  # relative to the folder
    what: str  # folder, file, link or submodule
    size_bytes: int | None


@dataclass(frozen=True)
class Folder:
    """What is in it, folders first."""

    sha: str
    entries: list[Entry]
    total: int


@dataclass(frozen=True)
class File:
    """`text` is None when it is not shown, and `why` says why not."""

    sha: str
    size_bytes: int
    what: str
    text: str | None
    why: str = ""


def split_path(raw: bytes) -> list[bytes]:
    """The parts of a path as it stands in an address, percent signs and all."""
    return [part for part in unquote_to_bytes(raw).split(b"/") if part not in (b"", b".")]


def address_of(parts: list[bytes]) -> str:
    """The same, to be put into an address."""
    return "/".join(quote(part, safe="") for part in parts)


def path_in_tree(named: str) -> str:
    """Of a file that a compiler names: relative to the tree, or below /app, where trees are built.
    Empty: it is none of the repository's."""
    parts: list[str] = []
    for part in named.removeprefix("/app/").split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part == ".." or (not part and not parts):
            return ""
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def source_url(repo: str, sha: str, path: str, line: int = 0) -> str | None:
    """The page of a file that a compiler names; None: it is none of the repository's."""
    inside = path_in_tree(path)
    if not inside:
        return None
    address = quote(inside, safe="/", errors="surrogateescape")
    return f"/{repo}/source/{sha}/{address}" + (f"#L{line}" if line else "")


def read_source(repo: Path, commit: str, path: list[bytes]) -> Folder | File:
    """Blocks. Raises NotFound."""
    with open_objects(repo) as objects:
        node = find_node(objects, commit, path)
        if node.is_folder:
            found = entries(objects, node)
            listed = sorted(found, key=lambda each: not each.is_folder)[:_MAX_ENTRIES]
            sizes = objects.sizes([each.sha for each in listed if _what(each) in ("file", "link")])
            return Folder(node.sha, [_entry(each, sizes.get(each.sha)) for each in listed], len(found))
        if node.is_submodule:
            return File(
                node.sha, 0, "submodule", None, f"a submodule: commit {node.sha} of another repository"
            )
        size_bytes = objects.sizes([node.sha])[node.sha]
        if size_bytes > MAX_SHOWN_BYTES:
            return File(node.sha, size_bytes, _what(node), None, "too large to show")
        return _file(node, objects.read(node.sha, MAX_SHOWN_BYTES))


def read_raw(repo: Path, sha: str) -> Generator[bytes]:
    """The bytes of a blob in pieces. Blocks. Close it, or its child lives on."""
    with open_objects(repo) as objects, objects.open(sha) as (info, stream):
        left = info.size_bytes
        while left:
            piece = stream.read(min(left, _CHUNK_BYTES))
            if not piece:
                return
            left -= len(piece)
            yield piece


def _what(node: Node) -> str:
    if node.is_folder:
        return "folder"
    if node.is_submodule:
        return "submodule"
    return "link" if node.is_link else "file"


def _entry(node: Node, size_bytes: int | None) -> Entry:
    name = _visible(node.name.decode("utf-8", "replace"))
    return Entry(name, quote(node.name, safe=""), _what(node), size_bytes)


def _file(node: Node, data: bytes) -> File:
    what = _what(node)
    if b"\0" in data[:_LOOK_BYTES]:
        return File(node.sha, len(data), what, None, "a binary file")
    text = _visible(data.decode("utf-8-sig", "replace").replace("\r\n", "\n").replace("\r", "\n"))
    if text.count("\n") > _MAX_LINES:
        return File(node.sha, len(data), what, None, f"more than {_MAX_LINES} lines, too many to show")
    return File(node.sha, len(data), what, text.removesuffix("\n"))


def _visible(text: str) -> str:
    """Nothing in it turns the order of what is shown."""
    return _TURNS.sub(lambda found: f"[U+{ord(found[0]):04X}]", text)
