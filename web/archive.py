"""A zip of stored files, made while it is sent: nothing is compressed, kept in memory or written to disk."""

import io
import time
import zipfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

_CHUNK_BYTES = 1 << 18
_OLDEST = 315_619_200.0  # 1980, before which zip knows no time


@dataclass(frozen=True)
class Member:
    """One file."""

    name: str
    path: Path
    size_bytes: int
    at: float


class _Outbox(io.RawIOBase):
    """Takes what zipfile writes, until somebody fetches it."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        self._parts.append(bytes(data))
        return len(data)

    def fetch(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


def safe_name(name: str, taken: set[str]) -> str:
    """A relative path without tricks that no other member has."""
    parts = [part for part in name.replace("\\", "/").split("/") if part.strip(". ")]
    clean = "".join("_" if ord(c) < 32 or c in ':*?"<>|' else c for c in "/".join(parts)) or "file"
    unique, copy = clean, 1
    while unique in taken:
        copy += 1
        unique = f"{clean}~{copy}"
    taken.add(unique)
    return unique


def archive(members: list[Member]) -> Generator[bytes]:
    """The bytes of the zip. A file that is gone is left out."""
    outbox, taken = _Outbox(), set[str]()
    with zipfile.ZipFile(outbox, "w", zipfile.ZIP_STORED) as zipped:
        for member in members:
            yield from _add(zipped, outbox, member, safe_name(member.name, taken))
    yield outbox.fetch()


def _add(zipped: zipfile.ZipFile, outbox: _Outbox, member: Member, name: str) -> Generator[bytes]:
    info = zipfile.ZipInfo(name, time.gmtime(max(member.at, _OLDEST))[:6])
    info.file_size = member.size_bytes
    info.external_attr = 0o644 << 16
    try:
        source = member.path.open("rb")
    except FileNotFoundError:
        return
    with source, zipped.open(info, "w") as target:
        while chunk := source.read(_CHUNK_BYTES):
            target.write(chunk)
            yield outbox.fetch()
