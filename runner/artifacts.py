"""Keeps what a rank wrote: regular files only, no links followed, within caps, by digest.

The box is dead and its output arrives as a tar, which is a stranger's bytes: it is read as a stream and
never unpacked; names from it go to the database and never become paths."""

import fcntl
import fnmatch
import hashlib
import os
import tarfile
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hermes.disk import held
from hermes.errors import Refused
from hermes.faultpoint import faultpoint
from hermes.paths import Paths
from hermes.units import show_size

_MAX_NAME = 1024


@dataclass(frozen=True)
class Kept:
    """One artifact: its path as the user wrote it, and where the bytes are (by digest)."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class ArtifactLimits:
    """The most that one rank may leave."""

    files: int
    size_bytes: int


def keep_artifacts(
    tar_path: Path, paths: Paths, limits: ArtifactLimits, wanted: Callable[[str], bool]
) -> Iterator[Kept]:
    """Store each wanted file of a tar. Raises Refused at the first that breaks a cap; what was kept stays."""
    files = total = 0
    with tarfile.open(tar_path, "r|*", encoding="utf-8", errors="replace") as tar:
        for member in tar:
            name = clean_name(member.name)
            if not member.isreg() or not name or not wanted(name):
                continue
            files, total = files + 1, total + member.size
            if files > limits.files:
                raise Refused(
                    f"more than {limits.files} artifacts; the rest is not kept", "write fewer files"
                )
            if total > limits.size_bytes:
                size = show_size(limits.size_bytes)
                raise Refused(
                    f"artifacts of more than {size}; {name} and the rest are not kept", "write less"
                )
            content = tar.extractfile(member)
            assert content is not None  # isreg
            yield _store(content, name, paths, tar_path.with_suffix(".artifact"))


def clean_name(name: str) -> str:
    """A path that is shown and offered as a file name: relative, no control or direction characters."""
    parts = [part for part in name.split("/") if part not in ("", ".", "..")]
    shown = "".join(c if unicodedata.category(c) not in ("Cc", "Cf", "Cs") else "_" for c in "/".join(parts))
    return shown[:_MAX_NAME]


def matches(patterns: list[str]) -> Callable[[str], bool]:
    """Whether a path is meant by one of these shell patterns."""
    return lambda name: any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _store(content: IO[bytes], name: str, paths: Paths, fresh: Path) -> Kept:
    digest, size = hashlib.sha256(), 0
    try:
        with fresh.open("wb") as file:
            while chunk := content.read(1 << 20):
                digest.update(chunk)
                size += len(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        faultpoint("artifact.written")
        target = paths.artifact(digest.hexdigest())
        target.parent.mkdir(parents=True, exist_ok=True)
        with held(target, fcntl.LOCK_SH):  # of the same digest another may be removed now (hermes.discard)
            fresh.replace(target)
        faultpoint("artifact.stored")
    finally:
        fresh.unlink(missing_ok=True)
    return Kept(name, size, digest.hexdigest())
