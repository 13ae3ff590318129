"""The rows of what a rank leaves: files, figures that it printed, telemetry; part of `hermes.tables`."""

from typing import Any

from sqlalchemy import JSON, ForeignKey, Integer, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from hermes.columns import Base


class Artifact(Base):
    """A file that a rank wrote, kept by digest."""

    __tablename__ = "artifact"
    __table_args__ = (UniqueConstraint("rank_id", "path"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"), index=True)
    rank_id: Mapped[int] = mapped_column(ForeignKey("rank.id"))
    path: Mapped[str]
    size_bytes: Mapped[int]
    sha256: Mapped[str]
    created_at: Mapped[float]


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
