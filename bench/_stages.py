"""Where the time of one push went, from the rows and the logs of the instance: its own clock is ours."""

import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from bench._tools import read_only
from hermes.logs import END, Mark, index_path
from hermes.paths import Paths

_RECORD = struct.Struct("<QdB7x")
_EVENTS = "SELECT to_state, max(at) FROM event WHERE kind = ? AND subject_id = ? GROUP BY to_state"
_IDS = """
    SELECT push.id, build.id, build.attempt, rank.id, rank.attempt, json_extract(rank.summary, '$.wall_s')
    FROM push JOIN run ON run.push_id = push.id JOIN build ON build.id = run.build_id
    JOIN rank ON rank.run_id = run.id WHERE push.new_sha = ?
"""


class Client(NamedTuple):
    """One `git push` by the client's clock (Unix seconds)."""

    began: float
    first_line: float
    ended: float


class Trace(NamedTuple):
    """One push by the server's clock: when each state came, and when each log began and ended."""

    push: dict[str, float]
    build: dict[str, float]
    rank: dict[str, float]
    build_log: tuple[float, float]
    rank_log: tuple[float, float]
    program_s: float


def read_trace(data: Path, sha: str) -> Trace:
    """What the instance noted about the push of `sha`."""
    with closing(read_only(data)) as rows:
        push, build, build_try, rank, rank_try, wall_s = rows.execute(_IDS, (sha,)).fetchone()

        def states(kind: str, row_id: int) -> dict[str, float]:
            return dict(rows.execute(_EVENTS, (kind, row_id)).fetchall())

        paths = Paths(data)
        return Trace(
            states("push", push),
            states("build", build),
            states("rank", rank),
            _ends(paths.log("build", build, build_try)),
            _ends(paths.log("rank", rank, rank_try)),
            float(wall_s),
        )


def _ends(log: Path) -> tuple[float, float]:
    """When the first byte and the end mark were written."""
    data = index_path(log).read_bytes()
    marks = [Mark(*fields) for fields in _RECORD.iter_unpack(data)]
    return marks[0].at, next(mark.at for mark in marks if mark.stream == END)


def stages(client: Client, trace: Trace) -> Iterator[tuple[str, float]]:
    """(name, seconds) of every stage; those without a prefix `to_` follow each other without a gap."""
    push, build, rank = trace.push, trace.build, trace.rank
    yield "receive", push["received"] - client.began
    yield "apply", build["queued"] - push["received"]
    yield "build_claim", build["building"] - build["queued"]
    yield "build_first_byte", trace.build_log[0] - build["building"]
    yield "build_rest_of_make", trace.build_log[1] - trace.build_log[0]
    yield "build_keep", build["built"] - trace.build_log[1]
    yield "run_claim", rank["starting"] - build["built"]
    yield "run_box", rank["running"] - rank["starting"]
    yield "run_first_byte", trace.rank_log[0] - rank["running"]
    yield "run_rest", rank["succeeded"] - trace.rank_log[0]
    yield "verdict_to_exit", client.ended - rank["succeeded"]
    yield "to_first_line", client.first_line - client.began
    yield "to_first_line_from_applied", client.first_line - push["applied"]
    yield "to_running_from_built", rank["running"] - build["built"]
    yield "to_first_byte_from_built", trace.rank_log[0] - build["built"]
    yield "to_program", trace.program_s
