"""Packs that are bombs, lies or rubbish (reliability: bounded memory, git's own verification, our words)."""

import hashlib
from collections.abc import Callable, Iterator

from tests.hostile.case import Case
from tests.hostile.writer import (
    BLOB,
    COMMIT,
    FLUSH,
    MAIN,
    OFS_DELTA,
    REF_DELTA,
    TAG,
    TREE,
    Heap,
    back,
    command,
    commit,
    copies,
    entry,
    number,
    object_id,
    pack,
    request,
    start,
    tag,
    tree,
    with_makefile,
    zeros,
)

BIG = 600  # MiB
BROKEN = r"^ng refs/heads/main the pack is broken: "
NO_MEMORY = r"^ng refs/heads/main git has too little memory here for this push$"
ABSENT = r"^ng refs/heads/main .*(did not receive expected object|missing)"
NOWHERE = "12" * 20


def _id_of_zeros(mib: int) -> str:
    digest = hashlib.sha1(f"blob {mib << 20}\0".encode())
    for _ in range(mib):
        digest.update(bytes(1 << 20))
    return digest.hexdigest()


def _around(blob: str, *entries: bytes) -> bytes:
    """A push of a commit with one file, whose object is written by hand."""
    heap = Heap()
    sha = heap.commit((0o100644, b"file", blob))
    return request(sha, pack([*entries, *heap]))


def zeros_of_600_mib() -> bytes:
    """611 KB on the wire."""
    return _around(_id_of_zeros(BIG), zeros(BLOB, BIG))


def many_large() -> bytes:
    """Each within the bound, all together not."""
    sizes = range(50, 56)
    heap = Heap()
    files = ((0o100644, b"f%d" % mib, _id_of_zeros(mib)) for mib in sizes)
    sha = heap.commit(*files)
    return request(sha, pack([*(zeros(BLOB, mib) for mib in sizes), *heap]))


def says_10_bytes() -> bytes:
    """And inflates to 600 MB."""
    return _around(NOWHERE, zeros(BLOB, BIG, says=10))


def says_600_mib() -> bytes:
    """And has ten bytes."""
    return _around(NOWHERE, entry(BLOB, b"0123456789", says=BIG << 20))


def small_delta(times: int) -> Callable[[], bytes]:
    """A few hundred bytes that stand for `times` × 64 KiB."""

    def make() -> bytes:
        base = bytes(1 << 16)
        first = entry(BLOB, base)
        delta = entry(OFS_DELTA, copies(len(base), times), base=back(len(first)))
        return _around(_id_of_zeros(times >> 4) if times < 1 << 16 else NOWHERE, first, delta)

    return make


def delta_that_lies() -> bytes:
    """Its result is not as long as it says."""
    first = entry(BLOB, bytes(100))
    delta = number(100) + number(1 << 40) + b"\x90\x64"
    return _around(NOWHERE, first, entry(OFS_DELTA, delta, base=back(len(first))))


def many_objects(many: int, says: int | None = None) -> Callable[[], bytes]:
    """Tiny blobs, each another."""

    def make() -> bytes:
        heap = Heap()
        sha = heap.commit(with_makefile(heap))
        entries = [*(entry(BLOB, b"%d" % n, level=1) for n in range(many)), *heap]
        return request(sha, pack(entries, count=says))

    return make


def plain(manifest: bytes = b"") -> tuple[str, bytes]:
    """The smallest commit that is in order: its name and its pack."""
    heap = Heap()
    name = b"hermes.toml" if manifest else b"a"
    return heap.commit((0o100644, name, heap.put(BLOB, manifest or b"a\n"))), pack(heap)


def changed(change: Callable[[bytes], bytes]) -> Callable[[], bytes]:
    """The smallest pack, changed on its way."""

    def make() -> bytes:
        sha, packed = plain()
        return request(sha, change(packed))

    return make


def delta_on(kind: int, base: bytes) -> Callable[[], bytes]:
    """A delta whose base is not where it says."""
    return lambda: _around(NOWHERE, entry(kind, copies(100, 1), base=base))


def circle() -> bytes:
    """Two deltas that each stand on the other."""
    one, other = bytes.fromhex("aa" * 20), bytes.fromhex("bb" * 20)
    delta = copies(100, 1)
    return _around(NOWHERE, entry(REF_DELTA, delta, base=one), entry(REF_DELTA, delta, base=other))


