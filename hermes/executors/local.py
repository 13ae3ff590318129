"""For a machine without an engine, and for people who trust each other: a process group and a directory.

What the machine allows is found by trying it: bubblewrap hides the machine from the program, control groups
bound memory and processes, disks bound what it writes. Without them it is watched, and ended for too much."""

import asyncio
import os
import shlex
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hermes.errors import Unavailable
from hermes.executors import disks
from hermes.executors.base import KILL_WAIT_S, Box, Dockerfiles, Exit, Folder, Layers, Seen, Sink, Task, Usage
from hermes.executors.bubblewrap import CUDA, CUDA_INSIDE, Fence, environment_file, find_fence
from hermes.executors.container import CACHE, CHECKPOINT, FOLDERS, INPUT, file_env
from hermes.executors.cores import Cores
from hermes.executors.groups import Parents, find_parents, group_of
from hermes.executors.installed import Installed, NoDockerfiles
from hermes.executors.life import STUCK_S, Life, Start
from hermes.executors.masked import masked
from hermes.executors.processes import kill_all
from hermes.executors.tars import pack
from hermes.executors.workplace import Places, bring, clear, lay_out, lay_out_unbounded
from hermes.threads import in_thread

_FOLDERS = {"app": FOLDERS["app"], "output": FOLDERS["output"], "tmp": "/tmp", "shm": "/dev/shm"}
_PATH = "/usr/local/cuda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Means:
    """What this machine gives us to hold a box with. `why`: there is no fence, and what to do about it."""

    fence: Fence | None
    parents: Parents
    has_disks: bool
    why: str = ""

    @property
    def words(self) -> str:
        """For the operator."""
        if self.fence is None:
            return (
                f"for trusted users only: no fence, programs see and use all that this user can; {self.why}"
            )
        watched = [] if self.parents else ["memory and processes"]
        watched += [] if self.has_disks else ["disks"]
        more = f" ({' and '.join(watched)} are watched, not bounded: that needs root)" if watched else ""
        return f"for trusted users only: in bubblewrap, a lighter fence than a container{more}"


@dataclass
class _Handle:
    life: Life
    places: Places


