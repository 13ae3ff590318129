"""Requests and trees by chance (hypothesis): some of anything, most of them nearly in order."""

import hashlib
import os
import subprocess
import tempfile
from functools import cache

from hypothesis import strategies as st

from tests.hostile import packs
from tests.hostile.trees import FILE, FOLDER, LINK, MODULE, PROGRAM, Fill, sorted_tree
from tests.hostile.writer import (
    BLOB,
    COMMIT,
    FLUSH,
    TREE,
    Heap,
    command,
    commit,
    pack,
    request,
    with_makefile,
)
from tests.service import GIT_ENV

MANIFEST = b'handler = "sh main.sh"\n[on]\npush = []\n[run]\nargs = ["1", "{n}"]\ntimeout = "5m"\n'


@st.composite
def edits(draw: st.DrawFn, data: bytes, most: int = 3) -> bytes:
    """Bytes with some of them flipped, left out, doubled, overwritten, or cut off."""
    for _ in range(draw(st.integers(1, most))):
        at = draw(st.integers(0, len(data)))
        size = draw(st.integers(0, 40))
        kind = draw(st.sampled_from(["flip", "leave out", "double", "overwrite", "insert", "cut", "move"]))
        head, part, rest = data[:at], data[at : at + size], data[at + size :]
        if kind == "flip" and at < len(data):
            data = head + bytes([data[at] ^ 1 << draw(st.integers(0, 7))]) + data[at + 1 :]
        elif kind in ("overwrite", "insert"):
            new = draw(st.binary(min_size=1, max_size=20))
            data = head + new + (rest if kind == "overwrite" else part + rest)
        elif kind == "move":
            to = draw(st.integers(0, len(head + rest)))
            data = (head + rest)[:to] + part + (head + rest)[to:]
        else:
            data = {"leave out": head + rest, "double": head + part * 2 + rest, "cut": head}.get(kind, data)
    return data


