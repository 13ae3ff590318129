"""The entries of one tree object, as git writes them: mode, name, NUL and the 20 bytes of an object id."""

import re
from collections.abc import Iterator
from itertools import islice

from hermes.errors import Refused

FOLDER, SYMLINK, GITLINK = 0o040000, 0o120000, 0o160000  # modes
_ENTRY = re.compile(rb"([0-7]+) ([^\0]*)\0(.{20})", re.DOTALL)
_FIXED_BYTES = 22  # of an entry: a space, NUL, the object id


def read_entries(data: bytes, most: int) -> list[tuple[bytes, bytes, bytes]]:
    """(mode, name, object) of a tree object. Raises Refused for bytes that are none, or for too many."""
    could_be = len(data) // _FIXED_BYTES
    if could_be > 2 * most and sum(1 for _ in islice(_ENTRY.finditer(data), 2 * most + 1)) > 2 * most:
        raise too_many(most)  # counted first: together they would fill the memory
    found = _ENTRY.findall(data)
    if sum([len(mode) + len(name) for mode, name, _ in found]) + _FIXED_BYTES * len(found) != len(data):
        raise Refused("a tree of the commit is malformed", "git fsck in your repository")
    return found


def parse_tree(data: bytes) -> Iterator[tuple[int, bytes, str]]:
    """(mode, name, id) of the entries of a tree object. Raises Refused for bytes that are none."""
    return ((int(mode, 8), name, sha.hex()) for mode, name, sha in read_entries(data, len(data)))


def too_many(most: int) -> Refused:
    """Of a tree with more files than that."""
    return Refused(f"the commit has more than {most} files", "push fewer, or raise HERMES_TREE_FILES")
