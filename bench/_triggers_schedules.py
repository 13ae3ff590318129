"""bench.triggers: how late the runs of schedules are: a few each minute, and very many in the same second."""

import sqlite3
import time
from contextlib import closing

from bench._tools import Figures, instance, percentile, read_only, say
from tests.programs import shell
from tests.service import Service, wait_for

_EACH_MINUTE = 20  # as many as one manifest may have
_PATIENCE_S = 900.0
_CREATED = "SELECT created_at FROM run WHERE trigger = 'schedule' AND created_at >= ? ORDER BY id"


def measure_schedules(minutes: int, figures: Figures) -> None:
    """So many minutes with twenty runs each, then a thousand at once."""
    with instance("local", {"HERMES_TRUST": "all", "HERMES_GPUS": "none"}) as service:
        wants = [
            f'{{ cron = "* * * * *", args = ["{each}"], overlap = "queue" }}' for each in range(_EACH_MINUTE)
        ]
        service.settled(
            service.push(shell("true", f"[on]\nschedule = [{', '.join(wants)}]\n"), repo="minutes")
        )
        say(f"{_EACH_MINUTE} schedules are due at each of {minutes} minutes")
        late_s = [at % 60 for at in _created(service, 0.0, minutes * _EACH_MINUTE)]
        figures.add("schedule_lateness_p95", percentile(late_s, 95), "s", most=1.0)
        figures.add("schedule_lateness_most", max(late_s), "s")
        due = _all_at_once(service, 1000)
        late_s = [at - due for at in _created(service, due, 1000)]
        figures.add("schedule_lateness_1000_at_once_p95", percentile(late_s, 95), "s")


def _created(service: Service, since: float, count: int) -> list[float]:
    """When the runs of schedules were queued, once there are so many."""

    def ask() -> list[float] | None:
        with closing(read_only(service.data)) as rows:
            found = [row[0] for row in rows.execute(_CREATED, (since,))]
        return found if len(found) >= count else None

    return wait_for(ask, _PATIENCE_S)


def _all_at_once(service: Service, count: int) -> float:
    """In place of those of before: all due in the same second, some seconds from now."""
    due = float(int(time.time()) + 10)
    with closing(sqlite3.connect(service.data / "hermes.db", timeout=60)) as rows, rows:
        names = [row[1] for row in rows.execute("PRAGMA table_info(schedule)")]
        one = dict(zip(names, rows.execute("SELECT * FROM schedule LIMIT 1").fetchone(), strict=True))
        rows.execute("DELETE FROM schedule")
        for position in range(1, count + 1):
            values = one | {"id": position, "position": position, "cron": "0 0 1 1 *", "next_at": due}
            values |= {"overlap": "queue", "last_run_id": None}
            marks = ", ".join("?" * len(names))
            rows.execute(f"INSERT INTO schedule VALUES ({marks})", [values[name] for name in names])
    say(f"{count} schedules are due in the same second")
    service.push(shell("true"), "skip", repo="bell")
    return due
