"""The life of a rank as a bar: how long it waited, for what, how long it started, ran and ended."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hermes.states import TERMINAL, State
from hermes.tables import Build, Event, Rank
from web.waits import Stretch

WIDTH = 1000.0
_LEAST = 6.0  # what happened is seen, however short it was
_WORTH_S = 1.0  # a shorter wait needs no reason
_WORDS = {
    State.QUEUED: ("waited", "waiting for a free place"),
    State.STARTING: ("started", "starting"),
    State.RUNNING: ("ran", "running"),
}


@dataclass(frozen=True)
class Phase:
    """A stretch of time; `x` and `width` are its place in a bar that is WIDTH long."""

    kind: str  # waiting, queued, starting, running, ending: its look
    words: str
    began_at: float
    span_s: float
    run_id: int = 0  # that the words name
    x: float = 0.0
    width: float = 0.0


def long_waits(found: Sequence[Phase]) -> list[Phase]:
    """Those in the queue that want a reason."""
    return [phase for phase in found if phase.kind == "queued" and phase.span_s >= _WORTH_S]


def with_reasons(found: Sequence[Phase], reasons: Mapping[Phase, Sequence[Stretch]]) -> list[Phase]:
    """Each wait in the parts that it had, laid out anew."""
    made: list[Phase] = []
    for phase in found:
        parts = reasons.get(phase, ())
        made += [
            Phase(
                "queued", part.words or phase.words, part.began_at, part.ended_at - part.began_at, part.run_id
            )
            for part in parts
        ] or [phase]
    return _laid_out(made)


def phases(rank: Rank, build: Build, events: Sequence[Event]) -> list[Phase]:
    """From the rank's own events, in their order."""
    moves = [event for event in events if event.from_state != event.to_state]
    marks = [(State.QUEUED, rank.created_at), *((State(event.to_state), event.at) for event in moves)]
    ends = [at for _, at in marks[1:]]
    found: list[Phase] = []
    for number, (state, began) in enumerate(marks):
        if state in TERMINAL:
            continue
        is_last = number == len(ends)
        ended = max(time.time() if is_last else ends[number], began)
        if number == 0:
            found += _before_the_claim(build, began, ended, is_last)
        elif state is State.RUNNING and not is_last and marks[number + 1][0] in TERMINAL:
            found += _to_the_end(rank, began, ended)
        else:
            found.append(_phase(state, began, ended, is_last))
    return _laid_out(found)


def _phase(state: State, began: float, ended: float, goes_on: bool) -> Phase:
    past, now = _WORDS[state]
    return Phase(state, now if goes_on else past, began, ended - began)


def _before_the_claim(build: Build, began: float, ended: float, goes_on: bool) -> list[Phase]:
    """Its build comes first, if there was none yet."""
    built = min(max(build.ended_at or ended, began), ended)
    is_building = goes_on and build.ended_at is None
    parts = []
    if built - began > 1e-3 or is_building:
        words = "waiting for its build" if is_building else "waited for its build"
        parts.append(Phase("waiting", words, began, built - began))
    if not is_building:
        words = "waiting for a free place" if goes_on else "waited for a free place"
        parts.append(Phase("queued", words, built, ended - built))
    return parts


def _to_the_end(rank: Rank, began: float, ended: float) -> list[Phase]:
    """After the program its files are kept, and its GPUs looked at."""
    wall_s = (rank.summary or {}).get("wall_s")
    stopped = ended if wall_s is None else min(began + wall_s, ended)
    return [
        Phase("running", "ran", began, stopped - began),
        Phase("ending", "ended", stopped, ended - stopped),
    ]


def _laid_out(found: list[Phase]) -> list[Phase]:
    """Widths in proportion, each at least visible."""
    whole_s = sum(phase.span_s for phase in found) or 1.0
    room = WIDTH - _LEAST * len(found)
    placed, x = [], 0.0
    for phase in found:
        width = round(_LEAST + phase.span_s / whole_s * room, 1)
        placed.append(replace(phase, x=round(x, 1), width=width))
        x += width
    return placed
