"""What a rank uses, once a second while it runs, and what it used, when it has ended."""

import asyncio
import time
from collections.abc import Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from hermes.attempt import Ending
from hermes.errors import Unavailable
from hermes.executors.base import Box, Executor, Usage
from hermes.process import Context
from hermes.queue import CHANGED
from hermes.tables import GpuSample, Rank
from runner.gpus import Gpus, GpuUse, ask_driver
from runner.progress import ProgressScanner

PERIOD_S = 1.0
_FIRST_PERIOD_S = 0.05
_STORE_EVERY = 5
_MOST_WAITING = 3600  # samples


@dataclass
class Telemetry:
    """Samples of one attempt. Call `sample` once a period and `flush` at the end."""

    context: Context
    executor: Executor
    gpus: Gpus
    box: Box
    row: Rank
    progress: ProgressScanner
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0
    gpu_busy_s: float = 0.0
    gpu_peak_memory_bytes: int = 0
    figures: dict[str, Any] = field(default_factory=dict)  # what others know of this attempt
    _last_at: float = field(default_factory=time.monotonic)
    _last_cpu_s: float = 0.0  # at `_last_at`; `cpu_s` is looked at more often
    _stored_progress: tuple[float | None, str] = (None, "")
    _waiting: list[dict[str, Any]] = field(default_factory=list)

    async def keep_sampling(self) -> None:
        """Look once a period for as long as the task lives; more often at first, programs may be short."""
        for _ in range(int(PERIOD_S / _FIRST_PERIOD_S)):
            await self._look()
            await asyncio.sleep(_FIRST_PERIOD_S)
        while True:
            with suppress(Unavailable):  # it is stored later
                await self.sample()
            await asyncio.sleep(PERIOD_S)

    async def _look(self) -> Usage | None:
        """What the box uses now; totals and peaks follow."""
        usage = await self.executor.usage(self.box)
        if usage is not None:
            self.cpu_s = max(self.cpu_s, usage.cpu_s)
            self.peak_memory_bytes = max(self.peak_memory_bytes, usage.peak_memory_bytes)
        return usage

    async def sample(self) -> None:
        """Look once; what was seen is stored every few seconds."""
        now = time.monotonic()
        usage = await self._look()
        gpus = self.box.task.gpus
        uses = await ask_driver([], self.gpus.sample, gpus) if gpus else []
        elapsed_s = max(now - self._last_at, 1e-3)
        self._count(uses, elapsed_s, await self.executor.processes(self.box) if uses else frozenset())
        if usage is None:
            return
        percent = 100 * max(usage.cpu_s - self._last_cpu_s, 0.0) / elapsed_s
        self._last_at, self._last_cpu_s = now, usage.cpu_s
        self._waiting.append(
            {
                "rank_id": self.row.id,
                "attempt": self.row.attempt,
                "at": time.time(),
                "cpu_percent": round(percent, 1),
                "memory_bytes": usage.memory_bytes,
                "gpus": [use.as_json() for use in uses],
            }
        )
        if len(self._waiting) >= _STORE_EVERY:
            await self.flush()

    def _count(self, uses: Sequence[GpuUse], elapsed_s: float, mine: Set[int]) -> None:
        """The memory is that of its own processes; where the driver does not tell them apart, all that is in
        use on a GPU that it has alone."""
        is_alone = not (self.row.slot or {}).get("gpu_bytes")
        for use in uses:
            self.gpu_busy_s += (use.percent or 0.0) / 100 * elapsed_s
            used_bytes = sum(size for pid, size in use.processes.items() if pid in mine)
            if not used_bytes and is_alone:
                used_bytes = use.memory_bytes or 0
            self.gpu_peak_memory_bytes = max(self.gpu_peak_memory_bytes, used_bytes)

    async def flush(self) -> None:
        """Store the samples, the progress and the metrics that are not stored yet."""
        rows, self._waiting = self._waiting, []
        progress, metrics = (self.progress.value, self.progress.text), self.progress.metrics
        if not rows and progress == self._stored_progress and metrics.are_stored:
            return
        try:
            await self._store(rows, progress)
        except Unavailable:  # later
            self._waiting = (rows + self._waiting)[-_MOST_WAITING:]
            raise
        self._stored_progress = progress
        await self.context.doorbell.ring(CHANGED)

    async def _store(self, rows: list[dict[str, Any]], progress: tuple[float | None, str]) -> None:
        names: set[str] = set()
        try:
            async with self.context.database.write() as session:
                session.add_all(GpuSample(**each) for each in rows)
                row = await session.get(Rank, self.row.id)
                if row is not None and row.attempt == self.row.attempt:
                    row.progress, row.progress_text = progress
                    names = await self.progress.metrics.store(session, row.id)
        except Unavailable:
            self.progress.metrics.again(names)
            raise

    def summary(self, ending: Ending) -> dict[str, Any]:
        """The line under a finished run; what was over before it was seen is left out, not shown as 0."""
        figures: dict[str, Any] = {"wall_s": round(ending.exit.wall_s, 3)} | self.figures
        peak_bytes = self.peak_memory_bytes
        if ending.exit.out_of_memory:
            peak_bytes = self.box.task.limits.memory_bytes
        if peak_bytes:
            figures |= {"cpu_s": round(self.cpu_s, 3), "peak_memory_bytes": peak_bytes}
        if self.box.task.gpus:
            figures |= {
                "gpu_busy_s": round(self.gpu_busy_s, 3),
                "gpu_peak_memory_bytes": self.gpu_peak_memory_bytes,
            }
        return figures
