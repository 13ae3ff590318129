"""The doorbell: "look again", and nothing more. Redis may lose every ring; then work starts within `poll`.

The design names arq for this. A publish is what a doorbell is: it wakes the listener in a millisecond
where arq's worker polls (0.5 s by default), costs nothing when idle, and needs none of the settings that
keep arq's jobs, retries and aborts from doing harm (docs/performance.md has the figures). The periodic
work lives in `reconcile.py` and runs in every process, since it must also run when Redis is away.
"""

import asyncio
from contextlib import suppress

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

BUILDS = "build"  # a build was queued, or is to be cancelled
RANKS = "rank"  # ranks were queued, or are to be cancelled, or a slot became free
SCHEDULES = "schedule"  # there are others, or one is paused or resumed
CHANGED = "changed"  # any row that a page or a stream shows has a new state

_CHANNEL = "hermes:doorbell"
_RING_DEADLINE_S = 0.2
_RECONNECT_S = 1.0
_SILENCE_S = 5.0  # after that we ask whether anybody is there, and wait as long for the answer


class Bell:
    """Stays rung until somebody waits for it, so nothing is missed between looking and waiting."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Wake the one who waits, now or at the next wait."""
        self._event.set()

    async def wait(self, timeout_s: float | None) -> bool:
        """Whether it rang within the time; a ring is used up. None: until it rings."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), timeout_s)
        rang = self._event.is_set()
        self._event.clear()
        return rang


class Doorbell:
    """Rings topics to every process of the instance; `url` empty: only within this process."""

    def __init__(self, url: str) -> None:
        self._redis = _connect(url) if url and url != "none" else None
        self._bells: dict[Bell, frozenset[str]] = {}
        self._ringing: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Task[None] | None = None
        self.connected = False

    def start(self) -> None:
        """Begin to hear the rings of other processes."""
        if self._redis is not None:
            self._listener = asyncio.create_task(self._listen(self._redis), name="doorbell")

    def bell(self, *topics: str) -> Bell:
        """A bell that rings for these topics until `forget` is called with it."""
        bell = Bell()
        self._bells[bell] = frozenset(topics)
        return bell

    def forget(self, bell: Bell) -> None:
        """The bell is not needed any more."""
        self._bells.pop(bell, None)

    async def ring(self, *topics: str) -> None:
        """Tell everybody to look again. Best effort: never raises, never takes longer than 0.2 s."""
        self._ring_here(frozenset(topics))
        if self._redis is None:
            return
        with suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(_RING_DEADLINE_S):
                await self._redis.publish(_CHANNEL, " ".join(topics))

    def ring_soon(self, *topics: str) -> None:
        """As `ring`, for who cannot wait for Redis."""
        ringing = asyncio.create_task(self.ring(*topics))
        self._ringing.add(ringing)  # the loop itself would forget it
        ringing.add_done_callback(self._ringing.discard)

    async def close(self) -> None:
        """Ring what is to be rung, and stop listening."""
        await asyncio.gather(*self._ringing)
        if self._listener is not None:
            self._listener.cancel()
            with suppress(asyncio.CancelledError):
                await self._listener
        if self._redis is not None:
            await self._redis.aclose()

    def _ring_here(self, topics: frozenset[str]) -> None:
        for bell, wanted in self._bells.items():
            if wanted & topics:
                bell.ring()

    async def _listen(self, redis: "Redis") -> None:
        while True:
            with suppress(RedisError, OSError, TimeoutError):
                async with redis.pubsub() as channel:
                    await channel.subscribe(_CHANNEL)
                    await self._hear(channel)
            self.connected = False
            await asyncio.sleep(_RECONNECT_S)

    async def _hear(self, channel: PubSub) -> None:
        """Raises TimeoutError when the line is dead: a half-open one says nothing for ever."""
        is_asked = True  # to be subscribed
        while True:
            message = await channel.get_message(timeout=_SILENCE_S)
            if message is None:
                if is_asked:
                    raise TimeoutError
                await channel.ping()
                is_asked = True
                continue
            is_asked = False
            if message["type"] == "subscribe":
                self.connected = True
                for bell in self._bells:  # what rang meanwhile was missed
                    bell.ring()
            elif message["type"] == "message":
                self._ring_here(frozenset(_words(message["data"])))


def _words(data: object) -> list[str]:
    """The topics in a payload; whatever else somebody put into Redis is ignored."""
    return data.decode("ascii", "replace").split() if isinstance(data, bytes) else []


def _connect(url: str) -> "Redis":
    return Redis.from_url(url, retry=Retry(NoBackoff(), 0), socket_connect_timeout=2)
