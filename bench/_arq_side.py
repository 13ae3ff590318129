"""The arq side of bench.doorbell, run by a Python that has arq: `ring URL` and `listen URL POLL_DELAY_S`.

The same protocol as bench/_our_side.py. The settings are those under which arq does no harm (design.md 5):
one try, no result kept, JSON, one function that does nothing but wake up."""

import asyncio
import json
import sys
import time
from contextlib import suppress
from typing import Any

from arq import create_pool  # type: ignore[import-not-found,unused-ignore]
from arq.connections import RedisSettings  # type: ignore[import-not-found,unused-ignore]
from arq.worker import Worker, func  # type: ignore[import-not-found,unused-ignore]


def _dumps(job: Any) -> bytes:
    return json.dumps(job).encode()


async def wake(_ctx: object) -> None:
    """The job."""
    print(time.monotonic(), flush=True)


async def listen(url: str, poll_delay_s: float) -> None:
    """An arq worker that waits for jobs."""
    worker = Worker(
        [func(wake, keep_result=0, max_tries=1)],
        redis_settings=RedisSettings.from_dsn(url),
        poll_delay=poll_delay_s,
        job_serializer=_dumps,
        job_deserializer=json.loads,
    )
    print("ready", flush=True)
    with suppress(asyncio.CancelledError):  # its way to end at SIGTERM
        await worker.async_run()


async def ring(url: str) -> None:
    """A job for each line on stdin."""
    pool = await create_pool(RedisSettings.from_dsn(url), job_serializer=_dumps)
    print("ready", flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        began = time.monotonic()
        await pool.enqueue_job("wake")
        print(began, flush=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        if sys.argv[1] == "ring":
            asyncio.run(ring(sys.argv[2]))
        else:
            asyncio.run(listen(sys.argv[2], float(sys.argv[3])))
