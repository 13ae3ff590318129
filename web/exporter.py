"""What `/metrics` says: rows, looked at once for all who ask within a few seconds, counts, this process."""

import asyncio
import os
import time
from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hermes import __version__
from hermes.counting import Counting
from hermes.errors import Unavailable
from hermes.journal import log
from hermes.process import Context
from web.disk_use import DiskUse
from web.families import counters, of_folders, of_process, of_rows, of_streams
from web.gauges import Gauges, look
from web.measured import HttpMeters
from web.streams import Streams

_GOOD_FOR_S = 5.0
_COUNT_EVERY_S = 15.0
_BREATH_S = 0.05  # between batches, where much is to be counted


class Exporter(Collector):
    """Everything that is measured, of the instance and of this process."""

    def __init__(self, context: Context, streams: Streams) -> None:
        self._context, self._streams = context, streams
        self._counting, self.disk_use = Counting(context.database), DiskUse(context.settings.data)
        self._gauges: Gauges | None = None
        self._looked_at = -_GOOD_FOR_S
        self._one_look = asyncio.Lock()
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each that there is
        self._registry = CollectorRegistry()
        self.http = HttpMeters(self._registry)
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

    async def text(self) -> bytes:
        """In Prometheus' text format. A database that is away is said in it."""
        self.disk_use.ask()
        async with self._one_look:
            if time.monotonic() - self._looked_at > _GOOD_FOR_S:
                await self._look()
        return generate_latest(self._registry)

    async def keep_counting(self) -> None:
        """For ever, also when nobody asks: rows that are counted may be deleted."""
        while True:
            more = False
            try:
                async with self._one_look:
                    more = await self._counting.count()
                await self._counting.keep()
            except Unavailable as error:
                log.warning("events not counted", error=str(error))
            await asyncio.sleep(_BREATH_S if more else _COUNT_EVERY_S)

    async def _look(self) -> None:
        try:
            self._gauges = await self._context.database.read_at_once(look)
            await self._counting.count()
        except Unavailable as error:
            log.warning("metrics without rows", error=str(error))
            self._gauges = None
        self._looked_at = time.monotonic()

    def describe(self) -> Iterator[Metric]:
        """Nothing before it is asked for: no rows were looked at yet."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """As last looked at."""
        version = GaugeMetricFamily("hermes_info", "Which Hermes this is.", labels=("version",))
        version.add_metric((__version__,), 1)
        yield version
        disk = os.statvfs(self._context.settings.data)
        if self._context.settings.redis_url not in ("", "none"):
            connected = self._context.doorbell.connected
            yield GaugeMetricFamily("hermes_doorbell_up", "Whether Redis is connected.", float(connected))
        yield from of_process(
            {
                "hermes_database_up": ("Whether the database answered.", float(self._gauges is not None)),
                "hermes_disk_free_bytes": ("Free on the disk of HERMES_DATA.", disk.f_bavail * disk.f_frsize),
                "hermes_disk_bytes": ("Size of the disk of HERMES_DATA.", disk.f_blocks * disk.f_frsize),
            }
        )
        yield of_streams(self._streams.open_now())
        yield of_folders(self.disk_use.bytes_of)
        yield from counters(self._counting.counts)
        if self._gauges is not None:
            yield from of_rows(self._gauges)
