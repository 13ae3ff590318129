"""Why a run exists, in words that stay: who or what asked for it, and where that can be looked at."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from hermes.columns import Json

#: All triggers, and how a page says each of them when no better words were written down.
VERBS = {
    "push": "pushed by {user}",
    "retry": "run again by {user}",
    "api": "asked for by {user}",
    "webhook": "pushed elsewhere, for {user}",
    "schedule": "on a schedule of {user}",
    "upload": "a file of {user}",
}


class Cause(NamedTuple):
    """`words`: `schedule 0 3 * * *, due 03:00 UTC`; `url`: a page, here (`/…`) or elsewhere, or nothing."""

    words: str = ""
    url: str = ""

    def row(self) -> Json:
        """As it is stored with a push and its run."""
        return {key: value for key, value in self._asdict().items() if value}


def read_cause(row: Mapping[str, Any]) -> Cause:
    """As it was stored."""
    return Cause(str(row.get("words", "")), str(row.get("url", "")))


def why(trigger: str, cause: Mapping[str, Any], user: str) -> str:
    """One phrase: `pushed by alice`."""
    return read_cause(cause).words or VERBS.get(trigger, trigger).format(user=user)


class Sender(NamedTuple):
    """Whose push or run it is, and what made it (one of VERBS)."""

    user_id: int
    trigger: str = "push"
    cause: Cause = Cause()
