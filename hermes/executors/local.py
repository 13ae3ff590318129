"""For a machine without an engine, and for people who trust each other: a process group and a directory.

It bounds memory (watched), file sizes, open files and time; it does not hide the machine from the program."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from hermes.errors import Unavailable
from hermes.executors.base import KILL_WAIT_S, Box, Exit, Folder, Seen, Sink, Task, Usage
from hermes.executors.processes import cpu_and_memory, group_members, kill_all, mark
from hermes.executors.tars import pack, unpack
from hermes.logs import MIXED
from hermes.threads import in_thread

_WATCH_S = 0.05
_OUR_CUDA = Path(sys.prefix) / "cuda" / "bin"  # where scripts/ensure-cuda puts one, if the machine has none
_PATH = f"/usr/local/cuda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:{_OUR_CUDA}"


@dataclass
class _Handle:
    process: "subprocess.Popen[bytes]"
    folder: Path
    usage: Usage = field(default_factory=lambda: Usage(0.0, 0, 0))
    out_of_memory: bool = False
    followed: bool = False
    watcher: threading.Thread | None = None
    began: float = field(default_factory=time.monotonic)


class LocalExecutor:
    """Boxes as directories below `base`, commands as processes of this user."""

    name = "local"

    def __init__(self, base: Path) -> None:
        self._base = base
        self._handles: dict[str, _Handle] = {}

    async def check(self) -> str:
        for tool in ("make", "g++", "prlimit", "tar"):
            if shutil.which(tool) is None:
                raise Unavailable(f"the local executor needs {tool}: apt-get install make g++ util-linux tar")
        return "processes of this machine, for trusted users only"

    async def has_image(self, reference: str) -> bool:
        return True  # the machine itself is the image

    async def start(self, task: Task) -> Box:
        try:
            handle = await in_thread(self._start, task)
        except OSError as error:
            await self.remove(task.name)
            raise Unavailable(f"the box cannot be made: {error}") from error
        except BaseException:
            await asyncio.shield(self.remove(task.name))
            raise
        return Box(task, handle)

    async def adopt(self, task: Task, seen: Seen) -> Box | None:
        return None  # its output went into a pipe of the process that is gone

    async def follow(self, box: Box, sink: Sink) -> Exit:
        return await in_thread(_follow, box.handle, sink)

    async def stop(self, box: Box, grace_s: float = KILL_WAIT_S) -> None:
        def stop() -> None:
            handle: _Handle = box.handle
            with suppress(ProcessLookupError):
                handle.process.terminate()  # the program itself, as a container's init does; the rest below
            with suppress(subprocess.TimeoutExpired):
                handle.process.wait(grace_s)
            kill_all(box.task.name)

        await in_thread(stop)

    async def usage(self, box: Box) -> Usage | None:
        usage: Usage = box.handle.usage
        return usage

    async def processes(self, box: Box) -> frozenset[int]:
        return frozenset(await in_thread(group_members, box.handle.process.pid))

    async def save(self, box: Box, folder: Folder, target: Path, limit_bytes: int) -> None:
        def save() -> None:
            source: Path = box.handle.folder / folder
            if source.is_symlink() or not source.is_dir():  # its program did that: there is nothing to keep
                source.unlink(missing_ok=True)
                source.mkdir()
            pack(source, target, limit_bytes)

        await in_thread(save)

    async def boxes(self) -> list[str]:
        return sorted(each.name for each in self._base.glob("*") if each.is_dir())

    async def remove(self, name: str) -> None:
        def remove() -> None:
            self._forget(name)
            shutil.rmtree(self._base / name, ignore_errors=True)

        await in_thread(remove)

    def _forget(self, name: str) -> None:
        while kill_all(name):
            time.sleep(0.01)
        handle = self._handles.pop(name, None)
        if handle is None:
            return
        if handle.watcher is not None:  # its last act is to kill by name, and the name may be used again
            handle.watcher.join()
        if not handle.followed and handle.process.stdout is not None:
            handle.process.stdout.close()

    async def close(self) -> None:
        return

    def _start(self, task: Task) -> _Handle:
        folder = (self._base / task.name).absolute()
        self._forget(task.name)
        shutil.rmtree(folder, ignore_errors=True)
        for each in ("app", "output", "tmp"):
            (folder / each).mkdir(parents=True)
        unpack(task.tree, folder / "app")
        process = subprocess.Popen(
            [*_bounds(task), *task.command],
            cwd=folder / "app",
            env=_env(task, folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        handle = self._handles[task.name] = _Handle(process, folder)
        handle.watcher = threading.Thread(target=_watch, args=(handle, task), daemon=True, name="watch")
        handle.watcher.start()
        return handle


def _bounds(task: Task) -> list[str]:
    disk, sign = task.limits.disk_bytes, mark(task.name)
    return ["prlimit", f"--fsize={disk}", "--nofile=4096", "--core=0", f"--rttime={sign}:{sign}", "--"]


def _env(task: Task, folder: Path) -> dict[str, str]:
    kept = {}
    if task.cache is not None:
        task.cache.mkdir(parents=True, exist_ok=True)
        kept["CCACHE_DIR"] = str(task.cache.absolute())
    if task.checkpoint is not None:
        task.checkpoint.mkdir(parents=True, exist_ok=True)
        kept["HERMES_CHECKPOINT_DIR"] = str(task.checkpoint.absolute())
    return {
        "HOME": str(folder / "tmp"),
        "TMPDIR": str(folder / "tmp"),
        **task.env,
        "PATH": _PATH,
        "HERMES_OUTPUT_DIR": str(folder / "output"),
        **kept,
        "CUDA_VISIBLE_DEVICES": ",".join(task.gpus),
    }


def _watch(handle: _Handle, task: Task) -> None:
    """Account for the group and end it when it outgrows its memory: no limit of the kernel's fits CUDA,
    whose programs map far more addresses than they use."""
    group = handle.process.pid
    while handle.process.poll() is None:
        cpu_s, memory_bytes = cpu_and_memory(group_members(group))
        peak = max(handle.usage.peak_memory_bytes, memory_bytes)
        handle.usage = Usage(max(cpu_s, handle.usage.cpu_s), memory_bytes, peak)
        if memory_bytes > task.limits.memory_bytes:
            handle.out_of_memory = True
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        time.sleep(_WATCH_S)
    kill_all(task.name)  # what it left behind would hold its output open


def _follow(handle: _Handle, sink: Sink) -> Exit:
    output: IO[bytes] | None = handle.process.stdout
    assert output is not None
    handle.followed = True
    with output:
        while chunk := os.read(output.fileno(), 1 << 16):
            sink(chunk, MIXED)
    code = handle.process.wait()
    wall_s = time.monotonic() - handle.began
    return Exit(code if code >= 0 else 128 - code, wall_s, handle.out_of_memory)