def changed(whole: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """What another strategy makes, with edits."""
    return whole.flatmap(edits)


def lines() -> st.SearchStrategy[bytes]:
    """Lines of git's protocol, with lengths that are right or wrong."""
    piece = st.one_of(
        st.just(FLUSH),
        st.binary(max_size=30),
        st.sampled_from([command("1" * 40), command("0" * 40), b"0004", b"0005a", b"fff0", b"FFF0", b"0_10"]),
        st.builds(lambda size, data: b"%04x" % size + data, st.integers(0, 0xFFFF), st.binary(max_size=200)),
        st.binary(max_size=60).map(lambda data: b"%04x" % (len(data) + 4) + data),
    )
    return st.lists(piece, max_size=8).map(b"".join)


@cache
def _by_git() -> tuple[str, bytes]:
    """A pack with deltas as git itself makes it: of two commits, a tag and a tree with folders."""
    dates = {"GIT_AUTHOR_DATE": "1700000000 +0000", "GIT_COMMITTER_DATE": "1700000000 +0000"}
    with tempfile.TemporaryDirectory() as folder:

        def git(*args: str, data: bytes = b"") -> bytes:
            env = os.environ | GIT_ENV | dates
            return subprocess.run(
                ["git", *args], cwd=folder, env=env, input=data, capture_output=True, check=True
            ).stdout

        git("init", "-q", "-b", "main")
        os.makedirs(f"{folder}/src/deep")
        for number in range(2):
            for name in ("Makefile", "src/a.txt", "src/deep/b.txt"):
                with open(f"{folder}/{name}", "w") as file:
                    file.write("".join(f"{name} {line}\n" for line in range(50 + number)))
            git("add", "-A")
            git("commit", "-q", "-m", f"commit {number}")
        packed = git("pack-objects", "--revs", "--stdout", "-q", data=b"HEAD\n")
        return git("rev-parse", "HEAD").decode().strip(), packed


@cache
def _whole() -> tuple[tuple[bytes, bytes], ...]:
    """Pushes that are in order: head and pack."""
    plain, plain_pack = packs.plain()
    quiet, quiet_pack = packs.plain(MANIFEST)
    real, real_pack = _by_git()
    chained = packs.chain(4)
    at = chained.index(b"PACK")
    two = command(real) + b"%04x" % (4 + 81 + 12) + f"{'0' * 40} {real} refs/tags/v1".encode() + FLUSH
    return (
        (request(plain, b"", options=("skip",)), plain_pack),
        (request(quiet, b"", options=("detach", "n=5")), quiet_pack),
        (request(real, b"", options=("skip",)), real_pack),
        (request(real, b"", "refs/tags/v1"), real_pack),
        (two, real_pack),
        (chained[:at], chained[at:]),
    )


@st.composite
def _edited(draw: st.DrawFn) -> bytes:
    """A push with edits anywhere."""
    head, packed = draw(st.sampled_from(_whole()))
    where = draw(st.sampled_from(["head", "pack", "both", "splice"]))
    if where == "head":
        return draw(edits(head)) + packed
    if where == "pack":
        return head + draw(edits(packed))
    if where == "both":
        return draw(edits(head + packed))
    other_head, other_pack = draw(st.sampled_from(_whole()))
    return other_head + packed if draw(st.booleans()) else head + packed[: len(packed) // 2] + other_pack


@st.composite
def _resummed(draw: st.DrawFn) -> bytes:
    """A push whose pack has edits and a trailer that fits them: git looks deeper."""
    head, packed = draw(st.sampled_from(_whole()))
    body = draw(edits(packed[:-20], most=2))
    return head + body + hashlib.sha1(body).digest()


@st.composite
def _rebuilt(draw: st.DrawFn) -> bytes:
    """A push of objects that have edits and are packed in order: only their content is odd."""
    odd = draw(st.sampled_from(["manifest", "tree", "commit"]))

    def perhaps(kind: str, content: bytes) -> bytes:
        return draw(edits(content, most=2)) if kind == odd else content

    heap = Heap()
    manifest = heap.put(BLOB, perhaps("manifest", MANIFEST))
    top = sorted_tree(with_makefile(heap), (FILE, b"hermes.toml", manifest))
    made = commit(heap.put(TREE, perhaps("tree", top)))
    sha = heap.put(COMMIT, perhaps("commit", made))
    return request(sha, pack(heap), options=draw(st.sampled_from([(), ("detach",), ("skip",)])))


def pushes() -> st.SearchStrategy[bytes]:
    """Bodies of pushes, hardly any of them in order."""
    return st.one_of(_edited(), _resummed(), _rebuilt())


_ODD_NAMES = [
    *(
        b".",
        b"..",
        b".git",
        b".GIT",
        b"git~1",
        b".gitmodules",
        b".gitattributes",
        b"Makefile",
        b"hermes.toml",
    ),
    *(b"a", b"A", b"a.", b"-", b"\\", b"con", b"\xff", b"\xc3\xa9", b"e\xcc\x81", b"n" * 255, b"n" * 256),
]
_NAMES = st.one_of(
    st.sampled_from(_ODD_NAMES),
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20).map(
        str.encode
    ),
    st.binary(min_size=1, max_size=12).map(lambda name: name.replace(b"\0", b"-")),
)
_MODES = st.sampled_from([FILE] * 6 + [PROGRAM, LINK, MODULE, 0o100664, 0o100600, 0o020644, 0o104755, 0])
_CONTENTS = st.one_of(st.binary(max_size=40), st.sampled_from([b"../../etc", b"/etc", b"a/../b", b"a"]))


def _fill(files: list[tuple[bytes, int, bytes]], folders: dict[bytes, Fill]) -> Fill:
    def make(heap: Heap) -> list[tuple[int, bytes, str]]:
        found = [(mode, name, heap.put(BLOB, content)) for name, mode, content in files]
        inside = [(FOLDER, name, heap.put(TREE, sorted_tree(*fill(heap)))) for name, fill in folders.items()]
        return found + inside

    return make


def random_trees() -> st.SearchStrategy[Fill]:
    """What stands beside a Makefile and a manifest."""
    files = st.lists(st.tuples(_NAMES, _MODES, _CONTENTS), max_size=5, unique_by=lambda file: file[0])
    return st.recursive(
        st.builds(_fill, files, st.just({})),
        lambda inner: st.builds(_fill, files, st.dictionaries(_NAMES, inner, max_size=2)),
        max_leaves=6,
    )
