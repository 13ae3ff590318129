"""The rows of what a rank leaves: files, figures that it printed, telemetry; part of `hermes.tables`."""

from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, Integer, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from hermes.columns import Base

_PENDING = text("done_at IS NULL")


class Artifact(Base):
    """A file that a rank wrote, kept by digest."""

    __tablename__ = "artifact"
    __table_args__ = (UniqueConstraint("rank_id", "path"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"), index=True)
    rank_id: Mapped[int] = mapped_column(ForeignKey("rank.id"))
    path: Mapped[str]
    size_bytes: Mapped[int]
    sha256: Mapped[str] = mapped_column(index=True)
    created_at: Mapped[float]


class Removal(Base):
    """Bytes that were removed to make room (hermes.retention); the rows of what they were stay. The subject
    is a run, or a build, as `kind` has it."""

    __tablename__ = "removal"
    __table_args__ = (
        Index("removal_unfinished", "done_at", sqlite_where=_PENDING, postgresql_where=_PENDING),
    )
    kind: Mapped[str] = mapped_column(primary_key=True)
    subject_id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[float]
    why: Mapped[str]
    done_at: Mapped[float | None]  # None: the row is written before the files go, and some may be there yet


class Metric(Base):
    """A figure that a rank printed (docs/output.md); the last value of each name."""

    __tablename__ = "metric"
    rank_id: Mapped[int] = mapped_column(ForeignKey("rank.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[float]
    unit: Mapped[str] = mapped_column(default="")
    at: Mapped[float]


class GpuSample(Base):
    """Telemetry of a rank at one moment: CPU and memory of the box, and a list for its GPUs."""

    __tablename__ = "gpu_sample"
    id: Mapped[int] = mapped_column(primary_key=True)
    rank_id: Mapped[int] = mapped_column(ForeignKey("rank.id"), index=True)
    attempt: Mapped[int] = mapped_column(Integer)
    at: Mapped[float]
    cpu_percent: Mapped[float]
    memory_bytes: Mapped[int]
    gpus: Mapped[list[Any]] = mapped_column(JSON, default=list)
