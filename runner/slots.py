"""Who gets what: pure, in memory. From what there is, is held and is wanted: who starts now, and with what.

Whole GPUs only in this version. A want that does not fit does not block a smaller one behind it, but after
`RESERVE_AFTER_S` of waiting nothing behind it starts any more, so it does not starve either."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hermes.plan import Gpu, GpuWant

RESERVE_AFTER_S = 60.0


@dataclass(frozen=True)
class Capacity:
    """What a runner offers."""

    cpus: float
    memory_bytes: int
    gpus: tuple[Gpu, ...] = ()


@dataclass(frozen=True)
class Want:
    """What a rank asks for, and how long it has waited."""

    rank_id: int
    cpus: float
    memory_bytes: int
    gpu: GpuWant
    waited_s: float = 0.0


@dataclass(frozen=True)
class Slot:
    """What a rank holds while it runs; `gpus` are UUIDs."""

    cpus: float
    memory_bytes: int
    gpus: tuple[str, ...] = ()


def fit(
    capacity: Capacity, held: Iterable[Slot], want: Want, unclean: frozenset[str] = frozenset()
) -> Slot | None:
    """The slot for `want` beside what is held, or None. A whole machine satisfies a larger want for cpus."""
    taken = list(held)
    cpus = min(want.cpus, capacity.cpus)
    memory_bytes = min(want.memory_bytes, capacity.memory_bytes)
    if cpus + sum(slot.cpus for slot in taken) > capacity.cpus + 1e-9:
        return None
    if memory_bytes + sum(slot.memory_bytes for slot in taken) > capacity.memory_bytes:
        return None
    busy = unclean.union(*(slot.gpus for slot in taken))
    free = [gpu.uuid for gpu in capacity.gpus if gpu.uuid not in busy and gpu.fits(want.gpu)]
    if len(free) < want.gpu.count:
        return None
    return Slot(cpus, memory_bytes, tuple(free[: want.gpu.count]))


def assign(
    capacity: Capacity, held: Sequence[Slot], queue: Iterable[Want], unclean: frozenset[str] = frozenset()
) -> list[tuple[Want, Slot]]:
    """Who starts now; `queue` is in the order of fairness."""
    taken, starts = list(held), []
    for want in queue:
        slot = fit(capacity, taken, want, unclean)
        if slot is not None:
            taken.append(slot)
            starts.append((want, slot))
        elif want.waited_s > RESERVE_AFTER_S:
            break
    return starts
