"""Triggers: what starts runs besides pushes, and how others hear how they went.

webhooks  fifty deliveries a second for so many seconds, then pushes elsewhere, one by one
notices   so many runs, and how long after the end of each a webhook has its message: alone, and beside a
          receiver that answers nothing

    make bench NAME=triggers [ARGS="--only notices --runs 20"]
"""

from bench import _tools
from bench._tools import Figures
from bench._triggers_notices import measure_notices
from bench._triggers_webhooks import measure_webhooks

_CASES = {"webhooks": 20, "notices": 50}
_MEASURES = {"webhooks": measure_webhooks, "notices": measure_notices}


def measure() -> Figures:
    """The whole measurement, as the command line asks for it."""
    figures = Figures()
    for name, runs in _tools.wanted(__doc__, _CASES).items():
        _MEASURES[name](runs, figures)
    return figures


if __name__ == "__main__":
    _tools.main(measure)
