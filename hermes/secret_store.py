"""Secrets of repositories and of users: set, listed, removed. Encrypted in the database (hermes.secret_keys),
and never shown again; which runs get them is decided in hermes.secret_runs."""

import re
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import JSON, ColumnElement, ForeignKey, Index, and_, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from hermes.branch_patterns import check_branches
from hermes.columns import Base
from hermes.errors import NotFound, Refused, Unavailable, UserError
from hermes.secret_forms import LEAST_BYTES, longest_line
from hermes.secret_keys import encrypt, make_key
from hermes.tables import Repo, User
from hermes.threads import in_thread

MOST_BYTES = 16 << 10
MOST_SECRETS = 32  # of one repository, and of one user
_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
#: Set by Hermes, or read by programs that stand between Hermes and what the user runs.
_TAKEN = re.compile(
    r"(HERMES|NVIDIA|CUDA|LD|CCACHE|BASH|DYLD|GLIBC|MALLOC)_.*|LC_ALL|LANG|PATH|HOME|SHELL|IFS|ENV|CDPATH|PWD|USER|"
    r"PS[1-4]|TMPDIR|TERM|GCONV_PATH|MAKEFLAGS|MAKEFILES|RANK|WORLD_SIZE|MASTER_(ADDR|PORT)"
)


class Secret(Base):
    """A variable of runs that nobody sees again. Of a repository, or (`repo_id` None) of a user."""

    __tablename__ = "secret"
    __table_args__ = (
        Index("secret_of_repo", "repo_id", "name", unique=True),
        Index(
            "secret_of_user",
            "user_id",
            "name",
            unique=True,
            sqlite_where=text("repo_id IS NULL"),
            postgresql_where=text("repo_id IS NULL"),
        ),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))  # whose it is; of a repository's: who set it
    repo_id: Mapped[int | None] = mapped_column(ForeignKey("repo.id"))
    name: Mapped[str]  # of the variable
    ciphertext: Mapped[str]
    branches: Mapped[list[str]] = mapped_column(JSON)  # patterns; none: the default branch
    created_at: Mapped[float]
    updated_at: Mapped[float]
    last_used_at: Mapped[float | None]


@dataclass(frozen=True)
class Keeping:
    """Whose secrets: a repository's, or without one a user's. `user`: who asks, and of whom they are then."""

    user: User
    repo: Repo | None = None

    @property
    def rows(self) -> ColumnElement[bool]:
        """A condition on Secret."""
        if self.repo is not None:
            return Secret.repo_id == self.repo.id
        return and_(Secret.repo_id.is_(None), Secret.user_id == self.user.id)


@dataclass(frozen=True)
class NewSecret:
    """What somebody types."""

    name: str
    value: str
    branches: tuple[str, ...] = ()


async def list_secrets(session: AsyncSession, keeping: Keeping) -> list[tuple[Secret, str]]:
    """With who set them, by name."""
    found = select(Secret, User.name).join(User, User.id == Secret.user_id)
    rows = await session.execute(found.where(keeping.rows).order_by(Secret.name))
    return [(secret, user) for secret, user in rows.all()]


async def find_secret(session: AsyncSession, keeping: Keeping, name: str) -> tuple[Secret, str]:
    """With who set it. Raises NotFound."""
    for secret, user in await list_secrets(session, keeping):
        if secret.name == name:
            return secret, user
    raise NotFound(f"there is no secret {name[:80]!r} there")


async def set_secret(session: AsyncSession, key: Path, keeping: Keeping, new: NewSecret) -> bool:
    """Make it (True) or replace it. `key`: the file. Raises UserError, Refused, Unavailable."""
    value, branches, now = _check(new), list(new.branches), time.time()
    if not await in_thread(key.exists):
        await _need_new_key(session, key)
    ciphertext = await in_thread(encrypt, key, value)
    row = (await session.scalars(select(Secret).where(keeping.rows, Secret.name == new.name))).first()
    if row is not None:
        row.ciphertext, row.branches, row.updated_at = ciphertext, branches, now
        row.user_id = keeping.user.id
        return False
    count = await session.scalar(select(func.count()).select_from(Secret).where(keeping.rows)) or 0
    if count >= MOST_SECRETS:
        raise Refused(f"there are {MOST_SECRETS} secrets already", "remove one that is not used any more")
    session.add(
        Secret(
            user_id=keeping.user.id,
            repo_id=None if keeping.repo is None else keeping.repo.id,
            name=new.name,
            ciphertext=ciphertext,
            branches=branches,
            created_at=now,
            updated_at=now,
        )
    )
    await session.flush()
    return True


async def remove_secret(session: AsyncSession, keeping: Keeping, name: str) -> Secret:
    """From the next start of a run on nothing gets it. Raises NotFound."""
    row, _ = await find_secret(session, keeping, name)
    await session.delete(row)
    return row


async def _need_new_key(session: AsyncSession, key: Path) -> None:
    """A lost key must not be replaced silently: what it encrypted would be lost with it."""
    if await session.scalar(select(func.count()).select_from(Secret)):
        raise Unavailable(
            f"the key file {key} is gone; the operator has to put it back, from a backup, "
            "or to remove all secrets (hermes admin secret remove)"
        )
    await in_thread(make_key, key)


def _check(new: NewSecret) -> str:
    """The value as it is stored. Raises UserError."""
    _check_name(new.name)
    check_branches("a secret", new.branches)
    value = new.value.replace("\r\n", "\n").rstrip("\n")
    try:
        size_bytes = len(value.encode())
    except UnicodeEncodeError:
        raise UserError("the value is not text", "encode it first, for example with base64") from None
    if "\0" in value:
        raise UserError("the value holds a NUL, which no variable can", "encode it first: base64")
    if size_bytes > MOST_BYTES:
        raise UserError(f"the value has {size_bytes} bytes; {MOST_BYTES} are the most")
    if longest_line(value) < LEAST_BYTES:
        raise UserError(
            f"the value has no line of {LEAST_BYTES} bytes: what is so short cannot be masked in logs",
            "use a longer one; what is no secret belongs into run.env of the manifest",
        )
    return value


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{name[:80]!r} cannot be the name of a secret",
            "use A to Z, digits and _, beginning with a letter, 64 characters at most",
        )
    if _TAKEN.fullmatch(name):
        raise UserError(f"{name} means something to Hermes or to a shell already", "choose another name")
