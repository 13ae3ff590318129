"""A GPU as this instance knows it, and what a rank may ask of one."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict


class GpuWant(BaseModel):
    """What one rank needs of GPUs; `memory_bytes` is the least of each, and with `share` what is reserved."""

    model_config = ConfigDict(frozen=True)
    count: int = 0
    memory_bytes: int = 0
    capability: str = ""
    model: str = ""
    share: bool = False
    pool: str = ""


def gpu_number(index: int, instance: int | None) -> str:
    """What people call it: `0`, or `0.2` for an instance of a divided one."""
    return str(index) if instance is None else f"{index}.{instance}"


@dataclass(frozen=True)
class Gpu:
    """One GPU as NVML lists it, or an instance of one that is divided by MIG. `index` is what people call it,
    `instance` the number of the instance; `pool` is the operator's (hermes.pools)."""

    uuid: str
    index: int
    model: str
    memory_bytes: int
    capability: str
    instance: int | None = None
    pool: str = ""

    @property
    def name(self) -> str:
        """`GPU 0 (H200)`, `GPU 0.2 (H200 MIG 1g.18gb)`."""
        return f"GPU {gpu_number(self.index, self.instance)} ({self.model})"

    def fits(self, want: GpuWant) -> bool:
        """Whether this GPU is of the kind that is wanted, busy or not. A program of CUDA sees one instance of
        a divided GPU at most (docs.nvidia.com/datacenter/tesla/mig-user-guide)."""
        return (
            self.memory_bytes >= want.memory_bytes
            and _version(self.capability) >= _version(want.capability)
            and want.model.lower() in self.model.lower()
            and want.pool in ("", self.pool)
            and (self.instance is None or want.count <= 1)
        )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part)
