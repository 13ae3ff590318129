"""Logs: append-only files whose positions are byte offsets.

The writer keeps the head and, beyond the cap, the tail of what a program prints; the program goes on and
its verdict does not change. Beside each log lies an index (`.idx`) of 24-byte records: offset, Unix time,
stream (0 mixed, 1 stdout, 2 stderr, 255 the end). Readers pull (`hermes.followed`): no viewer has a queue,
so a slow one loses nothing and costs nothing.

A full disk ends no program: what cannot be written waits in memory, and of more than the tail of a log the
oldest is lost, which the log says where it happened, as soon as there is room again.
"""

import os
import struct
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from hermes.backlog import Newest
from hermes.room import NOTHING_FITS

MIXED, STDOUT, STDERR, END = 0, 1, 2, 255
TAIL_BYTES = 1 << 20
CHUNK_BYTES = 1 << 16
RECORD = struct.Struct("<QdB7x")
_RECORD_GAP_S = 0.05


class Mark(NamedTuple):
    """One record of an index."""

    offset: int
    at: float
    stream: int


def index_path(log: Path) -> Path:
    """The index of a log."""
    return log.with_suffix(".idx")


class LogWriter:
    """Writes one log. Thread-safe; every byte handed in is in the file when `write` returns (or dropped, or
    held until the disk has room)."""

    def __init__(self, path: Path, head_bytes: int, tail_bytes: int = TAIL_BYTES) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._log = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o640)
        self._index = os.open(index_path(path), os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o640)
        self._lock = threading.Lock()
        self._head_bytes, self._tail_bytes = head_bytes, tail_bytes
        self._offset = os.fstat(self._log).st_size
        self._tail = Newest(tail_bytes)
        self._unwritten = Newest(tail_bytes)  # the disk has no room
        self._begun = b""  # what is left of a sentence of ours
        self._is_full = self._offset > head_bytes  # said so already
        self._last = Mark(-CHUNK_BYTES, 0.0, -1)
        self.printed_bytes = self._offset  # all that came, kept or not
        self.last_write_at = time.time()

    @property
    def position(self) -> int | None:
        """Where the next byte goes; None when the head is full: what is kept of the rest has no place yet."""
        return None if self._is_full else self._offset

    def write(self, data: bytes, stream: int = MIXED) -> None:
        """Append what the program printed."""
        with self._lock:
            self.printed_bytes += len(data)
            self.last_write_at = time.time()
            room = self._head_bytes - self._offset - self._unwritten.held_bytes
            if room > 0 and not self._is_full:
                self._append(data[:room], stream)
                data = data[room:]
            if data:
                self._hold(data, stream)

    def leave_out(self, size_bytes: int) -> None:
        """So much was printed beyond the head while this log was written by a process that is gone."""
        with self._lock:
            self._tail.dropped_bytes += size_bytes
            self.printed_bytes += size_bytes

    def catch_up(self) -> bool:
        """Write what the disk had no room for; False: it has none yet."""
        with self._lock:
            return self._catch_up()

    def leave(self) -> None:
        """Write nothing more: another process goes on with this log, which has no end yet."""
        with self._lock:
            if self._log >= 0:
                os.close(self._log)
                os.close(self._index)
                self._log = self._index = -1

    def close(self) -> None:
        """Write the kept tail and the end mark. A second call does nothing."""
        with self._lock:
            if self._log < 0:
                return
            if dropped := self._tail.dropped_bytes:
                self._append(f"[hermes: {dropped} bytes are left out here]\n".encode(), MIXED)
            for part, stream in self._tail.parts:
                self._append(part, stream)
            end = Mark(self._offset, time.time(), END)
            if not self._mark(end):  # in the place of the last one
                self._cut_index(1)
                self._mark(end)
            os.close(self._log)
            os.close(self._index)
            self._log = self._index = -1

    def _append(self, data: bytes, stream: int) -> None:
        if self._catch_up():
            data = data[self._put(data, stream) :]
        if data:
            self._unwritten.add(data, stream)

    def _catch_up(self) -> bool:
        waiting = self._unwritten
        if self._begun:
            self._begun = self._begun[self._put(self._begun, MIXED) :]
        if (lost := waiting.dropped_bytes) and not self._begun:
            words = f"\n[hermes: the disk was full: {lost} bytes are lost here]\n".encode()
            if written := self._put(words, MIXED):
                waiting.dropped_bytes = 0
                self._begun = words[written:]
        if self._begun or waiting.dropped_bytes:
            return False
        while waiting.parts:
            data, stream = waiting.take()
            if rest := data[self._put(data, stream) :]:
                waiting.give_back(rest, stream)
                return False
        return True

    def _put(self, data: bytes, stream: int) -> int:
        """How much of it is in the file."""
        at = time.time()
        last = self._last
        is_due = stream != last.stream or at - last.at >= _RECORD_GAP_S
        is_due = is_due or self._offset - last.offset >= CHUNK_BYTES
        if is_due and not self._mark(Mark(self._offset, at, stream)):
            return 0
        view = memoryview(data)
        while view and (written := _write(self._log, view)):
            self._offset += written
            view = view[written:]
        return len(data) - len(view)

    def _mark(self, mark: Mark) -> bool:
        record = RECORD.pack(*mark)
        if _write(self._index, memoryview(record)) == len(record):
            self._last = mark
            return True
        self._cut_index(0)
        return False

    def _cut_index(self, records: int) -> None:
        """A part of a record goes, and so many whole ones."""
        with suppress(OSError):  # where nothing can be written, there is nothing to be cut
            whole = os.fstat(self._index).st_size // RECORD.size
            os.ftruncate(self._index, max(whole - records, 0) * RECORD.size)

    def _hold(self, data: bytes, stream: int) -> None:
        if not self._is_full:
            self._is_full = True
            words = (
                f"\n[hermes: output is longer than {self._head_bytes} bytes; the program goes on, "
                f"and of the rest the last {self._tail_bytes} bytes are kept]\n"
            )
            self._append(words.encode(), MIXED)
        self._tail.add(data, stream)


