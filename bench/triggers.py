"""Triggers: how soon and how surely what happens elsewhere becomes a run, and others hear how it went.

webhooks   fifty deliveries a second for so many seconds, then pushes elsewhere, one by one
schedules  so many minutes with twenty schedules due at each, then a thousand due in the same second
notices    so many runs, and how long after the end of each a webhook has its message: alone, and beside a
           receiver that answers nothing
uploads    so many files dropped by eight clients until all runs have ended, against as many calls
one        one upload to the end of its run, against a warm call (containers)
watched    so many files moved into a watched folder at once, until all outputs lie beside it

    make bench NAME=triggers [ARGS="--only notices --runs 20"]
"""

from bench import _tools
from bench._tools import Figures
from bench._triggers_notices import measure_notices
from bench._triggers_schedules import measure_schedules
from bench._triggers_uploads import measure_many, measure_one, measure_watched
from bench._triggers_webhooks import measure_webhooks

#: What there is, in order, and how often.
_CASES = {"webhooks": 20, "schedules": 5, "notices": 50, "uploads": 1000, "one": 20, "watched": 1000}
_MEASURES = {
    "webhooks": measure_webhooks,
    "schedules": measure_schedules,
    "notices": measure_notices,
    "uploads": measure_many,
    "one": measure_one,
    "watched": measure_watched,
}


def measure() -> Figures:
    """The whole measurement, as the command line asks for it."""
    figures = Figures()
    for name, runs in _tools.wanted(__doc__, _CASES).items():
        _MEASURES[name](runs, figures)
    return figures


if __name__ == "__main__":
    _tools.main(measure)
