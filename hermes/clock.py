"""Whether the wall clock may be believed: one that was just set says nothing of how long something took."""

import time

from hermes.journal import log

_NOISE_S = 1.0  # between two looks: what a clock is corrected by in passing, and what reading both takes


class Clock:
    """Of one process, looked at often; within `settle_s` all others write times of a clock that was set."""

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        self._offset_s = time.time() - time.monotonic()
        self._steady_at = 0.0
        self.was_set = False

    def is_steady(self) -> bool:
        """False from when the clock was set until the times of before are gone."""
        offset_s, now = time.time() - time.monotonic(), time.monotonic()
        by_s, self._offset_s = offset_s - self._offset_s, offset_s
        if abs(by_s) > _NOISE_S:
            log.warning("the clock was set", by_s=round(by_s), leases=f"end none for {self._settle_s:g} s")
            self._steady_at, self.was_set = now + self._settle_s, True
        return now >= self._steady_at