def chain(deep: int) -> bytes:
    """A delta on a delta on a delta …; in order, apart from that."""
    content = b"x" * 96 + b"0000"
    entries = [entry(BLOB, content)]
    for n in range(1, deep):
        delta = number(100) + number(100) + b"\x90\x60\x04" + b"%04x" % n
        entries.append(entry(OFS_DELTA, delta, base=back(len(entries[-1])), level=1))
    last = object_id(BLOB, b"x" * 96 + b"%04x" % (deep - 1))
    return _around(last, *entries)


def raw(kind: int, content: bytes, ref: str = MAIN) -> Callable[[], bytes]:
    """A push of one object as it is, with an empty blob and an empty tree."""

    def make() -> bytes:
        heap = Heap()
        heap.put(BLOB, b"")
        heap.put(TREE, b"")
        return request(heap.put(kind, content), pack(heap), ref)

    return make


def in_commit(*entries: bytes) -> Callable[[], bytes]:
    """A push of a commit whose tree is these bytes."""

    def make() -> bytes:
        heap = Heap()
        heap.put(BLOB, b"")
        sha = heap.put(COMMIT, commit(heap.put(TREE, b"".join(entries))))
        return request(sha, pack(heap))

    return make


def tags(deep: int) -> bytes:
    """A tag of a tag of a tag … of a commit."""
    heap = Heap()
    name, kind = heap.commit((0o100644, b"a", heap.put(BLOB, b"a\n"))), "commit"
    for n in range(deep):
        name, kind = heap.put(TAG, tag(name, kind, f"t{n}")), "tag"
    return request(name, pack(heap), "refs/tags/tower")


def without(kind: int) -> Callable[[], bytes]:
    """A commit in whose pack something is left out."""

    def make() -> bytes:
        blob = b"left out\n"
        content = tree((0o100644, b"a", object_id(BLOB, blob)))
        top = commit(object_id(TREE, content))
        parts = [(BLOB, blob), (TREE, content), (COMMIT, top)]
        return request(object_id(COMMIT, top), pack(entry(k, c) for k, c in parts if k != kind))

    return make


def parentless() -> bytes:
    """A commit whose parent nobody has."""
    heap = Heap()
    sha = heap.put(COMMIT, commit(heap.put(TREE, b""), NOWHERE))
    return request(sha, pack(heap))


EMPTY_TREE, EMPTY_BLOB = object_id(TREE, b""), object_id(BLOB, b"")
GOOD_COMMIT = commit(EMPTY_TREE)


def _bombs() -> Iterator[Case]:
    limits = r"object [0-9a-f]{7} has "
    yield Case("600 MiB of zeros", zeros_of_600_mib, limits + r"600 MiB; at most 64 MiB$", is_heavy=True)
    yield Case("6 × 50 MiB of zeros", many_large, "are more than 256 MiB together, unpacked$", is_heavy=True)
    yield Case("inflates beyond what it says", says_10_bytes, BROKEN, is_heavy=True)
    yield Case("inflates to less than it says", says_600_mib, BROKEN)
    yield Case("delta of 100 MiB", small_delta(1600), limits + "100 MiB; at most 64 MiB$", is_heavy=True)
    yield Case("delta of 786 MB", small_delta(12_000), "^ng refs/heads/main .", is_heavy=True)
    yield Case("delta of 64 GiB", small_delta(1 << 20), NO_MEMORY, is_heavy=True)
    yield Case("delta that lies about its result", delta_that_lies, NO_MEMORY)
    too_many = r"^ng refs/heads/main the push has %d objects; at most 50000$"
    yield Case("200,000 objects", many_objects(200_000), too_many % 200_003)
    yield Case("2^32 - 1 objects", many_objects(1, 0xFFFFFFFF), too_many % 0xFFFFFFFF)
    yield Case("more objects than it says", many_objects(5000, 10), r"^ng refs/heads/main .")
    yield Case("fewer objects than it says", many_objects(10, 5000), BROKEN)
    yield Case("no objects", changed(lambda packed: pack([])), r"^ng refs/heads/main .")


