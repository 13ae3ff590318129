"""The default executor: one hardened container a box, GPUs by UUID.

Every engine call has a deadline. Output is attached before the start and drained in a thread of its own:
`logs(follow)` loses lines, `attach` never does (Docker engine 20.10 and 28, measured)."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import requests
from docker.errors import DockerException
from docker.errors import NotFound as NoContainer

from hermes.errors import Unavailable
from hermes.executors.ahead import Ahead
from hermes.executors.base import KILL_WAIT_S, Box, Dockerfiles, Exit, Folder, Layers, Seen, Sink, Task, Usage
from hermes.executors.cgroups import group_paths, read_processes, read_usage
from hermes.executors.container import FOLDERS, Ground
from hermes.executors.dockerfiles import DockerfileImages
from hermes.executors.engine import (
    CALL_S,
    call,
    check_ground,
    connect,
    engine_socket,
    has_image,
    in_words,
    save_archive,
    stop_container,
)
from hermes.executors.gate import Begun
from hermes.executors.handle import Handle
from hermes.executors.layers import PackageLayers, have_again
from hermes.executors.maker import Maker
from hermes.executors.output import hand_on, keeper_at, open_output
from hermes.executors.tars import pack
from hermes.executors.warm import Ready, Warm
from hermes.tasks import beside
from hermes.threads import in_thread
from hermes.tree import OWNER_ID

_LABEL = "hermes.instance"
_STARTS = 4  # at a time: an engine does not do more, and each has a deadline


class DockerExecutor:
    """Boxes as containers of a local engine; `keeper`: where one of their output is to be (hermes.keeper)."""

    name = "docker"
    _call = staticmethod(call)

    def __init__(
        self, base: Path, instance: str, ground: Ground | None = None, keeper: Path | None = None
    ) -> None:
        self._ground = ground or Ground()
        self._maker = Maker(base, {_LABEL: instance}, self._ground, self._client)
        self._keeper = keeper_at(keeper, engine_socket()) if keeper else None
        self.outlives = self._keeper is not None
        self._api: Any = None
        self._handles: dict[str, Handle] = {}
        self.layers: Layers = PackageLayers(self._client, self._ground)
        self.dockerfiles: Dockerfiles = DockerfileImages(self._client, self._ground)
        self._starts = asyncio.Semaphore(_STARTS)
        remove = partial(self._call, self._maker.remove)
        self._ahead = Ahead(partial(self._call, self._maker.make), remove)
        self._warm = Warm(f"hermes-{instance}-", partial(self._call, self._maker.make_open), remove)

    async def leave(self, box: Box) -> None:
        self._handles.pop(box.task.name, None)
        box.handle.leave()
        if self._keeper is not None:
            self._keeper.leave()

    async def check(self) -> str:
        return f"Docker engine {await self._call(self._ping)}"

    async def has_image(self, reference: str) -> bool:
        return await self._call(lambda: has_image(self._client(), reference))

    async def start(self, task: Task) -> Box:
        warm = None
        try:
            await have_again(self.dockerfiles, self.layers, task)
            made = await self._ahead.take(task)
            warm = None if made else await self._warm.take(task)
            async with self._starts:
                handle = await self._call(self._start, task, made, warm)
        except BaseException:
            with suppress(Unavailable):
                await asyncio.shield(self._give_up(task, warm))
            raise
        finally:
            self._warm.let_go(warm)
        self._forget(task.name)
        self._handles[task.name] = handle
        return Box(task, handle, was_ready=bool(made or warm))

    async def prepare(self, tasks: Sequence[Task]) -> None:
        await self._ahead.have(tasks)

    async def keep_warm(self, tasks: Sequence[Task]) -> None:
        await self._warm.have(tasks if self._maker.has_disks else ())

    async def adopt(self, task: Task, seen: Seen) -> Box | None:
        if (handle := await self._call(self._adopt, task.name, seen)) is None:
            return None
        self._handles[task.name], gone = handle, handle.output.gone
        was_ready = self._maker.real_name(task.name) != task.name
        return Box(task, handle, gone.beyond(seen), gone.with_all_of(seen), was_ready)

    async def follow(self, box: Box, sink: Sink) -> Exit:
        async with beside(self._watch(box.handle)):
            return await in_thread(self._follow, box.handle, sink)

    async def _watch(self, handle: Handle) -> None:
        handle.watch(await self._groups(handle))

    async def stop(self, box: Box, grace_s: float = KILL_WAIT_S) -> None:
        name = box.handle.container
        await self._call(lambda: stop_container(self._client(), name, grace_s), deadline_s=grace_s + 20)

    async def usage(self, box: Box) -> Usage | None:
        usage, begun = read_usage(await self._groups(box.handle)), box.handle.begun
        return begun.without_wait(usage) if usage and begun else usage

    async def processes(self, box: Box) -> frozenset[int]:
        return read_processes(await self._groups(box.handle))

    async def _groups(self, handle: Handle) -> dict[str, Path]:
        if handle.groups is None:
            with suppress(Unavailable):  # asked again the next time
                found = await self._call(self._client().inspect_container, handle.container)
                handle.groups = group_paths(found["State"]["Pid"], handle.container)
        return handle.groups or {}

    async def save(self, box: Box, folder: Folder, target: Path, limit_bytes: int) -> None:
        if self._maker.has_disks:
            source = self._maker.disk(box.task.name) / folder
            await in_thread(pack, source, target, limit_bytes, OWNER_ID)
        else:
            place, container = FOLDERS[folder], box.handle.container
            await in_thread(save_archive, self._client(), container, place, target, limit_bytes)

    async def boxes(self) -> list[str]:
        waiting = self._warm.names  # asked first: what is taken meanwhile is found by its task's name
        found = await self._call(self._maker.names)
        known = waiting | self._warm.names | self._ahead.names
        return sorted(found - known)  # asked last: what was taken meanwhile has its row by now

    async def remove(self, name: str) -> None:
        await self._call(self._maker.remove, name)
        self._forget(name)

    async def _give_up(self, task: Task, warm: Ready | None) -> None:
        await self.remove(task.name)
        if warm is not None:  # perhaps it was not the task's yet
            await self.remove(warm.name)

    def _forget(self, name: str) -> None:
        if handle := self._handles.pop(name, None):
            handle.close()

    async def close(self) -> None:
        for made in (self._ahead, self._warm):
            with suppress(Unavailable):  # the next start sweeps them
                await made.have(())
        await in_thread(self._close)

    def _close(self) -> None:
        for name in list(self._handles):
            self._forget(name)
        for opened in filter(None, (self._keeper, self._api)):
            opened.close()

    def _client(self) -> Any:
        if self._api is None:
            self._api = connect(CALL_S)
        return self._api

    def _ping(self) -> str:
        version = self._client().version()["Version"]
        check_ground(self._client(), self._ground)
        if self._keeper is not None:
            self._keeper.stay()
        words = f"{version}, runtime {self._ground.runtime}" if self._ground.runtime else version
        return words if self._maker.find_disks() else f"{words}, disk limits not enforced (that needs root)"

    def _start(self, task: Task, made: str | None, warm: Ready | None) -> Handle:
        failures = DockerException, Unavailable, OSError  # whatever befell it meanwhile: it is made anew
        if made is not None:
            with suppress(*failures):
                return self._launch(task, task.name, made)
        if warm is not None:
            with suppress(*failures):
                self._maker.hand_over(task, warm.name)
                return self._launch(task, warm.name, warm.handle)
            self._maker.take_back(task, warm.name)
        return self._launch(task, task.name, self._maker.make(task))

    def _launch(self, task: Task, name: str, container: str) -> Handle:
        api = self._client()
        output = open_output(self._keeper, api, container, tuple(task.secrets.values()))
        try:
            begun = self._maker.begin(name, container)
        except BaseException:
            output.close()
            raise
        return Handle(container, output, begun)

    def _adopt(self, name: str, seen: Seen) -> Handle | None:
        self._maker.find_disks()
        real = self._maker.real_name(name)
        try:
            found = self._client().inspect_container(real)
        except NoContainer:
            return None
        output = self._keeper.resume(found["Id"], seen) if self._keeper else None
        begun = Begun.noted(self._maker.base / real)
        return None if output is None else Handle(found["Id"], output, begun)

    def _follow(self, handle: Handle, sink: Sink) -> Exit:
        api = self._client()
        try:
            hand_on(handle.output, sink)
            code = int(api.wait(handle.container, timeout=CALL_S)["StatusCode"])
            state = api.inspect_container(handle.container)["State"]
        except (DockerException, requests.RequestException, OSError) as error:
            raise Unavailable(in_words(error)) from error
        if state.get("Status") in ("removing", "dead"):  # its SIGKILL is not the program's fault
            raise Unavailable("somebody removed the container")
        return handle.exit(code, state)
