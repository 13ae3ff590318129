"""Who gets what: pure, in memory. From what there is, is held and is wanted: who starts now, and with what.

A GPU has one holder, or several that agreed to share it, each with the part of its memory that it reserved.
A want that does not fit does not block a smaller one behind it; after `RESERVE_AFTER_S` of waiting, what it
wants is kept free for it, so it does not starve either."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from hermes.gpu import Gpu, GpuWant

RESERVE_AFTER_S = 60.0
Placement = Literal["pack", "spread", "round-robin"]


@dataclass(frozen=True)
class Capacity:
    """What a runner offers. `ranks` and `user_ranks`: most at a time, in all and of one user; 0: no bound."""

    cpus: float
    memory_bytes: int
    gpus: tuple[Gpu, ...] = ()
    placement: Placement = "pack"
    ranks: int = 0
    user_ranks: int = 0


@dataclass(frozen=True)
class Want:
    """What a rank asks for, its wait, its user, and the pools whose GPUs it may get (None: all)."""

    rank_id: int
    cpus: float
    memory_bytes: int
    gpu: GpuWant
    waited_s: float = 0.0
    user_id: int = 0
    pools: frozenset[str] | None = None
    shape: str = ""  # equal for wants that differ only in whose they are

    def allows(self, gpu: Gpu) -> bool:
        """Whether it may have this GPU, busy or not."""
        return (self.pools is None or gpu.pool in self.pools) and gpu.fits(self.gpu)


@dataclass(frozen=True)
class Slot:
    """What a rank holds while it runs; `gpus` are UUIDs, `gpu_bytes` what is reserved of each (0: all)."""

    cpus: float
    memory_bytes: int
    gpus: tuple[str, ...] = ()
    gpu_bytes: int = 0
    user_id: int = 0


@dataclass(frozen=True)
class GpuMemory:
    """Of one GPU, as its driver says: in use now, and in use when nobody had it."""

    used_bytes: int = 0
    floor_bytes: int = 0


@dataclass(frozen=True)
class Condition:
    """How things are now: GPUs that nobody gets, memory of those that may be shared, users whose GPU time is
    used up, and the GPU that was given last."""

    unfit: frozenset[str] = frozenset()
    memory: Mapping[str, GpuMemory] = field(default_factory=dict)
    spent: frozenset[int] = frozenset()
    last: str = ""


class Room:
    """What is free, less and less as slots are taken."""

    def __init__(self, capacity: Capacity, held: Iterable[Slot], condition: Condition) -> None:
        self._capacity, self._condition = capacity, condition
        self._cpus, self._memory_bytes = capacity.cpus, capacity.memory_bytes
        self._busy = set(condition.unfit)
        self._reserved: Counter[str] = Counter()
        self._ranks: Counter[int] = Counter()
        self._last = ""
        for slot in held:
            self.take(slot)
        self._last = condition.last

    def take(self, slot: Slot) -> None:
        """Somebody has this now."""
        self._cpus -= slot.cpus
        self._memory_bytes -= slot.memory_bytes
        self._ranks[slot.user_id] += 1
        for uuid in slot.gpus:
            self._reserved[uuid] += slot.gpu_bytes
        if not slot.gpu_bytes:
            self._busy.update(slot.gpus)
        self._last = slot.gpus[-1] if slot.gpus else self._last

    @property
    def is_full(self) -> bool:
        """Whether there is no room for anybody, or no more may run."""
        most = self._capacity.ranks
        return self._cpus <= 1e-9 or self._memory_bytes <= 0 or bool(most and self._ranks.total() >= most)

    def may_start(self, want: Want) -> bool:
        """Whether the bounds on how many run at a time, and on GPU time, let one more of this user begin."""
        if want.gpu.count and want.user_id in self._condition.spent:
            return False
        most, of_user = self._capacity.ranks, self._capacity.user_ranks
        if most and self._ranks.total() >= most:
            return False
        return not of_user or self._ranks[want.user_id] < of_user

    def fit(self, want: Want) -> Slot | None:
        """The slot for `want`, or None. A whole machine satisfies a larger want for cpus or memory."""
        cpus = min(want.cpus, self._capacity.cpus)
        memory_bytes = min(want.memory_bytes, self._capacity.memory_bytes)
        if cpus > self._cpus + 1e-9 or memory_bytes > self._memory_bytes:
            return None
        free = (self._shared if want.gpu.share else self._whole)(want)
        if len(free) < want.gpu.count:
            return None
        gpu_bytes = want.gpu.memory_bytes if want.gpu.share else 0
        return Slot(cpus, memory_bytes, tuple(free[: want.gpu.count]), gpu_bytes, want.user_id)

    def keep_for(self, want: Want) -> None:
        """Nobody behind gets what this one needs, as far as it is free: it begins as soon as the rest is."""
        self._cpus -= min(want.cpus, self._capacity.cpus)
        self._memory_bytes -= min(want.memory_bytes, self._capacity.memory_bytes)
        free = (self._shared if want.gpu.share else self._whole)(want)
        self._busy.update(free[: want.gpu.count])

    def _whole(self, want: Want) -> list[str]:
        taken = self._busy | self._reserved.keys()
        free = [gpu.uuid for gpu in self._capacity.gpus if gpu.uuid not in taken and want.allows(gpu)]
        return self._in_turn(free) if self._capacity.placement == "round-robin" else free

    def _shared(self, want: Want) -> list[str]:
        """Those with room: by the policy the fullest first, so that whole GPUs stay free, or the emptiest."""
        room = {
            gpu.uuid: gpu.memory_bytes - self._spoken_for(gpu.uuid)
            for gpu in self._capacity.gpus
            if gpu.uuid not in self._busy and want.allows(gpu)
        }
        free = [uuid for uuid in room if room[uuid] >= want.gpu.memory_bytes]
        if self._capacity.placement == "round-robin":
            return self._in_turn(free)
        sign = 1 if self._capacity.placement == "pack" else -1
        return sorted(free, key=lambda uuid: sign * room[uuid])

    def _in_turn(self, free: list[str]) -> list[str]:
        """Beginning behind the one that was given last."""
        order = [gpu.uuid for gpu in self._capacity.gpus]
        start = order.index(self._last) + 1 if self._last in order else 0
        return [uuid for uuid in order[start:] + order[:start] if uuid in free]

    def _spoken_for(self, uuid: str) -> int:
        """Bytes that are reserved; or in use, where a program takes more than it said."""
        memory, reserved = self._condition.memory.get(uuid, GpuMemory()), self._reserved[uuid]
        return max(reserved + memory.floor_bytes, memory.used_bytes) if reserved else memory.floor_bytes


class Round:
    """One look at the queue: each waiting rank in the order of fairness is considered once."""

    def __init__(self, capacity: Capacity, held: Sequence[Slot], condition: Condition) -> None:
        self._empty = Room(capacity, (), condition)
        self._room = Room(capacity, held, condition)
        self._hopeless: set[tuple[object, object]] = set()  # room only shrinks: it does not fit later either

    def consider(self, want: Want) -> Slot | None:
        """What it starts with, or None: it goes on waiting."""
        if not self._room.may_start(want):
            return None
        shape = want.shape or (want.cpus, want.memory_bytes, want.gpu)
        if self.is_hopeless(shape, want.pools):
            return None
        slot = self._room.fit(want)
        if slot is not None:
            self._room.take(slot)
            return slot
        self._hopeless.add((shape, want.pools))
        if want.waited_s > RESERVE_AFTER_S and self._empty.fit(want):
            self._room.keep_for(want)  # for one of a kind; and not for what waits for a GPU in quarantine
        return None

    def is_hopeless(self, shape: object, pools: frozenset[str] | None) -> bool:
        """Whether one like this did not fit."""
        return (shape, pools) in self._hopeless

    @property
    def hopeless(self) -> list[str]:
        """The shapes that did not fit."""
        return [shape for shape, _ in self._hopeless if isinstance(shape, str)]

    @property
    def is_full(self) -> bool:
        """Whether nobody else can start, whatever they want."""
        return self._room.is_full


def assign(
    capacity: Capacity, held: Sequence[Slot], queue: Iterable[Want], condition: Condition | None = None
) -> list[tuple[Want, Slot]]:
    """Who starts now; `queue` is in the order of fairness."""
    look = Round(capacity, held, condition or Condition())
    return [(want, slot) for want in queue if (slot := look.consider(want)) is not None]
