"""What the NVIDIA driver of this machine says now, asked in a process of its own (`python -m runner.look`).

A driver can hang so that not even SIGKILL ends who asked. A process that does is left behind; a thread would
keep the whole program from ending."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ValidationError

from hermes.errors import Unavailable
from hermes.gpu import gpu_number
from hermes.threads import in_thread

_ROOT = Path(__file__).parent.parent
ANSWER_S = 8.0  # without persistence mode a driver takes seconds to wake up
_DEATH_S = 0.2


class GpuState(BaseModel):
    """One GPU now, or an instance of one; None where the driver does not say. `error`: it does not answer."""

    index: int
    instance: int | None = None
    error: str = ""
    uuid: str = ""
    model: str = ""
    memory_bytes: int = 0
    capability: str = ""
    used_bytes: int | None = None
    percent: float | None = None
    power_w: float | None = None
    celsius: int | None = None
    persistence: bool | None = None
    ecc: bool | None = None
    mig: bool | None = None
    pids: list[int] = []

    @property
    def number(self) -> str:
        """What people call it."""
        return gpu_number(self.index, self.instance)


class DriverState(BaseModel):
    """The driver and its GPUs; `words` say why there are none. `cuda`: the newest version that it can run."""

    words: str
    version: str = ""
    cuda: str = ""
    gpus: list[GpuState] = []


class Driver:
    """One process that looks whenever it is asked. After Unavailable it is gone: make another one."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "runner.look"],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us; it ends with its stdin
        )

    async def look(self) -> DriverState:
        """Raises Unavailable when the process ended; bound it with a time-out, then `close`."""
        return await in_thread(self._look)

    def _look(self) -> DriverState:
        asks, answers = self._process.stdin, self._process.stdout
        assert asks is not None and answers is not None
        try:
            asks.write(b"\n")
            asks.flush()
            return DriverState.model_validate_json(answers.readline())
        except (OSError, ValidationError) as error:
            raise Unavailable("the process that asks the NVIDIA driver ended without an answer") from error

    def close(self) -> None:
        """Kill it, and hardly wait: it may be one that cannot die."""
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_DEATH_S)
            for pipe in filter(None, (self._process.stdin, self._process.stdout)):
                pipe.close()
