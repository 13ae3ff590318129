"""The default executor: one hardened container a box, GPUs by UUID.

Every engine call has a deadline. Output is attached before the start and drained in a thread of its own:
`logs(follow)` loses lines, `attach` never does (Docker engine 20.10 and 28, measured)."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import requests
from docker.errors import DockerException
from docker.errors import NotFound as NoContainer

from hermes.errors import Unavailable
from hermes.executors import disks, volumes
from hermes.executors.ahead import Ahead
from hermes.executors.base import KILL_WAIT_S, Box, Dockerfiles, Exit, Folder, Layers, Seen, Sink, Task, Usage
from hermes.executors.cgroups import group_paths, read_processes, read_usage
from hermes.executors.container import FOLDERS, Ground, create
from hermes.executors.dockerfiles import DockerfileImages
from hermes.executors.engine import (
    CALL_S,
    box_names,
    call,
    check_ground,
    connect,
    engine_socket,
    has_image,
    in_words,
    remove_container,
    save_archive,
    stop_container,
    wall_s,
)
from hermes.executors.layers import PackageLayers, have_again
from hermes.executors.output import Output, hand_on, keeper_at, open_output
from hermes.executors.tars import pack
from hermes.executors.workplace import bring_all, clear, lay_out
from hermes.threads import in_thread
from hermes.tree import OWNER_ID

_LABEL = "hermes.instance"
_STARTS = 4  # at a time: an engine does not do more, and each has a deadline


@dataclass
class _Handle:
    container: str
    output: Output
    groups: dict[str, Path] | None = None  # not looked for yet: whoever reads its output must not wait


class DockerExecutor:
    """Boxes as containers of a local engine; `keeper`: where one of their output is to be (hermes.keeper)."""

    name = "docker"
    _call = staticmethod(call)

    def __init__(
        self, base: Path, instance: str, ground: Ground | None = None, keeper: Path | None = None
    ) -> None:
        self._base, self._labels, self._ground = base, {_LABEL: instance}, ground or Ground()
        self._keeper = keeper_at(keeper, engine_socket()) if keeper else None
        self.outlives = self._keeper is not None
        self._api: Any = None
        self._has_disks: bool | None = None
        self._handles: dict[str, _Handle] = {}
        self.layers: Layers = PackageLayers(self._client, self._ground)
        self.dockerfiles: Dockerfiles = DockerfileImages(self._client, self._ground)
        self._starts = asyncio.Semaphore(_STARTS)
        self._ahead = Ahead(partial(self._call, self._make), partial(self._call, self._remove))

    async def leave(self, box: Box) -> None:
        self._handles.pop(box.task.name, None)
        box.handle.output.leave()
        if self._keeper is not None:
            self._keeper.leave()

    async def check(self) -> str:
        return f"Docker engine {await self._call(self._ping)}"

    async def has_image(self, reference: str) -> bool:
        return await self._call(lambda: has_image(self._client(), reference))

    async def start(self, task: Task) -> Box:
        try:
            await have_again(self.dockerfiles, self.layers, task)
            made = await self._ahead.take(task)
            async with self._starts:
                handle = await self._call(self._start, task, made)
        except BaseException:
            with suppress(Unavailable):
                await asyncio.shield(self.remove(task.name))
            raise
        self._forget(task.name)
        self._handles[task.name] = handle
        return Box(task, handle, was_ready=made is not None)

    async def prepare(self, tasks: Sequence[Task]) -> None:
        await self._ahead.have(tasks)

    async def adopt(self, task: Task, seen: Seen) -> Box | None:
        if (handle := await self._call(self._adopt, task.name, seen)) is None:
            return None
        self._handles[task.name], gone = handle, handle.output.gone
        return Box(task, handle, gone.beyond(seen), gone.with_all_of(seen))

    async def follow(self, box: Box, sink: Sink) -> Exit:
        return await in_thread(self._follow, box.handle, sink)

    async def stop(self, box: Box, grace_s: float = KILL_WAIT_S) -> None:
        name = box.handle.container
        await self._call(lambda: stop_container(self._client(), name, grace_s), deadline_s=grace_s + 20)

    async def usage(self, box: Box) -> Usage | None:
        return read_usage(await self._groups(box.handle))

    async def processes(self, box: Box) -> frozenset[int]:
        return read_processes(await self._groups(box.handle))

    async def _groups(self, handle: _Handle) -> dict[str, Path]:
        if handle.groups is None:
            with suppress(Unavailable):  # asked again the next time
                found = await self._call(self._client().inspect_container, handle.container)
                handle.groups = group_paths(found["State"]["Pid"], handle.container)
        return handle.groups or {}

    async def save(self, box: Box, folder: Folder, target: Path, limit_bytes: int) -> None:
        if self._has_disks:
            await in_thread(pack, self._base / box.task.name / "disk" / folder, target, limit_bytes, OWNER_ID)
        else:
            place, container = FOLDERS[folder], box.handle.container
            await in_thread(save_archive, self._client(), container, place, target, limit_bytes)

    async def boxes(self) -> list[str]:
        found = await self._call(lambda: box_names(self._client(), self._labels, self._base))
        return sorted(found - self._ahead.names)  # asked last: what was taken meanwhile has its row by now

    async def remove(self, name: str) -> None:
        await self._call(self._remove, name)
        self._forget(name)

    def _forget(self, name: str) -> None:
        if handle := self._handles.pop(name, None):
            handle.output.close()

    async def close(self) -> None:
        with suppress(Unavailable):  # the next start sweeps them
            await self._ahead.have(())
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
        return words if self._find_disks() else f"{words}, disk limits not enforced (that needs root)"

    def _find_disks(self) -> bool:
        """Whether bounded disks can be mounted here: done once."""
        if self._has_disks is None:
            self._has_disks = disks.can_mount(self._base)
        return self._has_disks

    def _start(self, task: Task, made: str | None) -> _Handle:
        if made is not None:
            with suppress(DockerException, Unavailable):  # whatever befell it meanwhile: it is made anew
                return self._launch(task, made)
        return self._launch(task, self._make(task))

    def _launch(self, task: Task, container: str) -> _Handle:
        api = self._client()
        output = open_output(self._keeper, api, container, tuple(task.secrets.values()))
        try:
            api.start(container)
        except BaseException:
            output.close()
            raise
        return _Handle(container, output)

    def _make(self, task: Task) -> str:
        """All but the start; returns the container."""
        may_have_lived = not self._find_disks() or (self._base / task.name).exists()
        if may_have_lived:  # with the same name
            self._remove(task.name)
        binds, api = self._binds(task), self._client()
        container: str = create(api, task, binds, self._labels, self._ground)
        if not self._has_disks:
            volumes.fill(api, task, container, binds, self._labels)
        return container

    def _adopt(self, name: str, seen: Seen) -> _Handle | None:
        self._find_disks()
        try:
            found = self._client().inspect_container(name)
        except NoContainer:
            return None
        output = self._keeper.resume(found["Id"], seen) if self._keeper else None
        return None if output is None else _Handle(found["Id"], output)

    def _binds(self, task: Task) -> list[str]:
        """Folders of bounded disks as root, volumes of the engine (without a bound) otherwise."""
        own = self._base / task.name
        given = [f"{path}:{place}:ro" for place, path in bring_all(own, task).items()]
        if not self._find_disks():
            return volumes.make(self._client(), task.name, self._labels) + given
        places = lay_out(own, task, FOLDERS, OWNER_ID)
        return [f"{folder}:{place}:rw" for place, folder in places.items()] + given

    def _follow(self, handle: _Handle, sink: Sink) -> Exit:
        api = self._client()
        try:
            hand_on(handle.output, sink)
            code = int(api.wait(handle.container, timeout=CALL_S)["StatusCode"])
            state = api.inspect_container(handle.container)["State"]
        except (DockerException, requests.RequestException, OSError) as error:
            raise Unavailable(in_words(error)) from error
        if state.get("Status") in ("removing", "dead"):  # its SIGKILL is not the program's fault
            raise Unavailable("somebody removed the container")
        return Exit(code, wall_s(state), bool(state.get("OOMKilled")))

    def _remove(self, name: str) -> None:
        try:
            remove_container(self._client(), name, CALL_S)
            if not self._has_disks:
                volumes.remove(self._client(), name)
        finally:  # with the engine away too: the sweep finds the container by its name later
            clear(self._base / name)
