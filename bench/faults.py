"""How long a fault is felt: from `kill -9` to the service restored, and to the end of what ran meanwhile.

runner, builder: killed amid a run and a build · web: until it answers again · redis: what a push waits longer
while it is away · lease: a runner that is stopped (SIGSTOP) for good, with the default lease of 60 s: until
its work is queued again · load: so many pushes with builds and runs, as fast as they come through, and the
memory of each process before and after · race: so many pushes, eight at a time, that claim the same old
commit: exactly one of each eight may win, and none that was told `ok` may be missing.

    make bench NAME=faults [ARGS="--only runner,race --runs 10"]
"""

from bench import _tools
from bench._faults_kill import measure_builder, measure_lease, measure_redis, measure_runner, measure_web
from bench._faults_load import measure_load, measure_race
from bench._tools import Figures, instance, say

#: What there is, in order, and how often: kills, kills, kills, pushes, kills, pushes, pushes.
_CASES = {"runner": 5, "builder": 5, "web": 5, "redis": 5, "lease": 1, "load": 500, "race": 10_000}
_KILLS = {
    "runner": measure_runner,
    "builder": measure_builder,
    "web": measure_web,
    "redis": measure_redis,
    "lease": measure_lease,
}


def measure() -> Figures:
    """The whole measurement."""
    wanted, figures = _tools.wanted(__doc__, _CASES), Figures()
    kills = [name for name in _KILLS if name in wanted]
    if kills:
        with instance("docker", {"HERMES_CPUS": "8", "HERMES_GPUS": "none"}) as service:
            for name in kills:
                say(f"{name}: {wanted[name]} times")
                _KILLS[name](service, wanted[name], figures)
    if "load" in wanted:
        measure_load(wanted["load"], figures)
    if "race" in wanted:
        measure_race(wanted["race"], figures)
    return figures


if __name__ == "__main__":
    _tools.main(measure)
