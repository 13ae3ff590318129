"""Our side of bench.doorbell: `ring URL` and `listen URL`, as processes of their own.

`ring` rings at each line on stdin and prints when it began to; `listen` prints when it woke. Both print
`ready` first, and times by the kernel's monotonic clock, which all processes share."""

import asyncio
import sys
import time
from contextlib import suppress

from hermes.queue import BUILDS, CHANGED, Doorbell


async def listen(url: str) -> None:
    """What a builder does when it has no work."""
    doorbell = Doorbell(url)
    bell = doorbell.bell(BUILDS)
    doorbell.start()
    await bell.wait(10)  # a fresh connection rings by itself
    print("ready", flush=True)
    while True:
        if await bell.wait(5.0):
            print(time.monotonic(), flush=True)


async def ring(url: str) -> None:
    """What the git server does after a push."""
    doorbell = Doorbell(url)
    await doorbell.ring(CHANGED)  # connects
    print("ready", flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        began = time.monotonic()
        await doorbell.ring(BUILDS)
        print(began, flush=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(ring(sys.argv[2]) if sys.argv[1] == "ring" else listen(sys.argv[2]))
