"""The rows that tell how an instance does: signs of life, what was counted; part of `hermes.tables`."""

from sqlalchemy import JSON
from sqlalchemy.orm import Mapped, mapped_column

from hermes.columns import Base, Json


class Process(Base):
    """A builder (`build`) or a runner (`rank`) of a machine, as it last showed itself (hermes.signs)."""

    __tablename__ = "process"
    kind: Mapped[str] = mapped_column(primary_key=True)
    host: Mapped[str] = mapped_column(primary_key=True)
    executor: Mapped[str]
    trouble: Mapped[str] = mapped_column(default="")  # why its executor does not answer
    missed_rings: Mapped[int] = mapped_column(default=0)  # since it began
    memory_bytes: Mapped[int] = mapped_column(default=0)
    seen_at: Mapped[float]


class Counted(Base):
    """One row: what the events up to `last_event` come to (hermes.counting)."""

    __tablename__ = "counted"
    id: Mapped[int] = mapped_column(primary_key=True)
    last_event: Mapped[int]
    counts: Mapped[Json] = mapped_column(JSON)
    at: Mapped[float]
