"""Live logs: how late a line is in the browser, how soon a large log is open and searched, what crowds cost.

delay: printed line → in the page of headless Chromium, at 1, 100 and 5,000 lines a second, of every line ·
large: a log of 100 MB and two million lines: its page opened at its end, a search through all of it, and the
floor of the latter, grep over the same file · crowd: 500 viewers of one log, and of 500 logs: delay, CPU and
memory of the server, which runs alone: one cheap process writes the logs as runners do, another is the crowd.
All programs run without an engine (HERMES_EXECUTOR=local): it is the pages that count.

How fast a program may print, against `docker logs -f`, is in `make bench NAME=runner ARGS="--only flood"`.

    make bench NAME=logs [ARGS="--only delay,large --runs 3"]
"""

import subprocess
import time

from bench import _tools
from bench._logs_browser import measure_delay, measure_opening
from bench._logs_crowd import measure_crowd
from bench._runner_runs import Runs
from bench._tools import Figures, instance, say

_CASES = {"delay": 1, "large": 5, "crowd": 500}
_RATES = (1, 100, 5000)
_LINES = 2_000_000
_LARGE = f'perl -e \'printf "x %d %s\\n", $_, "y" x 41 for 1 .. {_LINES}\''
_SETTINGS = {
    "HERMES_CPUS": "1000",
    "HERMES_MEMORY": "100G",
    "HERMES_LOG_SIZE": "2G",
    "HERMES_GPUS": "none",
    "HERMES_TRUST": "all",
    "HERMES_STREAMS": "0",
    "HERMES_USER_STREAMS": "0",
}


def _large(runs: Runs, times: int, figures: Figures) -> None:
    run_id = runs.push(_LARGE, 1)
    runs.finish(run_id, 300)
    log = next((runs.service.data / "logs" / "rank").glob(f"{runs.rank_id(run_id)}.1.log"))
    say(f"a log of {log.stat().st_size / 1e6:.0f} MB")
    measure_opening(runs, run_id, _LINES, times, figures)
    floor = []
    for number in range(times):
        began = time.monotonic()
        subprocess.run(
            ["grep", "-c", f"x {_LINES // 3 + number} ", str(log)], check=True, capture_output=True
        )
        floor.append(time.monotonic() - began)
    figures.median("search_100_mb_grep", floor)


def measure() -> Figures:
    """All that was asked for."""
    wanted, figures = _tools.wanted(__doc__, _CASES), Figures()
    if wanted.keys() & {"delay", "large"}:
        with instance("local", _SETTINGS) as service:
            runs = Runs(service)
            if "delay" in wanted:
                measure_delay(runs, figures, _RATES)
            if "large" in wanted:
                _large(runs, wanted["large"], figures)
    if "crowd" in wanted:
        measure_crowd(wanted["crowd"], figures)
    return figures


if __name__ == "__main__":
    _tools.main(measure)
