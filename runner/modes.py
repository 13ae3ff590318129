"""How a GPU is set (compute mode, power limit, …), as far as its driver tells: a run must leave it as it was.

No driver tells whether clocks are locked (`nvidia-smi --lock-gpu-clocks`); only root can lock them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pynvml

Modes = Mapping[str, str]  # {what: how it is set}, both in words
_COMPUTE = {
    pynvml.NVML_COMPUTEMODE_DEFAULT: "default",
    pynvml.NVML_COMPUTEMODE_EXCLUSIVE_THREAD: "exclusive thread",
    pynvml.NVML_COMPUTEMODE_PROHIBITED: "prohibited",
    pynvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS: "exclusive process",
}


def read_modes(handle: Any) -> Modes:
    """Of a whole GPU, without what it does not have or its driver does not tell."""
    return dict(_read(handle))


def _read(handle: Any) -> Iterator[tuple[str, str]]:
    def ask(function: Callable[..., Any], *args: Any) -> Any:
        try:
            return function(handle, *args)
        except pynvml.NVMLError:
            return None

    if (compute := ask(pynvml.nvmlDeviceGetComputeMode)) is not None:
        yield "compute mode", _COMPUTE.get(compute, str(compute))
    if (persistence := ask(pynvml.nvmlDeviceGetPersistenceMode)) is not None:
        yield "persistence mode", _switch(persistence)
    for name, function in (("ECC", pynvml.nvmlDeviceGetEccMode), ("MIG", pynvml.nvmlDeviceGetMigMode)):
        if (states := ask(function)) is not None:
            yield name, _switch(states[0])
            yield f"{name} after the next reset", _switch(states[1])
    for name, clock in (("graphics", pynvml.NVML_CLOCK_GRAPHICS), ("memory", pynvml.NVML_CLOCK_MEM)):
        if (mhz := ask(pynvml.nvmlDeviceGetApplicationsClock, clock)) is not None:
            yield f"application clock ({name})", f"{mhz} MHz"
    if (milliwatts := ask(pynvml.nvmlDeviceGetPowerManagementLimit)) is not None:
        yield "power limit", f"{milliwatts / 1000:g} W"


def _switch(state: int) -> str:
    return "on" if state else "off"


def changes(before: Modes, after: Modes) -> str:
    """What is set in another way than before, in words; "" if nothing is."""
    return ", ".join(
        f"{name} was {before[name]}, is {now}" for name, now in after.items() if before.get(name, now) != now
    )
