"""How far a backup or a restore is, in lines: one when a part is done, and now and then while it goes on."""

import time
from collections.abc import Callable
from typing import Protocol

from hermes.units import show_size, show_span

_EVERY_S = 5.0


class Counts(Protocol):
    """What counts the bytes."""

    size_bytes: int


class Progress:
    """Of one part at a time."""

    def __init__(self, of: Counts, say: Callable[[str], None]) -> None:
        self._of, self._say = of, say

    def begin(self, what: str, total: int) -> None:
        """A part of so many."""
        self._what, self._total, self._count = what, total, 0
        self._began = self._said = time.monotonic()
        self._before = self._of.size_bytes

    def one_more(self) -> None:
        """Is done."""
        self._count += 1
        if time.monotonic() - self._said > _EVERY_S:
            self._said = time.monotonic()
            self._say(f"{self._what:<13} {self._count} of {self._total}, {self._bytes()} so far")

    def end(self) -> None:
        """The part is done."""
        took = show_span(time.monotonic() - self._began)
        self._say(f"{self._what:<13} {self._count:>7}  {self._bytes():>8}  {took}")

    def _bytes(self) -> str:
        return show_size(self._of.size_bytes - self._before)
