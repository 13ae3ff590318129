"""A machine with GPUs that are lines of a text file: the fake driver library, compiled, and its world."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parent / "fake_nvml" / "nvml.c"


@dataclass
class FakeDriver:
    """`env` makes a process see the GPUs of `world`."""

    folder: Path

    @property
    def env(self) -> dict[str, str]:
        """For the process that loads pynvml."""
        return {"LD_LIBRARY_PATH": str(self.folder), "FAKE_NVML": str(self.folder / "world")}

    def build(self) -> "FakeDriver":
        """Compile the library."""
        library = str(self.folder / "libnvidia-ml.so.1")
        soname = "-Wl,-soname,libnvidia-ml.so.1"
        subprocess.run(["gcc", "-shared", "-fPIC", soname, "-o", library, str(SOURCE)], check=True)
        return self

    def world(self, *lines: str) -> "FakeDriver":
        """Change what the driver says, all at once."""
        fresh = self.folder / "world.new"
        fresh.write_text("".join(f"{line}\n" for line in lines))
        fresh.replace(self.folder / "world")
        return self

    def report(self, number: int, xid: int, instance: str = "") -> None:
        """The driver reports a critical error of the GPU on this line of the world, or of an instance."""
        with (self.folder / "world.xid").open("a") as events:
            events.write(f"{number} {xid} {instance}\n")


def gpu(
    number: int,
    *,
    model: str = "H200",
    used_mib: int = 0,
    percent: int = 0,
    pids: str = "-",
    ecc_errors: int = 0,
) -> str:
    """A line of the world."""
    return f"GPU-fake-{number} NVIDIA-{model} 143771 {used_mib} {percent} 120 35 9.0 {pids} {ecc_errors}"


def instance(parent: int, number: int, *, used_mib: int = 0, pids: str = "-") -> str:
    """A line of the world: an instance of the GPU above it."""
    uuid = f"MIG-fake-{parent}-{number}"
    return f"mig {uuid} NVIDIA-H200-MIG-1g.18gb 16384 {used_mib} 0 0 0 9.0 {pids}"