def _broken() -> Iterator[Case]:
    yield Case("wrong trailer", changed(lambda p: p[:-1] + bytes([p[-1] ^ 1])), BROKEN)
    yield Case("version 9", changed(lambda p: p[:7] + b"\x09" + p[8:]), BROKEN + "version 9$")
    yield Case("version 3", changed(lambda p: p[:7] + b"\x03" + p[8:]), BROKEN)
    yield Case("no trailer", changed(lambda p: p[:-20]), BROKEN)
    yield Case("base that nobody has", delta_on(REF_DELTA, bytes(range(20))), BROKEN)
    yield Case("base at offset 0 before itself", delta_on(OFS_DELTA, back(0)), BROKEN)
    yield Case("base before the start", delta_on(OFS_DELTA, back(1 << 30)), BROKEN)
    yield Case("base in the header", delta_on(OFS_DELTA, back(12)), BROKEN)
    yield Case("base at an offset of 70 bits", delta_on(OFS_DELTA, b"\xff" * 10 + b"\x7f"), BROKEN)
    yield Case("deltas in a circle", circle, BROKEN)
    yield Case("kind 0", lambda: _around(NOWHERE, start(0, 1) + entry(BLOB, b"a")[1:]), BROKEN)
    yield Case("kind 5", lambda: _around(NOWHERE, start(5, 1) + entry(BLOB, b"a")[1:]), BROKEN)
    yield Case("a size of 100 digits", lambda: _around(NOWHERE, b"\xbf" + b"\xff" * 100 + b"\x01"), BROKEN)
    yield Case("no zlib", lambda: _around(NOWHERE, start(BLOB, 9) + b"no zlib at all"), BROKEN)


def _objects() -> Iterator[Case]:
    for name, content in {
        "empty commit": b"",
        "commit without a tree": GOOD_COMMIT[46:],
        "commit of a tree that is none": GOOD_COMMIT.replace(EMPTY_TREE.encode(), b"x" * 40),
        "commit of an abbreviated tree": GOOD_COMMIT.replace(EMPTY_TREE.encode(), b"1234567"),
        "commit of nobody": GOOD_COMMIT.replace(b"author", b"nobody"),
        "commit of a name without an end": GOOD_COMMIT.replace(b"<eve@example.org>", b"<<"),
        "commit with a NUL in its head": GOOD_COMMIT.replace(b"Eve", b"E\0e"),
        "commit at no time": GOOD_COMMIT.replace(b"1700000000", b"then"),
        "commit at the end of time": GOOD_COMMIT.replace(b"1700000000", b"9" * 40),
        "commit with a broken parent": commit(EMPTY_TREE, "zz" * 20),
    }.items():
        yield Case(name, raw(COMMIT, content), BROKEN)
    for name, content in {
        "tree cut in an object": b"100644 a\0" + b"\x12" * 19,
        "tree cut in a name": b"100644 a",
        "tree of words": b"this is no tree",
        "tree with a mode that is no number": b"1x0644 a\0" + bytes.fromhex(EMPTY_BLOB),
        "tree without a mode": b"a\0" + bytes.fromhex(EMPTY_BLOB),
        "tree of null objects": b"100644 a\0" + bytes(20),
    }.items():
        yield Case(name, in_commit(content), r"^ng refs/heads/main .")
    yield Case("commit without its tree", without(TREE), ABSENT)
    yield Case("commit without its file", without(BLOB), ABSENT)
    yield Case("push without its commit", without(COMMIT), r"^ng refs/heads/main .*(missing|not in the push)")
    yield Case("commit without its parent", parentless, ABSENT)
    yield Case(
        "branch that is a blob", raw(BLOB, b"a blob\n"), r"^ng refs/heads/main [0-9a-f]{7} is not a commit$"
    )
    yield Case("branch that is a tree", raw(TREE, b""), r"^ng refs/heads/main [0-9a-f]{7} is not a commit$")
    a_tag = tag(EMPTY_BLOB, "blob", "v1")
    yield Case("branch that is a tag", raw(TAG, a_tag), r"^ng refs/heads/main [0-9a-f]{7} is not a commit$")
    yield Case(
        "tag of another kind", raw(TAG, tag(EMPTY_BLOB, "tree", "v1"), "refs/tags/v1"), r"^ng refs/tags/v1 ."
    )
    yield Case("tag of nothing", raw(TAG, b"", "refs/tags/v1"), r"^ng refs/tags/v1 the pack is broken: ")


def cases() -> Iterator[Case]:
    """All packs that are refused."""
    yield from _bombs()
    yield from _broken()
    yield from _objects()
    yield Case("commands and nothing behind", lambda: command(NOWHERE) + FLUSH, BROKEN)
