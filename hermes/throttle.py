"""How often something may happen: counted per key in memory, forgotten after a while.

One process answers at the door, so its memory is the whole truth; a restart forgives, which is harmless
where a secret has 256 random bits: throttling is against load and against noise in the log."""

import ipaddress
import time
from collections import OrderedDict, deque
from collections.abc import Callable

_MOST_KEYS = 10_000  # a flood from many addresses must not fill the memory


def source(address: str) -> str:
    """What counts as one client: an address, of IPv6 its /64 network, which one client has to itself."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:  # a Unix socket has none
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(found), 64), strict=False))


class Throttle:
    """At most `most` events in `window_s` seconds for each key."""

    def __init__(self, most: int, window_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._window_s, self._clock = most, window_s, clock
        self._events: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_s(self, key: str) -> float:
        """Seconds until this key may go on; 0: now."""
        events = self._current(key)
        if events is None or len(events) < self._most:
            return 0.0
        return max(events[0] + self._window_s - self._clock(), 0.0)

    def count(self, key: str) -> None:
        """One event of this key happened."""
        events = self._events.setdefault(key, deque(maxlen=max(self._most, 1)))
        self._events.move_to_end(key)
        events.append(self._clock())
        if len(self._events) > _MOST_KEYS:
            self._events.popitem(last=False)

    def forget(self, key: str) -> None:
        """This key has shown that it is in order."""
        self._events.pop(key, None)

    def _current(self, key: str) -> "deque[float] | None":
        events = self._events.get(key)
        while events and events[0] <= self._clock() - self._window_s:
            events.popleft()
        if events is not None and not events:
            del self._events[key]
        return events
