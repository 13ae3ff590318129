"""The rows of what is measured of a rank, and of what it says of itself; `hermes.tables` has them, too."""

from typing import Any

from sqlalchemy import JSON, ForeignKey, Integer
from sqlalchemy.orm import Mapped, mapped_column

from hermes.columns import Base


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
