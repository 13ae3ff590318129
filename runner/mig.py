"""GPUs that the operator has divided by MIG: each instance is given away like a GPU of its own.

Source: docs.nvidia.com/datacenter/tesla/mig-user-guide, and NVML's reference, "Multi Instance GPU"."""

from contextlib import suppress
from typing import Any

import pynvml

_NO_INSTANCE = 0xFFFFFFFF


def instances(handle: Any) -> list[Any] | None:
    """The handles of its instances, in the driver's order; None: it is not divided. Raises NVMLError."""
    try:
        mode, _pending = pynvml.nvmlDeviceGetMigMode(handle)
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound):
        return None
    if mode != pynvml.NVML_DEVICE_MIG_ENABLE:
        return None
    found = []
    for number in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        with suppress(pynvml.NVMLError_NotFound):  # numbers have gaps
            found.append(pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number))
    return found


def parent(handle: Any) -> Any:
    """The GPU that an instance is part of; of a whole GPU itself."""
    try:
        return pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle)
    except pynvml.NVMLError:
        return handle


def hit(handle: Any, gpu_instance: int) -> list[Any]:
    """What an event of this GPU concerns: the instance that it names, else all of them, or the GPU."""
    parts = instances(handle)
    if parts is None:
        return [handle]
    if gpu_instance == _NO_INSTANCE:
        return parts
    return [part for part in parts if pynvml.nvmlDeviceGetGpuInstanceId(part) == gpu_instance]