class LocalExecutor:
    """Boxes as directories below `base`, commands as processes of this machine. `hidden`: our own data."""

    name = "local"
    outlives = False  # what they print goes through a pipe of ours

    def __init__(self, base: Path, hidden: Path | None = None) -> None:
        self._base, self._hidden = base.absolute(), (hidden or base).absolute()
        self._means: Means | None = None
        self._cores = Cores()
        self.layers: Layers = Installed()
        self.dockerfiles: Dockerfiles = NoDockerfiles()
        self._handles: dict[str, _Handle] = {}

    async def leave(self, box: Box) -> None:
        raise Unavailable("a program of the local executor does not go on without it")

    async def check(self) -> str:
        for tool in ("make", "g++", "prlimit", "setpriv", "tar"):
            if shutil.which(tool) is None:
                raise Unavailable(f"the local executor needs {tool}: apt-get install make g++ util-linux tar")
        return f"processes of this machine, {(await in_thread(self._find_means)).words}"

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

    async def prepare(self, tasks: Sequence[Task]) -> None:
        """Nothing: without an engine a box is made in the time that it takes to unpack its tree."""

    async def keep_warm(self, tasks: Sequence[Task]) -> None:
        """Nothing, for the same reason."""

    async def adopt(self, task: Task, seen: Seen) -> Box | None:
        return None  # its output went into a pipe of the process that is gone

    async def follow(self, box: Box, sink: Sink) -> Exit:
        life: Life = box.handle.life
        with masked(sink, tuple(box.task.secrets.values())) as masking:
            return await in_thread(life.follow, masking)

    async def stop(self, box: Box, grace_s: float = KILL_WAIT_S) -> None:
        def stop() -> None:
            life: Life = box.handle.life
            life.ask()
            life.wait(grace_s)
            life.kill()

        await in_thread(stop)

    async def usage(self, box: Box) -> Usage | None:
        handle: _Handle = box.handle
        return handle.life.usage

    async def processes(self, box: Box) -> frozenset[int]:
        handle: _Handle = box.handle
        return await in_thread(handle.life.processes)

    async def save(self, box: Box, folder: Folder, target: Path, limit_bytes: int) -> None:
        def save() -> None:
            source: Path = box.handle.places[FOLDERS[folder]]
            if source.is_symlink() or not source.is_dir():  # its program did that: there is nothing to keep
                source.unlink(missing_ok=True)
                source.mkdir()
            fence = self._find_means().fence
            pack(source, target, limit_bytes, fence.owner if fence else None)

        await in_thread(save)

    async def boxes(self) -> list[str]:
        return sorted(each.name for each in self._base.glob("*") if each.is_dir())

    async def remove(self, name: str) -> None:
        await in_thread(self._remove, name)

    async def close(self) -> None:
        return

    def _find_means(self) -> Means:
        if self._means is None:
            fence, why = find_fence()
            self._means = Means(fence, find_parents(), disks.can_mount(self._base), why)
        return self._means

    def _remove(self, name: str) -> None:
        if handle := self._handles.get(name):
            handle.life.end()
            self._handles.pop(name, None)
        elif (self._base / name).exists():  # of a process of ours that was killed
            deadline = time.monotonic() + STUCK_S
            while kill_all(name, self._base / name):
                if time.monotonic() > deadline:
                    raise Unavailable(f"a program cannot be killed ({name})")
                time.sleep(0.01)
        if parents := self._find_means().parents:
            group_of(parents, name).remove()
        self._cores.give_back(name)
        clear(self._base / name)

    def _start(self, task: Task) -> _Handle:
        self._remove(task.name)
        means, own = self._find_means(), self._base / task.name
        own.mkdir(parents=True)
        owner = means.fence.owner if means.fence else None
        place = lay_out if means.has_disks else lay_out_unbounded
        places = place(own, task, _FOLDERS, owner) | bring(own, task, may_link=means.fence is not None)
        life = Life(self._plan(task, means, places))
        handle = self._handles[task.name] = _Handle(life, places)
        life.begin()
        return handle

    def _plan(self, task: Task, means: Means, places: Places) -> Start:
        group = group_of(means.parents, task.name) if means.parents else None
        if group is not None:
            group.bound(task.limits)
        command, env, info = list(task.command), {}, None
        if means.fence is None:
            env = _variables(task, {place: str(folder) for place, folder in places.items()}, CUDA)
            env |= task.secrets
        else:
            env = dict(task.secrets)  # never to a disk, and their names are none that act on us on the way
            variables = _variables(task, {place: place for place in places}, CUDA_INSIDE)
            _write_down(variables, places, means.fence)
            info = os.pipe()
            command = means.fence.command(task, places, self._hidden, info[1])
        own = self._base / task.name
        kept = [folder for place, folder in places.items() if place == CHECKPOINT]
        return Start(
            name=task.name,
            command=command,
            env=env | {"PATH": env.get("PATH", _PATH)},
            own=own,
            folder=places["/app"],
            limits=task.limits,
            cores=self._cores.take(task.name, task.limits.cpus),
            group=group,
            watched=() if means.has_disks else (own, *kept),
            info=info,
            stdin=task.stdin,
            apart=task.apart,
        )


def _variables(task: Task, places: dict[str, str], cuda: Path) -> dict[str, str]:
    """What the program sees; `places`: {place: how it is called there}."""
    return {
        "HOME": places["/tmp"],
        "TMPDIR": places["/tmp"],
        **task.env,
        "PATH": f"{_PATH}:{cuda / 'bin'}",
        "HERMES_OUTPUT_DIR": places[FOLDERS["output"]],
        **({"CCACHE_DIR": places[CACHE]} if CACHE in places else {"CCACHE_DISABLE": "1"}),
        **({"HERMES_CHECKPOINT_DIR": places[CHECKPOINT]} if CHECKPOINT in places else {}),
        **({"HERMES_INPUT_DIR": places[INPUT]} if INPUT in places else {}),
        **file_env(task, places.get(INPUT, ""), places[FOLDERS["output"]]),
        "CUDA_VISIBLE_DEVICES": ",".join(task.gpus),
    }


def _write_down(variables: dict[str, str], places: Places, fence: Fence) -> None:
    file = environment_file(places)
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()]
    file.write_text("".join(lines), encoding="utf-8", errors="surrogateescape")
    file.chmod(0o400)
    if fence.owner is not None:
        shutil.chown(file, fence.owner, fence.owner)
