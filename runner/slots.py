"""Who gets what: pure, in memory. From what there is, is held and is wanted: who starts now, and with what.

A GPU has one holder, or several that agreed to share it, each with the part of its memory that it reserved;
those are packed, so that whole GPUs stay free for who wants them. A want that does not fit does not block a
smaller one behind it, but after `RESERVE_AFTER_S` of waiting nothing behind it starts any more, so it does
not starve either."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

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
    """What a rank holds while it runs; `gpus` are UUIDs, `gpu_bytes` what is reserved of each (0: all)."""

    cpus: float
    memory_bytes: int
    gpus: tuple[str, ...] = ()
    gpu_bytes: int = 0


@dataclass(frozen=True)
class GpuMemory:
    """Of one GPU, as its driver says: in use now, and in use when nobody had it."""

    used_bytes: int = 0
    floor_bytes: int = 0


@dataclass(frozen=True)
class Condition:
    """Of the GPUs now: those that nobody gets, and the memory of those that may be shared."""

    unfit: frozenset[str] = frozenset()
    memory: Mapping[str, GpuMemory] = field(default_factory=dict)


_AS_LISTED = Condition()


def fit(
    capacity: Capacity, held: Iterable[Slot], want: Want, condition: Condition = _AS_LISTED
) -> Slot | None:
    """The slot for `want` beside what is held, or None. A whole machine satisfies a larger want for cpus."""
    taken = list(held)
    cpus = min(want.cpus, capacity.cpus)
    memory_bytes = min(want.memory_bytes, capacity.memory_bytes)
    if cpus + sum(slot.cpus for slot in taken) > capacity.cpus + 1e-9:
        return None
    if memory_bytes + sum(slot.memory_bytes for slot in taken) > capacity.memory_bytes:
        return None
    choose = _shared if want.gpu.share else _whole
    free = choose(capacity, taken, want.gpu, condition)
    if len(free) < want.gpu.count:
        return None
    return Slot(
        cpus, memory_bytes, tuple(free[: want.gpu.count]), want.gpu.memory_bytes if want.gpu.share else 0
    )


def _whole(capacity: Capacity, held: list[Slot], want: GpuWant, condition: Condition) -> list[str]:
    busy = condition.unfit.union(*(slot.gpus for slot in held))
    return [gpu.uuid for gpu in capacity.gpus if gpu.uuid not in busy and gpu.fits(want)]


def _shared(capacity: Capacity, held: list[Slot], want: GpuWant, condition: Condition) -> list[str]:
    """Those with room, the fullest first."""
    busy = condition.unfit.union(*(slot.gpus for slot in held if not slot.gpu_bytes))
    room = {
        gpu.uuid: gpu.memory_bytes - _spoken_for(gpu.uuid, held, condition)
        for gpu in capacity.gpus
        if gpu.uuid not in busy and gpu.fits(want)
    }
    return sorted((uuid for uuid in room if room[uuid] >= want.memory_bytes), key=lambda uuid: room[uuid])


def _spoken_for(uuid: str, held: list[Slot], condition: Condition) -> int:
    """Bytes that are reserved; or in use, where a program takes more than it said."""
    memory = condition.memory.get(uuid, GpuMemory())
    reserved = sum(slot.gpu_bytes for slot in held if uuid in slot.gpus)
    return max(reserved + memory.floor_bytes, memory.used_bytes) if reserved else memory.floor_bytes


def assign(
    capacity: Capacity, held: Sequence[Slot], queue: Iterable[Want], condition: Condition = _AS_LISTED
) -> list[tuple[Want, Slot]]:
    """Who starts now; `queue` is in the order of fairness."""
    taken, starts = list(held), []
    for want in queue:
        slot = fit(capacity, taken, want, condition)
        if slot is not None:
            taken.append(slot)
            starts.append((want, slot))
        elif want.waited_s > RESERVE_AFTER_S:
            break
    return starts
