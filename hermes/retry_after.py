"""Receivers that ask to be left alone for a while: what `Retry-After` says, and who is left alone now."""

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from hermes.outbox import WAITS_S
from hermes.outward import Answer, Undelivered
from hermes.units import show_span

LONGEST_S = WAITS_S[-1]  # whatever they say
_MAY_SAY = (429, 503)
_MOST_RESTING = 1000  # beyond, who would be asked first anyway is forgotten


def retry_after_s(heads: Mapping[str, str]) -> float | None:
    """Seconds, or a date (RFC 9110, 10.2.3); None where it is neither. May be in the past."""
    text = heads.get("retry-after", "").strip()
    if text.isdecimal() and len(text) < 10:
        return float(text)
    try:
        return parsedate_to_datetime(text).timestamp() - now_there(heads)
    except (ValueError, TypeError):
        return None


def now_there(heads: Mapping[str, str]) -> float:
    """By the clock of who answers, in which dates and limits are said."""
    try:
        return parsedate_to_datetime(heads.get("date", "")).timestamp()
    except (ValueError, TypeError):
        return time.time()


def refusal(answer: Answer) -> Undelivered:
    """What a status that is no success is to who sends a message."""
    words = f"the answer was {answer.status}"
    least_s = retry_after_s(answer.headers) if answer.status in _MAY_SAY else None
    if least_s is None or least_s <= 0:
        return Undelivered(words)
    least_s = min(least_s, LONGEST_S)
    error = Undelivered(f"{words}, and not to ask again for {show_span(least_s)}")
    error.least_s = least_s
    return error


class Rests:
    """Who is left alone, by any name of theirs, in memory: a restart asks them once too early at most."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}  # of the monotonic clock

    def begin(self, name: str, rest_s: float) -> None:
        """Who asks for longer than somebody before wins."""
        now = time.monotonic()
        self._until = {each: until for each, until in self._until.items() if until > now}
        if rest_s > 0:
            self._until[name] = max(now + rest_s, self._until.get(name, 0.0))
        if len(self._until) > _MOST_RESTING:
            del self._until[min(self._until, key=self._until.__getitem__)]

    def left_s(self, name: str) -> float:
        """How long still; 0: it may be asked."""
        return max(self._until.get(name, 0.0) - time.monotonic(), 0.0)

    @property
    def now(self) -> set[str]:
        """All that rest."""
        return {name for name in self._until if self.left_s(name)}
