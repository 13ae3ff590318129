"""How soon and how surely what happens elsewhere becomes a run.

schedules: so many minutes with twenty schedules due at each, then a thousand due in the same second.

    make bench NAME=triggers [ARGS="--only schedules --runs 2"]
"""

from bench import _tools
from bench._tools import Figures
from bench._triggers_schedules import measure_schedules

#: What there is, in order, and how often: minutes.
_CASES = {"schedules": 5}


def measure() -> Figures:
    """The whole measurement."""
    wanted, figures = _tools.wanted(__doc__, _CASES), Figures()
    if "schedules" in wanted:
        measure_schedules(wanted["schedules"], figures)
    return figures


if __name__ == "__main__":
    _tools.main(measure)
