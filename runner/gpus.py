"""The GPUs of this machine, through NVML (module `pynvml` of nvidia-ml-py). No driver: no GPUs, no error."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ParamSpec, Protocol, TypeVar

import pynvml

from hermes.driver import ANSWER_S
from hermes.gpu import Gpu
from hermes.journal import log
from hermes.threads import in_thread
from runner import mig
from runner.modes import Modes, read_modes

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class GpuUse:
    """One GPU at one moment; None where the driver does not say."""

    uuid: str
    percent: float | None
    memory_bytes: int | None
    power_w: float | None
    celsius: int | None
    mhz: int | None = None  # of its multiprocessors
    processes: Mapping[int, int] = field(default_factory=dict)  # {process id: bytes of its memory}

    def as_json(self) -> dict[str, Any]:
        """As it is stored in a sample."""
        return {
            "uuid": self.uuid,
            "percent": self.percent,
            "memory_bytes": self.memory_bytes,
            "power_w": self.power_w,
            "celsius": self.celsius,
            "mhz": self.mhz,
        }


@dataclass(frozen=True)
class GpuHealth:
    """What tells whether a GPU is fit for somebody else. `ecc_errors`: uncorrected ones since the driver was
    loaded; None where the GPU does not count them. `draws`: it has a screen, whose memory comes and goes."""

    processes: tuple[int, ...]
    memory_bytes: int
    draws: bool
    ecc_errors: int | None


class Gpus(Protocol):
    """What the runner needs of GPUs."""

    def list(self) -> tuple[Gpu, ...]:
        """The GPUs that answer, in the driver's order."""

    def sample(self, uuids: Sequence[str]) -> Sequence[GpuUse]:
        """How these are used now; a GPU that does not answer is left out."""

    def health(self, uuid: str) -> GpuHealth | None:
        """How it is now; None: it does not answer."""

    def modes(self, uuid: str) -> Modes:
        """How it is set, or the GPU that it is an instance of; empty: it does not answer."""

    def xids(self) -> Sequence[tuple[str, int]]:
        """(UUID, Xid) of the critical errors that the driver has reported since the last call."""


