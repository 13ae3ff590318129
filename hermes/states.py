"""What a build, a rank and a run can be, and the only function that decides what comes next.

The table is data; `next_state` is pure. The database guards every write with the state it came from,
so two processes that race each other cannot both win.
"""

from enum import StrEnum


class State(StrEnum):
    """The states; `failed` is the user's program, `lost` is ours (machine, engine, GPU)."""

    QUEUED = "queued"  # waiting for a builder or a free slot
    BUILDING = "building"  # make is at work
    BUILT = "built"  # an image exists
    STARTING = "starting"  # a slot is held, the container is being made
    RUNNING = "running"  # the user's program is alive
    SUCCEEDED = "succeeded"  # it ended with exit code 0
    FAILED = "failed"  # it ended otherwise: exit code, signal, out of memory
    CANCELLED = "cancelled"  # a person asked for it
    TIMED_OUT = "timed_out"  # it outlived its own limit
    LOST = "lost"  # the fault is ours, and the retries are used up


class Event(StrEnum):
    """What can happen to a build or a rank."""

    CLAIM = "claim"  # a builder or a runner took it
    START = "start"  # the user's program began
    SUCCEED = "succeed"
    FAIL = "fail"
    CANCEL = "cancel"
    TIME_OUT = "time_out"
    REQUEUE = "requeue"  # a fault of ours, or its own and the manifest asks for it: another attempt is left
    LOSE = "lose"  # a fault of ours; no attempt is left
    RETRY = "retry"  # a new push asks again for a build that did not become an image
    REBUILD = "rebuild"  # its image is not there any more, and is needed


S, E = State, Event

_ENDS = {E.FAIL: S.FAILED, E.CANCEL: S.CANCELLED, E.TIME_OUT: S.TIMED_OUT, E.LOSE: S.LOST}

BUILD_TABLE: dict[tuple[State, Event], State] = {
    (S.QUEUED, E.CLAIM): S.BUILDING,
    (S.QUEUED, E.CANCEL): S.CANCELLED,
    (S.QUEUED, E.LOSE): S.LOST,
    (S.BUILDING, E.SUCCEED): S.BUILT,
    (S.BUILDING, E.REQUEUE): S.QUEUED,
    **{(S.BUILDING, event): end for event, end in _ENDS.items()},
    **{(end, E.RETRY): S.QUEUED for end in _ENDS.values()},
    (S.BUILT, E.REBUILD): S.QUEUED,
}

RANK_TABLE: dict[tuple[State, Event], State] = {
    (S.QUEUED, E.CLAIM): S.STARTING,
    (S.QUEUED, E.CANCEL): S.CANCELLED,
    (S.QUEUED, E.FAIL): S.FAILED,  # its build did not become an image
    (S.QUEUED, E.LOSE): S.LOST,
    (S.STARTING, E.START): S.RUNNING,
    (S.STARTING, E.REQUEUE): S.QUEUED,
    **{(S.STARTING, event): end for event, end in _ENDS.items()},
    (S.RUNNING, E.SUCCEED): S.SUCCEEDED,
    (S.RUNNING, E.REQUEUE): S.QUEUED,
    **{(S.RUNNING, event): end for event, end in _ENDS.items()},
}

TABLES = {"build": BUILD_TABLE, "rank": RANK_TABLE}
TERMINAL = frozenset(
    {S.BUILT, S.SUCCEEDED, S.FAILED, S.CANCELLED, S.TIMED_OUT, S.LOST}
)  # nothing leaves these by itself
LIVE = frozenset({S.BUILDING, S.STARTING, S.RUNNING})  # somebody holds a lease
MAX_ATTEMPTS = 3  # the first try and at most two more, for faults of ours only


class Impossible(ValueError):
    """This event cannot happen in this state."""


def next_state(kind: str, state: State, event: Event) -> State:
    """The state after `event`; `kind` is `build` or `rank`. Raises Impossible."""
    try:
        return TABLES[kind][state, event]
    except KeyError:
        raise Impossible(f"a {kind} that is {state} cannot {event}") from None


_WORST_FIRST = (S.LOST, S.FAILED, S.TIMED_OUT, S.CANCELLED)


def run_state(ranks: list[State]) -> State:
    """The state of a run from those of its ranks: over only when all of them are; the worst end counts."""
    if all(rank in TERMINAL for rank in ranks):
        return next((end for end in _WORST_FIRST if end in ranks), S.SUCCEEDED)
    if S.RUNNING in ranks or any(rank in TERMINAL for rank in ranks):
        return S.RUNNING
    return S.STARTING if S.STARTING in ranks else S.QUEUED


def after_fault(attempt: int) -> Event:
    """What a fault of ours leads to in the `attempt`-th try (counted from 1)."""
    return E.REQUEUE if attempt < MAX_ATTEMPTS else E.LOSE
