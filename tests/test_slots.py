"""Slots by property: nothing is given twice, nothing beyond what there is, and nobody starves."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from hermes.gpu import Gpu, GpuWant
from runner.slots import RESERVE_AFTER_S, Capacity, Condition, GpuMemory, Placement, Room, Slot, Want, assign

GIB = 1 << 30


def fit(capacity: Capacity, held: list[Slot], want: Want, condition: Condition | None = None) -> Slot | None:
    return Room(capacity, held, condition or Condition()).fit(want)


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


def test_the_placement_policy_says_which_gpu_of_those_that_fit() -> None:
    def given(placement: Placement) -> list[str]:
        offer = replace(machine(8000, 8000, 8000), placement=placement)
        return [slot.gpus[0] for _, slot in assign(offer, [], sharers(4, 1000))]

    assert given("pack") == ["0", "0", "0", "0"]
    assert given("spread") == ["0", "1", "2", "0"]
    assert given("round-robin") == ["0", "1", "2", "0"]
    offer = replace(machine(8000, 8000, 8000), placement="round-robin")
    whole = Want(1, 1, GIB, GpuWant(count=1))
    assert [slot.gpus for _, slot in assign(offer, [], [whole], Condition(last="1"))] == [("2",)]


def test_gpus_of_a_pool_go_to_who_may_have_them() -> None:
    offer = Capacity(
        8, 8 * GIB, (Gpu("a", 0, "H200", GIB, "9.0", pool="lab"), Gpu("b", 1, "H200", GIB, "9.0"))
    )

    def given(pool: str, *mine: str) -> tuple[str, ...]:
        want = Want(1, 1, GIB, GpuWant(count=1, pool=pool), pools=frozenset(("", *mine)))
        return next((slot.gpus for _, slot in assign(offer, [], [want])), ())

    assert given("lab", "lab") == ("a",) and given("lab") == ()
    assert given("", "lab") == ("a",) and given("") == ("b",)


def test_an_instance_of_a_divided_gpu_is_one_gpu_and_never_one_of_two() -> None:
    parts = tuple(Gpu(f"MIG-{n}", 0, "H200 MIG", 16 * GIB, "9.0", instance=n) for n in range(3))
    offer = Capacity(8, 8 * GIB, parts)
    one, two = (Want(n, 1, GIB, GpuWant(count=n)) for n in (1, 2))
    assert [len(slot.gpus) for _, slot in assign(offer, [], [two, one, one])] == [1, 1]
    assert [part.name for part in parts[:2]] == ["GPU 0.0 (H200 MIG)", "GPU 0.1 (H200 MIG)"]


def test_bounds_on_how_many_run_at_a_time() -> None:
    def started(capacity: Capacity, *users: int, held: int = 0) -> list[int]:
        queue = [Want(n, 1, GIB, GpuWant(), user_id=user) for n, user in enumerate(users)]
        mine = [Slot(1, GIB, user_id=1)] * held
        return [want.user_id for want, _ in assign(capacity, mine, queue)]

    wide = Capacity(64, 64 * GIB)
    assert started(replace(wide, user_ranks=2), 1, 1, 1, 2, 2, 2) == [1, 1, 2, 2]
    assert started(replace(wide, user_ranks=2), 1, 1, 2, held=1) == [1, 2]
    assert started(replace(wide, ranks=3), 1, 1, 1, 2, held=1) == [1, 1]


def test_whose_gpu_time_is_used_up_still_gets_cpus() -> None:
    queue = [Want(1, 1, GIB, GpuWant(count=1), user_id=7), Want(2, 1, GIB, GpuWant(), user_id=7)]
    starts = assign(machine(8000), [], queue, Condition(spent=frozenset((7,))))
    assert [want.rank_id for want, _ in starts] == [2]


def test_what_waits_long_for_gpus_keeps_those_that_get_free_and_nothing_else() -> None:
    held = [Slot(1, GIB, ("0",))]
    pair = Want(1, 1, GIB, GpuWant(count=2), RESERVE_AFTER_S + 1)
    single, none = Want(2, 1, GIB, GpuWant(count=1)), Want(3, 1, GIB, GpuWant())
    assert [want.rank_id for want, _ in assign(machine(8000, 8000), held, [pair, single, none])] == [3]
    young = replace(pair, waited_s=1.0)
    assert [want.rank_id for want, _ in assign(machine(8000, 8000), held, [young, single, none])] == [2, 3]


def test_what_waits_for_a_gpu_in_quarantine_keeps_nothing_from_others() -> None:
    pair = Want(1, 64, GIB, GpuWant(count=2), RESERVE_AFTER_S + 1)
    away = Condition(unfit=frozenset("0"))
    starts = assign(machine(8000, 8000), [], [pair, Want(2, 1, GIB, GpuWant(count=1))], away)
    assert [want.rank_id for want, _ in starts] == [2]
