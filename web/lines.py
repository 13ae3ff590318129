"""Where the lines of a log begin: newlines counted once per 64 KiB, kept in memory, extended as it grows.

Two million lines cost 13 KiB; counting 100 MB takes 50 ms (docs/performance.md)."""

import threading
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from hermes import logs

_BLOCK_BYTES = 1 << 16
_READ_BLOCKS = 64
K = TypeVar("K")
T = TypeVar("T")


class LineIndex:
    """Of one log. Lines are counted from 0. Thread-safe; blocks, so call it in a thread when a log is new."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._before = array("Q", [0])  # newlines before each whole block, and before the one that follows

    def lines_before(self, offset: int) -> int:
        """How many line ends lie before `offset`: the number of the line that holds it."""
        block = self._known(offset // _BLOCK_BYTES)
        start = block * _BLOCK_BYTES
        count = self._before[block]
        while start < offset:
            data = logs.read(self._path, start, min(_BLOCK_BYTES * _READ_BLOCKS, offset - start))
            if not data:
                break
            count += data.count(b"\n")
            start += len(data)
        return count

    def start_of(self, line: int) -> int:
        """Where a line begins; the size of the log if it has no such line."""
        if line <= 0:
            return 0
        size = logs.size_bytes(self._path)
        self._known(size // _BLOCK_BYTES)
        with self._lock:
            block = max(bisect_left(self._before, line) - 1, 0)
            missing = line - self._before[block]
        start = block * _BLOCK_BYTES
        while data := logs.read(self._path, start, _BLOCK_BYTES):
            count = data.count(b"\n")
            if count >= missing:
                at = -1
                for _ in range(missing):
                    at = data.find(b"\n", at + 1)
                return start + at + 1
            missing -= count
            start += len(data)
        return size

    def _known(self, block: int) -> int:
        """Count up to `block` as far as there are whole blocks; how many before it are counted."""
        with self._lock:
            while len(self._before) <= block:
                start = (len(self._before) - 1) * _BLOCK_BYTES
                most = min(_READ_BLOCKS, block - len(self._before) + 1)
                data = logs.read(self._path, start, _BLOCK_BYTES * most)
                for at in range(0, len(data) - _BLOCK_BYTES + 1, _BLOCK_BYTES):
                    self._before.append(self._before[-1] + data.count(b"\n", at, at + _BLOCK_BYTES))
                if len(data) < _BLOCK_BYTES * most:
                    break
            return min(block, len(self._before) - 1)


class Recent(Generic[K, T]):
    """What was found out about something that is looked at; what was not for longest is forgotten."""

    def __init__(self, make: Callable[[K], T], most: int) -> None:
        self._make = make
        self._most = most
        self._known: OrderedDict[K, T] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, key: K) -> T:
        """For this one."""
        with self._lock:
            found = self._known.get(key)
            if found is None:
                found = self._known[key] = self._make(key)
            self._known.move_to_end(key)
            while len(self._known) > self._most:
                self._known.popitem(last=False)
            return found


class PerLog(Recent[Path, T]):
    """Of logs."""
