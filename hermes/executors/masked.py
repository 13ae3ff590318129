"""A sink that passes on what a program prints without its secrets, where no keeper has masked it already."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hermes.executors.base import Sink
from hermes.masking import REST_S, Masker


@contextmanager
def masked(sink: Sink, secrets: Sequence[str]) -> Iterator[Sink]:
    """To be used until the program has ended; without secrets it is the sink itself."""
    if not secrets:
        yield sink
        return
    mask = _Mask(sink, secrets)
    try:
        yield mask.write
    finally:
        mask.end()


class _Mask:
    """Each stream has a masker of its own. A timer, there only while something is held, looks for rests."""

    def __init__(self, sink: Sink, secrets: Sequence[str]) -> None:
        self._sink, self._secrets = sink, secrets
        self._maskers: dict[int, Masker] = {}
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._fed_at = 0.0

    def write(self, data: bytes, stream: int) -> None:
        with self._lock:
            if stream not in self._maskers:
                self._maskers[stream] = Masker(self._secrets)
            masker = self._maskers[stream]
            self._pass_on(masker.feed(data), stream)
            self._fed_at = time.monotonic()
            if masker.may_show_at_rest and self._timer is None:
                self._look_in(REST_S)

    def end(self) -> None:
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            for stream, masker in self._maskers.items():
                self._pass_on(masker.end(), stream)
            self._maskers = {}

    def _look(self) -> None:
        with self._lock:
            self._timer = None
            left_s = self._fed_at + REST_S - time.monotonic()
            if not any(masker.may_show_at_rest for masker in self._maskers.values()):
                return
            if left_s > 0:
                self._look_in(left_s)
                return
            for stream, masker in self._maskers.items():
                self._pass_on(masker.rest(), stream)

    def _look_in(self, wait_s: float) -> None:
        self._timer = threading.Timer(wait_s, self._look)
        self._timer.daemon = True
        self._timer.start()

    def _pass_on(self, data: bytes, stream: int) -> None:
        if data:
            self._sink(data, stream)
