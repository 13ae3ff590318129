"""The result of an invocation: what its program writes to standard output, whole, in a file of its own.

A log is for people: bounded, with both streams in it. A result is for who asked: every byte but secrets."""

from pathlib import Path

from hermes.executors.base import Sink
from hermes.logs import MIXED, STDERR
from hermes.room import FULL, NOTHING_FITS
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
            written = self._write(part)
            self.size_bytes += written
            self._room = self._room - len(data) if written == len(part) else written - len(data)
            if self._room < 0:
                limit = f"the result is longer than {show_size(self._limit_bytes)} (HERMES_RESULT_SIZE)"
                why = limit if written == len(part) else f"{FULL}: the result is not whole"
                self._sink(f"\nhermes: {why}: it is cut there\n".encode(), MIXED)
        elif stream != STDERR and self._file is not None:
            self._room -= len(data)
        self._sink(data, stream)

    def _write(self, part: memoryview) -> int:
        """How much of it found room."""
        assert self._file is not None
        whole = len(part)
        try:
            while part:
                part = part[self._file.write(part) :]
        except OSError as error:
            if error.errno not in NOTHING_FITS:
                raise
        return whole - len(part)

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
