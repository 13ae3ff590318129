"""What the service itself must be able to read again and nobody else: tokens and keys that users lend it.

Encrypted with the key of all secrets (hermes.secret_keys), by a name that says whose it is
(`upstream 3 token`); never shown, never part of an answer."""

import time
from pathlib import Path

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from hermes.columns import Base
from hermes.errors import Unavailable
from hermes.secret_keys import decrypt, encrypt, make_key
from hermes.secret_store import Secret
from hermes.threads import in_thread


class Sealed(Base):
    """One value."""

    __tablename__ = "sealed"
    name: Mapped[str] = mapped_column(primary_key=True)
    ciphertext: Mapped[str]
    updated_at: Mapped[float]


async def seal(session: AsyncSession, key: Path, name: str, value: str) -> None:
    """Keep it, in place of what had this name. `key`: the file, made with the first value; raises Unavailable
    when it is gone."""
    if not await in_thread(key.exists):
        await _need_new_key(session, key)
    ciphertext = await in_thread(encrypt, key, value)
    await session.merge(Sealed(name=name, ciphertext=ciphertext, updated_at=time.time()))


async def unseal(session: AsyncSession, key: Path, name: str) -> str:
    """The value, "" if there is none of this name. Raises Unavailable when the key does not fit."""
    row = await session.get(Sealed, name)
    return "" if row is None else await in_thread(decrypt, key, name, row.ciphertext)


async def forget(session: AsyncSession, *names: str) -> None:
    """They are gone."""
    await session.execute(delete(Sealed).where(Sealed.name.in_(names)))


async def _need_new_key(session: AsyncSession, key: Path) -> None:
    """A lost key must not be replaced silently: what it encrypted would be lost with it."""
    for table in (Secret, Sealed):
        if await session.scalar(select(func.count()).select_from(table)):
            raise Unavailable(f"the key file {key} is gone; the operator has to put it back, from a backup")
    await in_thread(make_key, key)
