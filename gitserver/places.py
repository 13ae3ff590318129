"""How many git programs work at a time: for everybody together, and for one user or address."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Places:
    """`total` places, of which one key can hold a quarter: who is slow on purpose keeps nobody else out."""

    def __init__(self, total: int) -> None:
        self._total = asyncio.Semaphore(max(total, 1))
        self._of_one = max(total // 4, 1)
        self._keys: dict[str, tuple[asyncio.Semaphore, int]] = {}  # with how many hold or wait for it
        self.taken = 0

    @asynccontextmanager
    async def take(self, key: str) -> AsyncIterator[None]:
        """Wait for a place and keep it for the block."""
        own, users = self._keys.get(key, (asyncio.Semaphore(self._of_one), 0))
        self._keys[key] = own, users + 1
        try:
            async with own, self._total:
                self.taken += 1
                try:
                    yield
                finally:
                    self.taken -= 1
        finally:
            own, users = self._keys.pop(key)
            if users > 1:
                self._keys[key] = own, users - 1
