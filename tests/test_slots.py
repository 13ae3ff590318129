"""Slots by property: nothing is given twice, nothing beyond what there is, and nobody starves."""

from hypothesis import given
from hypothesis import strategies as st

from hermes.plan import Gpu, GpuWant
from runner.slots import RESERVE_AFTER_S, Capacity, Slot, Want, assign, fit

GIB = 1 << 30
gpus = st.lists(
    st.builds(
        Gpu,
        uuid=st.uuids().map(str),
        index=st.just(0),
        model=st.sampled_from(["H200", "A100", "RTX 4090"]),
        memory_bytes=st.sampled_from([24 * GIB, 80 * GIB, 141 * GIB]),
        capability=st.sampled_from(["8.0", "8.9", "9.0"]),
    ),
    max_size=4,
    unique_by=lambda gpu: gpu.uuid,
).map(tuple)
capacities = st.builds(
    Capacity,
    cpus=st.integers(1, 64).map(float),
    memory_bytes=st.integers(1, 512).map(lambda n: n * GIB),
    gpus=gpus,
)
wants = st.builds(
    Want,
    rank_id=st.integers(1, 10**6),
    cpus=st.floats(0.1, 80),
    memory_bytes=st.integers(1, 600 * GIB),
    gpu=st.builds(
        GpuWant,
        count=st.integers(0, 4),
        memory_bytes=st.sampled_from([0, 40 * GIB]),
        capability=st.sampled_from(["", "8.9", "9.0"]),
        model=st.sampled_from(["", "h200"]),
    ),
    waited_s=st.floats(0, 200),
)


@given(capacities, st.lists(wants, max_size=20))
def test_nothing_is_given_twice_nor_beyond_what_there_is(capacity: Capacity, queue: list[Want]) -> None:
    slots = [slot for _, slot in assign(capacity, [], queue)]
    given_gpus = [uuid for slot in slots for uuid in slot.gpus]
    assert len(given_gpus) == len(set(given_gpus))
    assert sum(slot.cpus for slot in slots) <= capacity.cpus + 1e-6
    assert sum(slot.memory_bytes for slot in slots) <= capacity.memory_bytes


@given(capacities, wants)
def test_a_slot_is_what_was_wanted(capacity: Capacity, want: Want) -> None:
    slot = fit(capacity, [], want)
    if slot is not None:
        chosen = [gpu for gpu in capacity.gpus if gpu.uuid in slot.gpus]
        assert len(chosen) == want.gpu.count and all(gpu.fits(want.gpu) for gpu in chosen)


@given(capacities, wants)
def test_an_empty_machine_takes_everything_that_is_possible_on_it(capacity: Capacity, want: Want) -> None:
    possible = sum(gpu.fits(want.gpu) for gpu in capacity.gpus) >= want.gpu.count
    assert (fit(capacity, [], want) is not None) == possible


@given(capacities, wants)
def test_an_unclean_gpu_is_never_given(capacity: Capacity, want: Want) -> None:
    unclean = frozenset(gpu.uuid for gpu in capacity.gpus[:1])
    slot = fit(capacity, [], want, unclean)
    assert slot is None or not unclean & set(slot.gpus)


def want(rank_id: int, cpus: float, waited_s: float = 0.0) -> Want:
    return Want(rank_id, cpus, GIB, GpuWant(), waited_s)


def test_a_small_want_passes_a_large_one_that_does_not_fit_yet() -> None:
    held = [Slot(3, GIB)]
    starts = assign(Capacity(4, 8 * GIB), held, [want(1, 4), want(2, 1)])
    assert [each.rank_id for each, _ in starts] == [2]


def test_a_large_want_that_has_waited_long_is_waited_for() -> None:
    held = [Slot(3, GIB)]
    assert assign(Capacity(4, 8 * GIB), held, [want(1, 4, RESERVE_AFTER_S + 1), want(2, 1)]) == []
