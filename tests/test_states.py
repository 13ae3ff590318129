"""The state table: every step it has is one that we mean, and nothing leaves an end by itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.states import (
    MAX_ATTEMPTS,
    TABLES,
    TERMINAL,
    Event,
    Impossible,
    State,
    after_fault,
    next_state,
    run_state,
)

RANK_STATES = [State.QUEUED, State.STARTING, State.RUNNING, *sorted(TERMINAL - {State.BUILT})]


@pytest.mark.parametrize("kind", TABLES)
def test_only_a_new_push_or_a_missing_image_leaves_an_end(kind: str) -> None:
    for (state, event), _ in TABLES[kind].items():
        assert state not in TERMINAL or (kind, event) in (("build", Event.RETRY), ("build", Event.REBUILD))


@pytest.mark.parametrize("kind", TABLES)
def test_every_live_state_can_end_in_every_way_that_is_not_success(kind: str) -> None:
    live = [State.BUILDING] if kind == "build" else [State.STARTING, State.RUNNING]
    ends = (Event.FAIL, Event.CANCEL, Event.TIME_OUT, Event.LOSE)
    assert all(next_state(kind, state, event) in TERMINAL for state in live for event in ends)


def test_a_rank_cannot_succeed_before_it_runs() -> None:
    for state in (State.QUEUED, State.STARTING):
        with pytest.raises(Impossible, match=f"a rank that is {state} cannot succeed"):
            next_state("rank", state, Event.SUCCEED)


def test_faults_are_retried_twice() -> None:
    assert [after_fault(n) for n in range(1, MAX_ATTEMPTS + 1)] == [Event.REQUEUE, Event.REQUEUE, Event.LOSE]


@given(st.lists(st.sampled_from(RANK_STATES), min_size=1, max_size=6))
def test_a_run_is_over_only_when_all_its_ranks_are(ranks: list[State]) -> None:
    assert (run_state(ranks) in TERMINAL) == all(rank in TERMINAL for rank in ranks)


@given(st.lists(st.sampled_from(RANK_STATES), min_size=1, max_size=6))
def test_a_run_succeeds_only_if_all_ranks_do(ranks: list[State]) -> None:
    assert (run_state(ranks) is State.SUCCEEDED) == all(rank is State.SUCCEEDED for rank in ranks)
