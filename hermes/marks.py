"""When the bytes of a log were printed, and to which stream: read from its index by bisection.

A line belongs to the moment and the stream of its first byte."""

import os
from pathlib import Path
from typing import NamedTuple

from hermes.logs import END, RECORD, Mark, index_path

_READ_RECORDS = 1 << 12


class LineMark(NamedTuple):
    """Lines from the `line`-th of a piece on (counted from 0) began at `at` (Unix time) on `stream`."""

    line: int
    at: float
    stream: int


def marks_between(log: Path, start: int, end: int) -> list[Mark]:
    """The mark in force at `start`, if any, and those after it before `end`; never the end mark."""
    try:
        index = os.open(index_path(log), os.O_RDONLY)
    except FileNotFoundError:
        return []
    try:
        count = os.fstat(index).st_size // RECORD.size
        at = max(_first_after(index, count, start) - 1, 0)
        found: list[Mark] = []
        while at < count:
            data = os.pread(index, RECORD.size * _READ_RECORDS, at * RECORD.size)
            marks = [
                Mark(*each) for each in RECORD.iter_unpack(data[: len(data) // RECORD.size * RECORD.size])
            ]
            found += [mark for mark in marks if mark.offset < end and mark.stream != END]
            if not marks or marks[-1].offset >= end:
                break
            at += len(marks)
        return found
    finally:
        os.close(index)


def _first_after(index: int, count: int, offset: int) -> int:
    """The number of the first record that begins after `offset`."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        record = os.pread(index, RECORD.size, middle * RECORD.size)
        if RECORD.unpack(record)[0] <= offset:
            low = middle + 1
        else:
            high = middle
    return low


def line_marks(log: Path, start: int, data: bytes, begins_line: bool) -> list[LineMark]:
    """The marks of the lines in `data`, which lies at `start`; `begins_line`: a line begins there."""
    found: list[LineMark] = []
    counted, line = 0, 0
    for mark in marks_between(log, start, start + len(data)):
        at = max(mark.offset - start, 0)
        line += data.count(b"\n", counted, at)
        counted = max(at, counted)
        on_start = begins_line if at == 0 else data[at - 1 : at] == b"\n"
        first = line if on_start or mark.offset < start else line + 1
        if found and found[-1].line == first:
            found.pop()
        found.append(LineMark(first, round(mark.at, 3), mark.stream))
    return found


def time_at(log: Path, offset: int) -> float | None:
    """When the byte at `offset` was printed (to 50 ms); None if the log has no such byte yet."""
    marks = marks_between(log, offset, offset + 1)
    return marks[0].at if marks else None


def times(log: Path) -> tuple[float, float] | None:
    """When the first and the last byte were printed, or the log ended; None if it has not begun."""
    try:
        with index_path(log).open("rb") as index:
            first = index.read(RECORD.size)
            index.seek(0, os.SEEK_END)
            index.seek(index.tell() // RECORD.size * RECORD.size - RECORD.size)
            last = index.read(RECORD.size)
    except (FileNotFoundError, OSError):
        return None
    return (RECORD.unpack(first)[1], RECORD.unpack(last)[1]) if len(first) == RECORD.size else None
