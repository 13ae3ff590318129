"""Slots by property: nothing is given twice, nothing beyond what there is, and nobody starves."""

from hypothesis import given
from hypothesis import strategies as st

from hermes.plan import Gpu, GpuWant
from runner.slots import RESERVE_AFTER_S, Capacity, Condition, GpuMemory, Slot, Want, assign, fit

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
    )
    | st.builds(
        GpuWant,
        count=st.integers(1, 2),
        memory_bytes=st.integers(1, 90).map(lambda n: n * GIB),
        share=st.just(True),
    ),
    waited_s=st.floats(0, 200),
)


@given(capacities, st.lists(wants, max_size=20))
def test_nothing_is_given_twice_nor_beyond_what_there_is(capacity: Capacity, queue: list[Want]) -> None:
    slots = [slot for _, slot in assign(capacity, [], queue)]
    for gpu in capacity.gpus:
        holders = [slot for slot in slots if gpu.uuid in slot.gpus]
        assert len(holders) <= 1 or all(slot.gpu_bytes for slot in holders)
        assert sum(slot.gpu_bytes for slot in holders) <= gpu.memory_bytes
    assert all(len(slot.gpus) == len(set(slot.gpus)) for slot in slots)
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
    slot = fit(capacity, [], want, Condition(unclean))
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


def sharers(count: int, mib: int) -> list[Want]:
    want = GpuWant(count=1, memory_bytes=mib << 20, share=True)
    return [Want(number, 1, GIB, want) for number in range(count)]


def machine(*gpu_mib: int) -> Capacity:
    """With a GPU for each of these sizes, called `0`, `1`, …"""
    gpus = (Gpu(str(n), n, "H200", mib << 20, "9.0") for n, mib in enumerate(gpu_mib))
    return Capacity(64, 512 * GIB, tuple(gpus))


def test_thirty_small_programs_share_a_gpu_up_to_its_memory_and_take_turns_on_a_small_one() -> None:
    """PESC's case: 30 instances of a program of 1,328 MiB."""
    assert len(assign(machine(12288), [], sharers(30, 1328))) == 9
    assert len(assign(machine(2048), [], sharers(30, 1328))) == 1


def test_sharers_are_packed_so_that_a_whole_gpu_stays_free() -> None:
    starts = assign(machine(12288, 12288), [], sharers(4, 1328))
    assert {slot.gpus for _, slot in starts} == {("0",)}
    whole = Want(9, 1, GIB, GpuWant(count=1))
    assert [slot.gpus for _, slot in assign(machine(12288, 12288), [s for _, s in starts], [whole])] == [
        ("1",)
    ]


def test_who_takes_more_than_was_reserved_leaves_less_to_the_next() -> None:
    held = [Slot(1, GIB, ("0",), 1328 << 20)]
    greedy = Condition(memory={"0": GpuMemory(used_bytes=11000 << 20)})
    assert assign(machine(12288), held, sharers(1, 1328), greedy) == []
    assert len(assign(machine(12288), held, sharers(1, 1328), Condition())) == 1


def test_what_the_driver_keeps_for_itself_is_nobodys() -> None:
    condition = Condition(memory={"0": GpuMemory(used_bytes=500 << 20, floor_bytes=500 << 20)})
    assert len(assign(machine(3000), [], sharers(2, 1328), condition)) == 1
