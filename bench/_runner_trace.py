"""When what happened to a rank: by the rows and the log's index of the instance, and by the engine's events.

All on one machine, so it is one clock."""

import struct
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from bench._tools import read_only
from hermes.logs import END, Mark, index_path
from hermes.paths import Paths

_RECORD = struct.Struct("<QdB7x")
_ATTACHED_S = 0.3
_RANKS = "SELECT id, attempt FROM rank WHERE run_id = ? AND ended_at IS NOT NULL ORDER BY claimed_at"
_EVENTS = """
    SELECT to_state, max(at) FROM event WHERE kind = 'rank' AND subject_id = ? AND attempt = ?
    GROUP BY to_state
"""


class Moments(NamedTuple):
    """Of one rank, as Unix seconds, in the order in which they come."""

    claimed: float
    created: float  # the engine has made the container, and somebody has claimed the rank
    started: float  # the engine says that it runs
    first_byte: float  # in our log
    died: float  # the engine says that it has ended
    settled: float  # the verdict is in the database
    removed: float  # the engine has removed the container


@contextmanager
def engine_events(folder: Path) -> Iterator[Path]:
    """A file into which the engine's events go while the block lasts: `nanoseconds action container`."""
    out = folder / "engine-events"
    form = "{{.TimeNano}} {{.Action}} {{.Actor.Attributes.name}}"
    command = ["docker", "events", "--filter", "label=hermes.instance", "--format", form]
    with out.open("wb") as file, subprocess.Popen(command, stdout=file) as child:
        time.sleep(_ATTACHED_S)
        try:
            yield out
        finally:
            child.terminate()


def read_moments(data: Path, events: Path, run_id: int) -> list[Moments]:
    """Of every rank of a run that is over, in the order in which they were claimed."""
    engine = _by_container(events)
    with closing(read_only(data)) as rows:
        return [
            _moments(
                dict(rows.execute(_EVENTS, (rank_id, attempt)).fetchall()),
                engine[f"rank-{rank_id}.{attempt}"],
                marks(Paths(data).log("rank", rank_id, attempt)),
            )
            for rank_id, attempt in rows.execute(_RANKS, (run_id,)).fetchall()
        ]


def _moments(states: dict[str, float], engine: dict[str, float], log: list[Mark]) -> Moments:
    return Moments(
        claimed=states["starting"],
        created=max(engine["create"], states["starting"]),  # before it: made ahead
        started=engine["start"],
        first_byte=log[0].at,
        died=engine["die"],
        settled=states["succeeded"],
        removed=engine["destroy"],
    )


def _by_container(events: Path) -> dict[str, dict[str, float]]:
    """{`rank-ID.ATTEMPT`: {action: when}}."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for line in events.read_text().splitlines():
        nanoseconds, action, name = line.split()[:3]
        found["-".join(name.split("-")[2:])][action] = int(nanoseconds) / 1e9
    return found


def marks(log: Path) -> list[Mark]:
    """The index of a log without its end."""
    found = [Mark(*fields) for fields in _RECORD.iter_unpack(index_path(log).read_bytes())]
    return [mark for mark in found if mark.stream != END]


def next_stages(before: Moments, after: Moments) -> Iterator[tuple[str, float]]:
    """(name, seconds) from the end of a program to the first byte of the next in its slot, without a gap."""
    yield "verdict", before.settled - before.died
    yield "remove", before.removed - before.settled
    yield "claim", after.claimed - before.removed
    yield "prepare", after.created - after.claimed
    yield "engine_start", after.started - after.created
    yield "first_byte", after.first_byte - after.started
