"""`python -m runner.look`: what the driver says of the GPUs here, a line of JSON for each line on stdin."""

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pynvml

from hermes import journal
from hermes.driver import DriverState, GpuState
from hermes.gpu import Gpu
from hermes.settings import load_settings
from runner.gpus import GpuHealth, Gpus, GpuUse, NoGpus, open_gpus


def look(gpus: Gpus, words: str) -> DriverState:
    """Everything that people are shown of the driver and its GPUs, once."""
    if isinstance(gpus, NoGpus):
        return DriverState(words=words)
    try:
        cuda = pynvml.nvmlSystemGetCudaDriverVersion()
        return DriverState(
            words=words,
            version=pynvml.nvmlSystemGetDriverVersion(),
            cuda=f"{cuda // 1000}.{cuda % 1000 // 10}",
            gpus=_states(gpus),
        )
    except pynvml.NVMLError as error:
        return DriverState(words=f"no GPU ({error})")


def _states(gpus: Gpus) -> list[GpuState]:
    """Also those that do not answer."""
    listed = gpus.list()
    uses = {use.uuid: use for use in gpus.sample([gpu.uuid for gpu in listed])}
    found = []
    for gpu in listed:
        use, health = uses.get(gpu.uuid), gpus.health(gpu.uuid)
        if use is not None and health is not None:
            found.append(_state(gpu, use, health))
    seen = {state.index for state in found}
    silent = [index for index in range(pynvml.nvmlDeviceGetCount()) if index not in seen]
    return sorted([*found, *map(_silent, silent)], key=lambda state: (state.index, state.instance or 0))


def _state(gpu: Gpu, use: GpuUse, health: GpuHealth) -> GpuState:
    return GpuState(
        index=gpu.index,
        instance=gpu.instance,
        uuid=gpu.uuid,
        model=gpu.model,
        memory_bytes=gpu.memory_bytes,
        capability=gpu.capability,
        used_bytes=use.memory_bytes,
        percent=use.percent,
        power_w=use.power_w,
        celsius=use.celsius,
        pids=list(health.processes),
        **_modes(pynvml.nvmlDeviceGetHandleByIndex(gpu.index)),
    )


def _silent(index: int) -> GpuState:
    """One that is not listed, and why."""
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        modes = _modes(handle)
        pynvml.nvmlDeviceGetUUID(handle)
    except pynvml.NVMLError as error:
        return GpuState(index=index, error=str(error))
    why = "in MIG mode, and has no instances" if modes["mig"] else "it does not say what it is"
    return GpuState(index=index, error=why, **modes)


def _modes(handle: Any) -> dict[str, Any]:
    def ask(function: Callable[[Any], Any]) -> Any:
        with suppress(pynvml.NVMLError):  # not every GPU has every mode, nor every driver every question
            return function(handle)
        return None

    persistence = ask(pynvml.nvmlDeviceGetPersistenceMode)
    ecc, mig = ask(pynvml.nvmlDeviceGetEccMode), ask(pynvml.nvmlDeviceGetMigMode)
    return {
        "persistence": None if persistence is None else bool(persistence),
        "ecc": bool(ecc[0]) if ecc else None,
        "mig": bool(mig[0]) if mig else None,
    }


def main() -> None:
    """Look whenever asked, until stdin ends."""
    settings = load_settings()
    journal.configure(settings.log, "look")  # stdout is for answers
    gpus, words = open_gpus(settings.gpus)
    for _ in sys.stdin:
        print(look(gpus, words).model_dump_json(), flush=True)


if __name__ == "__main__":
    main()
