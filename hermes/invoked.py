"""What an invocation brings: its inputs, and keys that make asking twice safe; part of `hermes.tables`."""

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from hermes.columns import Base

STDIN = ""  # the name of the input that is the program's standard input


class Input(Base):
    """A file that a run gets: below its input directory by its name, or as its stdin (name STDIN)."""

    __tablename__ = "input"
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(index=True)  # of the file (Paths.input); runs again share it
    size_bytes: Mapped[int]


class IdempotencyKey(Base):
    """An `Idempotency-Key` of a user, and the run that came of it: the same request again starts nothing."""

    __tablename__ = "idempotency_key"
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_sha256: Mapped[str]
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"))
    created_at: Mapped[float] = mapped_column(index=True)
