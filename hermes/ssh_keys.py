"""Public keys of users: read, kept, found by fingerprint."""

import time

import asyncssh
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.errors import NotFound, UserError
from hermes.tables import SshKey, User

_MAX_TEXT = 20_000
_MIN_RSA_BITS = 2048
_USED_EVERY_S = 60.0
_KINDS = (b"ssh-ed25519", b"ecdsa-", b"ssh-rsa", b"sk-")


def read_key(text: str) -> tuple[asyncssh.SSHKey, str]:
    """The key and its comment from a line as in `~/.ssh/id_ed25519.pub`. Raises UserError in words."""
    hint = "paste the one line of a file such as ~/.ssh/id_ed25519.pub (made by ssh-keygen)"
    line = text.strip()
    if "PRIVATE KEY" in line:
        raise UserError("this is a private key: it must never leave your machine", hint)
    if len(line) > _MAX_TEXT or "\n" in line:
        raise UserError("a public key is one line", hint)
    try:
        key = asyncssh.import_public_key(line)
    except (asyncssh.KeyImportError, ValueError):
        raise UserError("this is not a public key of OpenSSH", hint) from None
    if not key.algorithm.startswith(_KINDS):
        raise UserError(
            f"keys of the kind {key.algorithm.decode()} are not accepted", "ssh-keygen -t ed25519"
        )
    if key.algorithm == b"ssh-rsa" and _rsa_bits(key) < _MIN_RSA_BITS:
        raise UserError(f"an RSA key needs at least {_MIN_RSA_BITS} bits", "ssh-keygen -t ed25519")
    comment = key.get_comment() or ""
    return key, comment


def _rsa_bits(key: asyncssh.SSHKey) -> int:
    """From the length of the modulus in the wire form (RFC 4253, 6.6): type, exponent, modulus."""
    data, fields = key.public_data, []
    while data:
        size = int.from_bytes(data[:4])
        fields.append(data[4 : 4 + size])
        data = data[4 + size :]
    return int.from_bytes(fields[2]).bit_length()


async def add_key(session: AsyncSession, user: User, text: str, name: str = "") -> SshKey:
    """Keep a public key. Raises UserError when it cannot be read or somebody has it already."""
    key, comment = read_key(text)
    name = (name or comment or "a key").strip()[:100]
    row = SshKey(
        user_id=user.id,
        fingerprint=key.get_fingerprint(),
        public_key=" ".join(key.export_public_key("openssh").decode().split()[:2]),
        name=name if name.isprintable() else "a key",
        created_at=time.time(),
    )
    try:
        async with session.begin_nested():
            session.add(row)
    except IntegrityError:
        raise UserError(
            f"the key {key.get_fingerprint()} is in use already", "one key signs one account in: make another"
        ) from None
    return row


async def list_keys(session: AsyncSession, user: User) -> list[SshKey]:
    """A user's keys, the newest first."""
    rows = await session.scalars(select(SshKey).where(SshKey.user_id == user.id).order_by(SshKey.id.desc()))
    return list(rows.all())


async def remove_key(session: AsyncSession, user: User, key_id: int) -> SshKey:
    """The key signs nobody in any more. Raises NotFound."""
    row = await session.get(SshKey, key_id)
    if row is None or row.user_id != user.id:
        raise NotFound("there is no such key of yours")
    await session.delete(row)
    return row


async def owner_of_key(session: AsyncSession, fingerprint: str) -> tuple[User, SshKey] | None:
    """Whom this key signs in."""
    found = select(User, SshKey).join(SshKey, SshKey.user_id == User.id)
    found = found.where(SshKey.fingerprint == fingerprint, User.disabled_at.is_(None))
    row = (await session.execute(found)).first()
    return None if row is None else (row[0], row[1])


def is_stale(key: SshKey) -> bool:
    """Whether `last_used_at` is old enough to be worth a write."""
    return (key.last_used_at or 0) < time.time() - _USED_EVERY_S


async def mark_used(session: AsyncSession, key: SshKey) -> None:
    """Remember that the key works."""
    await session.execute(update(SshKey).where(SshKey.id == key.id).values(last_used_at=time.time()))
