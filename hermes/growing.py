"""A file that comes in parts: what is on disk is where its sender goes on, also after a restart of ours."""

import asyncio
import base64
import binascii
import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from hermes.disk import begin_sync, sync
from hermes.errors import NotFound, UserError
from hermes.paths import Paths
from hermes.threads import in_thread

_GATHER_BYTES, _BEGIN_BYTES, _PIECE_BYTES = 1 << 20, 8 << 20, 1 << 20


class Busy(UserError):
    """Somebody else writes to it at this moment."""

    code = "locked"
    status = 423


class Growing:
    """Open at its end, and nobody else's meanwhile. `close` it."""

    def __init__(self, path: Path) -> None:
        """Raises NotFound, Busy."""
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        except FileNotFoundError:
            raise NotFound("what came of this upload was removed", "begin it anew") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise Busy("another request goes on with this upload", "ask again in a second") from None
        self.path, self.size_bytes = path, os.fstat(self._descriptor).st_size
        self._begun_bytes, self._held, self._held_bytes = self.size_bytes, list[bytes](), 0

    async def write(self, data: bytes) -> None:
        """More of it."""
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes >= _GATHER_BYTES:
            await self._flush()

    async def settle(self, *, is_whole: bool) -> None:
        """What came is on disk; a whole file changes no more."""
        await self._flush()
        await in_thread(self._sync, is_whole)

    def close(self) -> None:
        """Somebody else may go on."""
        os.close(self._descriptor)

    async def _flush(self) -> None:
        held, self._held, self._held_bytes = b"".join(self._held), [], 0
        if held:
            await asyncio.shield(in_thread(self._append, held))

    def _append(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            written = os.write(self._descriptor, left)
            left = left[written:]
            self.size_bytes += written
        if self.size_bytes >= self._begun_bytes + _BEGIN_BYTES:
            begin_sync(self._descriptor, self._begun_bytes, self.size_bytes - self._begun_bytes)
            self._begun_bytes = self.size_bytes

    def _sync(self, is_whole: bool) -> None:
        if is_whole:
            os.fchmod(self._descriptor, 0o444)  # a program with another uid reads it
        os.fsync(self._descriptor)


def make_growing(paths: Paths) -> str:
    """An empty one; returns its token."""
    token = secrets.token_hex(16)
    path = paths.input(token)
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    sync([path.parent])
    return token


def sha256_of(path: Path) -> str:
    """In hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


async def check_digest(path: Path, said: str) -> None:
    """Raises UserError where a file is not what its sender says; `said` may be nothing."""
    if said and (found := await in_thread(sha256_of, path)) != said:
        raise UserError(f"the file came with the SHA-256 {found}, and was to have {said}", "send it again")


def said_digest(headers: Mapping[str, str]) -> str:
    """What a sender says of its file: `Repr-Digest`, `Content-Digest` (RFC 9530) or `X-Checksum-Sha256`.
    Raises UserError."""
    if plain := headers.get("x-checksum-sha256", "").strip().lower():
        if not re.fullmatch(r"[0-9a-f]{64}", plain):
            raise UserError("X-Checksum-Sha256 has 64 hexadecimal digits", "sha256sum prints them")
        return plain
    for name in ("repr-digest", "content-digest"):
        if text := headers.get(name, ""):
            return _of_field(text)
    return ""


def _of_field(text: str) -> str:
    found = re.search(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]+):", text)
    try:
        digest = base64.b64decode(found[1], validate=True) if found else b""
    except binascii.Error:
        digest = b""
    if len(digest) != hashlib.sha256().digest_size:
        raise UserError("the digest of the file has no sha-256", "write `sha-256=:BASE64:` (RFC 9530)")
    return digest.hex()
