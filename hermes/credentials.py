"""The rows of what signs users in: tokens and public keys."""

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from hermes.columns import Base


class Token(Base):
    """A secret that acts for a user; only its SHA-256 is kept."""

    __tablename__ = "token"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), index=True)
    digest: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    scope: Mapped[str] = mapped_column(default="all")  # accounts.SCOPES; session: a browser
    repo_id: Mapped[int | None] = mapped_column(ForeignKey("repo.id"))  # a deploy token: good for this only
    created_at: Mapped[float]
    expires_at: Mapped[float | None]
    last_used_at: Mapped[float | None]
    revoked_at: Mapped[float | None]


class SshKey(Base):
    """A public key that signs its user in over SSH."""

    __tablename__ = "ssh_key"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), index=True)
    fingerprint: Mapped[str] = mapped_column(unique=True)  # SHA256:…, as ssh-keygen -l shows it
    public_key: Mapped[str]  # type and base64, without the comment
    name: Mapped[str]
    created_at: Mapped[float]
    last_used_at: Mapped[float | None]
