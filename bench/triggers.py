"""How soon and how surely what happens elsewhere becomes a run.

webhooks: fifty deliveries a second for so many seconds, then pushes one by one.

    make bench NAME=triggers [ARGS="--only webhooks --runs 5"]
"""

from bench import _tools
from bench._tools import Figures
from bench._triggers_webhooks import measure_webhooks

#: What there is, in order, and how often: seconds.
_CASES = {"webhooks": 20}


def measure() -> Figures:
    """The whole measurement."""
    wanted, figures = _tools.wanted(__doc__, _CASES), Figures()
    if "webhooks" in wanted:
        measure_webhooks(wanted["webhooks"], figures)
    return figures


if __name__ == "__main__":
    _tools.main(measure)
