"""Failed sign-ins, gathered for the audit log: a row for each address now and then, not for each try."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from hermes.audit import Actor, write_down
from hermes.database import Database

_GATHER_S = 3.0  # what comes together is one row
_AGAIN_S = 3600.0  # the next row of the same address
_MOST_ADDRESSES = 10_000  # a flood must not fill the memory
_MOST_NAMES = 5
_MOST_ROWS = 200  # at a time


@dataclass
class _Failures:
    due_at: float
    count: int = 0
    names: set[str] = field(default_factory=set)


class FailedSignIns:
    """Counts in memory, writes when it is asked to."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._by_address: OrderedDict[str, _Failures] = OrderedDict()

    def count(self, address: str, name: str) -> None:
        """Somebody there could not say who they are; `name` is who they claimed to be, or empty."""
        found = self._by_address.setdefault(address, _Failures(self._clock() + _GATHER_S))
        found.count += 1
        if name and len(found.names) < _MOST_NAMES:
            found.names.add(name[:80])
        if len(self._by_address) > _MOST_ADDRESSES:
            self._by_address.popitem(last=False)

    async def write(self, database: Database) -> None:
        """Put down what is due."""
        due = self._due()
        if not due:
            return
        async with database.write() as session:
            for address, found in due:
                times = "once" if found.count == 1 else f"{found.count} times"
                names = f", as {', '.join(sorted(found.names))}" if found.names else ""
                write_down(session, Actor("", address), "sign-in failed", address, times + names)

    def _due(self) -> list[tuple[str, _Failures]]:
        now = self._clock()
        ripe = [address for address, found in self._by_address.items() if found.due_at <= now][:_MOST_ROWS]
        due = []
        for address in ripe:
            found = self._by_address.pop(address)
            if found.count:
                due.append((address, found))
                self._by_address[address] = _Failures(now + _AGAIN_S)
        return due
