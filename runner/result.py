"""The result of an invocation: what its program writes to standard output, whole, in a file of its own.

A log is for people: bounded, with both streams in it. A result is for who asked: every byte but secrets."""

from pathlib import Path

from hermes.executors.base import Sink
from hermes.logs import MIXED, STDERR
from hermes.units import show_size


class Result:
    """A sink that keeps stdout up to a bound and passes everything on; without a file it only does that."""

    def __init__(self, path: Path | None, limit_bytes: int, sink: Sink, have_bytes: int = 0) -> None:
        self._sink = sink
        self._limit_bytes, self._room = limit_bytes, limit_bytes - have_bytes
        self._file = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)
            self._file.truncate(have_bytes)  # what came after that comes again
        self.size_bytes = have_bytes

    def __call__(self, data: bytes, stream: int) -> None:
        if stream != STDERR and self._file is not None and self._room >= 0:
            part = memoryview(data)[: self._room]
            self.size_bytes += len(part)
            self._room -= len(data)
            while part:
                part = part[self._file.write(part) :]
            if self._room < 0:
                limit = show_size(self._limit_bytes)
                words = f"\nhermes: the result is longer than {limit} (HERMES_RESULT_SIZE): it is cut there\n"
                self._sink(words.encode(), MIXED)
        self._sink(data, stream)

    @property
    def figures(self) -> dict[str, int]:
        """For the summary of its rank; `result_cut`: so much of it is missing."""
        if self._file is None:
            return {}
        cut = {"result_cut_bytes": -self._room} if self._room < 0 else {}
        return {"result_bytes": self.size_bytes, **cut}

    def close(self) -> None:
        """A second call does nothing."""
        if self._file is not None:
            self._file.close()