async def ask_driver(otherwise: T, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """A call of `Gpus` with a bound; `otherwise` when the driver hangs. Its thread is left behind."""
    try:
        async with asyncio.timeout(ANSWER_S):
            return await in_thread(question, *args, **kwargs)
    except TimeoutError:
        log.warning("the NVIDIA driver does not answer", within_s=ANSWER_S)
        return otherwise


class NoGpus:
    """A machine without a GPU, or one whose GPUs are to be left alone."""

    def list(self) -> tuple[Gpu, ...]:
        return ()

    def sample(self, uuids: Sequence[str]) -> Sequence[GpuUse]:
        return []

    def health(self, uuid: str) -> GpuHealth | None:
        return None

    def modes(self, uuid: str) -> Modes:
        return {}

    def xids(self) -> Sequence[tuple[str, int]]:
        return []


class NvmlGpus:
    """The real ones. `nvmlInit` was called and worked."""

    def __init__(self) -> None:
        self._events = _listen()

    def list(self) -> tuple[Gpu, ...]:
        found: list[Gpu] = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            with suppress(pynvml.NVMLError):  # one that fell off the bus is not listed
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                parts = mig.instances(handle)
                major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
                for instance, part in enumerate(parts) if parts is not None else [(None, handle)]:
                    found.append(
                        Gpu(
                            uuid=pynvml.nvmlDeviceGetUUID(part),
                            index=index,
                            model=pynvml.nvmlDeviceGetName(part).removeprefix("NVIDIA "),
                            memory_bytes=int(pynvml.nvmlDeviceGetMemoryInfo(part).total),
                            capability=f"{major}.{minor}",
                            instance=instance,
                        )
                    )
        return tuple(found)

    def sample(self, uuids: Sequence[str]) -> Sequence[GpuUse]:
        uses = []
        for uuid in uuids:
            with suppress(pynvml.NVMLError):
                handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
                uses.append(_use(uuid, handle))
        return uses

    def health(self, uuid: str) -> GpuHealth | None:
        try:
            handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
            used_bytes = int(pynvml.nvmlDeviceGetMemoryInfo(handle).used)
            computing = _pids(handle, pynvml.nvmlDeviceGetComputeRunningProcesses)
            draws = bool(_pids(handle, pynvml.nvmlDeviceGetGraphicsRunningProcesses))
            return GpuHealth(computing, used_bytes, draws, _ecc_errors(mig.parent(handle)))
        except pynvml.NVMLError as error:
            log.warning("GPU does not answer", gpu=uuid, error=str(error))
            return None

    def modes(self, uuid: str) -> Modes:
        try:
            return read_modes(mig.parent(pynvml.nvmlDeviceGetHandleByUUID(uuid)))
        except pynvml.NVMLError:
            return {}

    def xids(self) -> Sequence[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        with suppress(pynvml.NVMLError):  # a time-out: nothing more has happened
            while self._events is not None:
                event = pynvml.nvmlEventSetWait_v2(self._events, 0)
                hit = mig.hit(event.device, event.gpuInstanceId)
                found += [(pynvml.nvmlDeviceGetUUID(each), int(event.eventData)) for each in hit]
        return found


def _listen() -> Any:
    """An event set for the Xids of all GPUs; None where the driver has none to offer."""
    try:
        events = pynvml.nvmlEventSetCreate()
    except pynvml.NVMLError:
        return None
    for index in range(pynvml.nvmlDeviceGetCount()):
        with suppress(pynvml.NVMLError):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, events)
    return events


def _pids(handle: Any, ask: Callable[[Any], Any]) -> tuple[int, ...]:
    """Nothing from a driver that is too old to say it. Raises NVMLError."""
    try:
        return tuple(each.pid for each in ask(handle))
    except pynvml.NVMLLibraryMismatchError:  # not an NVMLError
        return ()


def _ecc_errors(handle: Any) -> int | None:
    kind, since = pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC
    try:
        return int(pynvml.nvmlDeviceGetTotalEccErrors(handle, kind, since))
    except pynvml.NVMLError:  # a consumer's card has no ECC
        return None


def _use(uuid: str, handle: Any) -> GpuUse:
    def ask(function: Any, *args: Any) -> Any:
        try:
            return function(handle, *args)
        except pynvml.NVMLError:  # not supported here, for example utilisation under MIG
            return None

    utilisation = ask(pynvml.nvmlDeviceGetUtilizationRates)
    memory = ask(pynvml.nvmlDeviceGetMemoryInfo)
    milliwatts = ask(pynvml.nvmlDeviceGetPowerUsage)
    return GpuUse(
        uuid=uuid,
        percent=None if utilisation is None else float(utilisation.gpu),
        memory_bytes=None if memory is None else int(memory.used),
        power_w=None if milliwatts is None else milliwatts / 1000,
        celsius=ask(pynvml.nvmlDeviceGetTemperature, pynvml.NVML_TEMPERATURE_GPU),
        mhz=ask(pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_SM),
        processes=_memory_by_process(handle),
    )


def _memory_by_process(handle: Any) -> dict[int, int]:
    """Empty where the driver does not say it."""
    try:
        computing = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except (pynvml.NVMLError, pynvml.NVMLLibraryMismatchError):
        return {}
    return {each.pid: int(each.usedGpuMemory) for each in computing if each.usedGpuMemory is not None}


def open_gpus(mode: str) -> tuple[Gpus, str]:
    """The GPUs of this machine and a line about them; `mode` is HERMES_GPUS."""
    if mode == "none":
        return NoGpus(), "HERMES_GPUS=none"
    try:
        pynvml.nvmlInit()
        gpus = NvmlGpus()
        words = ", ".join(f"{gpu.index}: {gpu.model}" for gpu in gpus.list())
    except pynvml.NVMLError as error:
        return NoGpus(), f"no GPU ({error})"
    return gpus, words or "the driver lists no GPU"