def _write(file: int, data: memoryview) -> int:
    """How much of it found room."""
    try:
        return os.write(file, data)
    except OSError as error:
        if error.errno not in NOTHING_FITS:
            raise
        return 0


def end_offset(log: Path) -> int | None:
    """The size of a log that has ended, None while it may grow."""
    try:
        with index_path(log).open("rb") as index:
            index.seek(-RECORD.size, os.SEEK_END)
            mark = Mark(*RECORD.unpack(index.read(RECORD.size)))
    except (OSError, struct.error):  # not there yet, or empty
        return None
    return mark.offset if mark.stream == END else None


def count_bytes(log: Path) -> dict[int, int]:
    """How much of each stream a log has: {stream: bytes}; empty if it has not begun."""
    try:
        marks = [Mark(*each) for each in RECORD.iter_unpack(_whole_records(index_path(log)))]
    except OSError:
        return {}
    counts: dict[int, int] = {}
    ends = [*(mark.offset for mark in marks[1:]), size_bytes(log)]
    for mark, end in zip(marks, ends, strict=False):
        counts[mark.stream] = counts.get(mark.stream, 0) + end - mark.offset
    return counts


def _whole_records(index: Path) -> bytes:
    data = index.read_bytes()
    return data[: len(data) - len(data) % RECORD.size]


def size_bytes(log: Path) -> int:
    """How long a log is now; 0 if it has not begun."""
    try:
        return log.stat().st_size
    except OSError:
        return 0


def read(log: Path, offset: int, limit_bytes: int = CHUNK_BYTES) -> bytes:
    """Up to `limit_bytes` from `offset`; empty if there is nothing there (yet)."""
    try:
        with log.open("rb") as file:
            file.seek(offset)
            return file.read(limit_bytes)
    except FileNotFoundError:
        return b""
