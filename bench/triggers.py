"""Triggers: what starts runs besides pushes.

uploads  so many files dropped by eight clients until all runs have ended, against as many calls
one      one upload to the end of its run, against a warm call (containers)
watched  so many files moved into a watched folder at once, until all outputs lie beside it

    make bench NAME=triggers [ARGS="--only uploads,one,watched --runs 20"]
"""

from bench import _tools
from bench._tools import Figures
from bench._triggers_uploads import measure_many, measure_one, measure_watched

_CASES = {"uploads": 1000, "one": 20, "watched": 1000}
_MEASURES = {"uploads": measure_many, "one": measure_one, "watched": measure_watched}


def measure() -> Figures:
    """The whole measurement, as the command line asks for it."""
    figures = Figures()
    for name, runs in _tools.wanted(__doc__, _CASES).items():
        _MEASURES[name](runs, figures)
    return figures


if __name__ == "__main__":
    _tools.main(measure)
