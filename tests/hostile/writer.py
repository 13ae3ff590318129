"""Git objects and packs by hand, so that they can be wrong in every way that git would not write them.

Formats: https://git-scm.com/docs/gitformat-pack and the tree, commit and tag objects of git-scm.com/book."""

import hashlib
import struct
import zlib
from collections.abc import Iterable, Iterator

from dulwich.protocol import pkt_line

COMMIT, TREE, BLOB, TAG, OFS_DELTA, REF_DELTA = 1, 2, 3, 4, 6, 7
NAMES = {COMMIT: "commit", TREE: "tree", BLOB: "blob", TAG: "tag"}
ZEROS = "0" * 40
FLUSH = b"0000"
CAN = "report-status side-band-64k agent=hostile"
PERSON = "Eve <eve@example.org> 1700000000 +0000"
MAIN = "refs/heads/main"


def object_id(kind: int, content: bytes) -> str:
    """The name that git gives to this content."""
    return hashlib.sha1(f"{NAMES[kind]} {len(content)}\0".encode() + content).hexdigest()


def number(value: int) -> bytes:
    """A size inside a delta: seven bits a byte, lowest first."""
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])


def start(kind: int, size: int) -> bytes:
    """What stands before each object of a pack: its kind and its inflated size."""
    first, rest = kind << 4 | size & 15, size >> 4
    return bytes([first | 0x80]) + number(rest) if rest else bytes([first])


def back(distance: int) -> bytes:
    """How far before itself the base of an OFS_DELTA begins."""
    made = [distance & 0x7F]
    while distance := distance >> 7:
        distance -= 1
        made.insert(0, distance & 0x7F | 0x80)
    return bytes(made)


def entry(kind: int, content: bytes, *, says: int | None = None, base: bytes = b"", level: int = 9) -> bytes:
    """One object of a pack; `says` is its size when it lies about it, `base` what a delta names."""
    size = len(content) if says is None else says
    return start(kind, size) + base + zlib.compress(content, level)


def deflated_zeros(mib: int) -> bytes:
    """So many MiB of zeros as raw deflate. A full flush makes every MiB the same thousand bytes."""
    squeeze = zlib.compressobj(9, wbits=-15)
    squeeze.compress(b"\0")
    squeeze.flush(zlib.Z_FULL_FLUSH)
    one = squeeze.compress(bytes(1 << 20)) + squeeze.flush(zlib.Z_FULL_FLUSH)
    return one * mib + b"\x03\x00"


def zeros(kind: int, mib: int, says: int | None = None) -> bytes:
    """An object of so many MiB of zeros, made without ever having them."""
    size = mib << 20
    adler = (size % 65521) << 16 | 1
    whole = b"\x78\xda" + deflated_zeros(mib) + struct.pack(">I", adler)
    return start(kind, size if says is None else says) + whole


def copies(base_bytes: int, times: int) -> bytes:
    """A delta whose result is the base so many times over: four bytes each."""
    copy = b"\xf0" + struct.pack("<I", base_bytes)[:3]  # from offset 0, three bytes of length
    return number(base_bytes) + number(base_bytes * times) + copy * times


def pack(entries: Iterable[bytes], *, count: int | None = None, version: int = 2) -> bytes:
    """A whole pack with its trailer."""
    parts = list(entries)
    body = b"PACK" + struct.pack(">II", version, len(parts) if count is None else count) + b"".join(parts)
    return body + hashlib.sha1(body).digest()


def tree(*files: tuple[int, bytes, str], width: int = 0) -> bytes:
    """A tree, its entries in the order given: (mode, name, object)."""
    return b"".join(
        f"{mode:0{width}o} ".encode() + name + b"\0" + bytes.fromhex(sha) for mode, name, sha in files
    )


def commit(tree_id: str, *parents: str, message: str = "hostile") -> bytes:
    """A commit of Eve's."""
    lines = [
        f"tree {tree_id}",
        *(f"parent {each}" for each in parents),
        f"author {PERSON}",
        f"committer {PERSON}",
    ]
    return "\n".join([*lines, "", message, ""]).encode()


def tag(target: str, kind: str, name: str) -> bytes:
    """An annotated tag."""
    return f"object {target}\ntype {kind}\ntag {name}\ntagger {PERSON}\n\nhostile\n".encode()


class Heap:
    """Objects for one pack, each once."""

    def __init__(self) -> None:
        self._entries: dict[str, bytes] = {}

    def put(self, kind: int, content: bytes) -> str:
        """Keep an object; returns its name."""
        name = object_id(kind, content)
        self._entries.setdefault(name, entry(kind, content))
        return name

    def put_like(self, kind: int, base: bytes, skip: int, head: bytes) -> tuple[str, bytes]:
        """Keep `head + base[skip:]` as a delta on an object that is kept already; its name, and itself."""
        content = head + base[skip:]
        copy = b"\xff" + struct.pack("<I", skip) + struct.pack("<I", len(base) - skip)[:3]
        delta = number(len(base)) + number(len(content)) + bytes([len(head)]) + head + copy
        name, on = object_id(kind, content), bytes.fromhex(object_id(kind, base))
        self._entries.setdefault(name, entry(REF_DELTA, delta, base=on))
        return name, content

    def commit(self, *files: tuple[int, bytes, str], message: str = "hostile") -> str:
        """Keep a tree of these files and a commit of it; returns the commit's name."""
        return self.put(COMMIT, commit(self.put(TREE, tree(*files)), message=message))

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._entries.values())


def command(new: str, ref: str | bytes = MAIN, old: str = ZEROS, can: str = CAN) -> bytes:
    """One line of what a push asks for."""
    name = ref.encode() if isinstance(ref, str) else ref
    return pkt_line(f"{old} {new} ".encode() + name + b"\0" + can.encode())


def request(new: str, packed: bytes, ref: str | bytes = MAIN, *, options: tuple[str, ...] = ()) -> bytes:
    """The whole body of a push of one ref."""
    can = CAN + " push-options" if options else CAN
    words = b"".join(pkt_line(each.encode()) for each in options) + FLUSH if options else b""
    return command(new, ref, can=can) + FLUSH + words + packed


def with_makefile(heap: Heap) -> tuple[int, bytes, str]:
    """The file without which nothing is built."""
    return 0o100644, b"Makefile", heap.put(BLOB, b"all:\n\t@true\nrun:\n\t@true\n")
