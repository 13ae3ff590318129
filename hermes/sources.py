"""A file or a folder of a commit, found by its path, straight from the object store.

The path is walked through tree objects; it never becomes an argument of git."""

from collections.abc import Sequence
from typing import NamedTuple

from hermes.errors import NotFound
from hermes.objects import Objects
from hermes.tree_entries import FOLDER, GITLINK, SYMLINK, parse_tree

_MAX_TREE_BYTES = 4 << 20
_MAX_DEPTH = 64


class Node(NamedTuple):
    """An entry of a folder, or the folder at the top, whose name is empty."""

    mode: int
    name: bytes
    sha: str

    @property
    def is_folder(self) -> bool:
        """It has entries of its own."""
        return self.mode == FOLDER

    @property
    def is_link(self) -> bool:
        """A symbolic link."""
        return self.mode == SYMLINK

    @property
    def is_submodule(self) -> bool:
        """A commit of another repository."""
        return self.mode == GITLINK


def find_node(objects: Objects, commit: str, path: Sequence[bytes]) -> Node:
    """Raises NotFound, and Refused for a tree that is malformed or too large to read."""
    info = objects.info(commit)
    if info is None or info.kind != "commit":
        raise NotFound(f"there is no commit {commit[:12]} in this repository")
    at = Node(FOLDER, b"", f"{commit}^{{tree}}")
    for name in path if len(path) <= _MAX_DEPTH else [b""]:
        found = (
            next((each for each in entries(objects, at) if each.name == name), None) if at.is_folder else None
        )
        if found is None:
            shown = b"/".join(path).decode("utf-8", "replace")[:130]
            raise NotFound(f"commit {commit[:12]} has no {shown}")
        at = found
    return at


def entries(objects: Objects, folder: Node) -> list[Node]:
    """In git's order."""
    data = objects.read(folder.sha, _MAX_TREE_BYTES)
    return [Node(mode, name, sha) for mode, name, sha in parse_tree(data)]
