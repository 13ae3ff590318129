"""How many of something are open now, counted by whom or by what; nobody is remembered who holds nothing."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Tally:
    """In memory: one process answers on the port, and what it holds open is the whole truth."""

    def __init__(self) -> None:
        self._counts: Counter[object] = Counter()

    def of(self, key: object) -> int:
        """So many for this one."""
        return self._counts[key]

    def total(self) -> int:
        """For all together."""
        return self._counts.total()

    @contextmanager
    def one_more(self, key: object) -> Iterator[None]:
        """Until its end."""
        self._counts[key] += 1
        try:
            yield
        finally:
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key]
