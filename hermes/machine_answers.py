"""Who has what and who waits, as JSON: `/api/v1/gpus` and `hermes gpus --json` say the same."""

from collections.abc import Iterable
from dataclasses import asdict

from pydantic import BaseModel

from hermes.machines import Holder, Machine, Waiting


class HolderAnswer(BaseModel):
    """Who holds a GPU; `repo` is null when you may not see it."""

    run: int
    rank: int
    user: str
    repo: str | None
    since: float
    gpu_memory_bytes: int | None  # of each GPU, where it shares them


class QuarantineAnswer(BaseModel):
    """Why a GPU is given to nobody, and since when."""

    reason: str
    since: float


class GpuUseAnswer(BaseModel):
    """How a GPU is used; null where its driver does not say."""

    percent: float | None
    memory_bytes: int | None
    power_w: float | None
    celsius: int | None
    mhz: int | None


class GpuAnswer(BaseModel):
    """One GPU and who holds it."""

    uuid: str
    index: int
    model: str
    memory_bytes: int
    capability: str
    instance: int | None = None
    pool: str = ""
    use: GpuUseAnswer | None  # a few seconds ago
    held_by: HolderAnswer | None
    shared_by: list[HolderAnswer]
    quarantine: QuarantineAnswer | None


class MachineAnswer(BaseModel):
    """A runner: what it has, and what is held of it."""

    name: str
    executor: str
    alive: bool
    seen_at: float
    cpus: float
    cpus_held: float
    memory_bytes: int
    memory_held_bytes: int
    gpus: list[GpuAnswer]


class WaitingAnswer(BaseModel):
    """A run in the queue, in the order of starting; `repo` is null when you may not see it."""

    run: int
    user: str
    repo: str | None
    wants: str
    why: str
    since: float


class GpusAnswer(BaseModel):
    """The whole instance."""

    runners: list[MachineAnswer]
    queue: list[WaitingAnswer]
    waiting: int


def gpus_answer(machines: Iterable[Machine], queue: Iterable[Waiting], waiting: int) -> GpusAnswer:
    """`waiting`: how many there are in all; `queue` is the head of it."""
    return GpusAnswer(
        runners=[_machine(each) for each in machines],
        queue=[_waiting(each) for each in queue],
        waiting=waiting,
    )


def _machine(machine: Machine) -> MachineAnswer:
    row = machine.row
    return MachineAnswer(
        name=row.name,
        executor=row.executor,
        alive=machine.is_alive,
        seen_at=row.seen_at,
        cpus=row.cpus,
        cpus_held=machine.cpus_held,
        memory_bytes=row.memory_bytes,
        memory_held_bytes=machine.memory_held_bytes,
        gpus=[
            GpuAnswer(
                **gpu,
                use=row.uses.get(gpu["uuid"]),
                held_by=next((_holder(who) for who in holders if not who.gpu_bytes), None),
                shared_by=[_holder(who) for who in holders if who.gpu_bytes],
                quarantine=row.quarantine.get(gpu["uuid"]),
            )
            for gpu, holders in machine.gpus()
        ],
    )


def _holder(holder: Holder) -> HolderAnswer:
    return HolderAnswer(
        run=holder.run_id,
        rank=holder.rank,
        user=holder.user,
        repo=holder.name or None,
        since=holder.since,
        gpu_memory_bytes=holder.gpu_bytes or None,
    )


def _waiting(waiting: Waiting) -> WaitingAnswer:
    fields = asdict(waiting)
    return WaitingAnswer(run=fields.pop("run_id"), repo=fields.pop("name") or None, **fields)
