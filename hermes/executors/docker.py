"""The default executor: one hardened container a box, GPUs by UUID.

Every engine call has a deadline. Output is attached before the start and drained in a thread of its own:
`logs(follow)` loses lines, `attach` never does (Docker engine 20.10 and 28, measured)."""

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import docker
import requests
from docker.errors import APIError, DockerException, ImageNotFound
from docker.errors import NotFound as NoContainer
from docker.types import DeviceRequest, LogConfig, Ulimit
from docker.utils import kwargs_from_env

from hermes.errors import Refused, Unavailable
from hermes.executors import disks
from hermes.executors.base import KILL_WAIT_S, Box, Exit, Folder, Sink, Task, Usage
from hermes.executors.cgroups import group_paths, read_usage
from hermes.logs import STDERR, STDOUT
from hermes.threads import in_thread
from hermes.tree import OWNER_ID
from hermes.units import show_size

T = TypeVar("T")
_LABEL = "hermes.instance"
_FOLDERS: dict[Folder, str] = {"app": "/app", "output": "/hermes/output"}
_CACHE, _CHECKPOINT = "/hermes/ccache", "/hermes/checkpoint"
_CACHE_BYTES = 2 << 30
_SYSTEM_SOCKET = Path("/var/run/docker.sock")
_OUR_SOCKET = Path("/var/tmp/hermes-docker/docker.sock")
_CALL_S = 60.0
_USER = f"{OWNER_ID}:{OWNER_ID}"


@dataclass
class _Handle:
    container: str
    output: Iterator[tuple[bytes | None, bytes | None]]
    groups: dict[str, Path] = field(default_factory=dict)


class DockerExecutor:
    """Boxes as containers of a local engine. `base` is where the bounded disks lie; `instance` labels ours."""

    name = "docker"

    def __init__(self, base: Path, instance: str) -> None:
        self._base, self._instance = base, instance
        self._api: Any = None
        self._has_disks: bool | None = None

    async def check(self) -> str:
        version = await self._call(self._ping)
        return f"Docker engine {version}"

    async def has_image(self, reference: str) -> bool:
        def look() -> bool:
            try:
                self._client().inspect_image(reference)
            except ImageNotFound:
                return False
            return True

        return await self._call(look)

    async def start(self, task: Task) -> Box:
        try:
            handle = await self._call(self._start, task)
        except BaseException:
            with suppress(Unavailable):
                await asyncio.shield(self.remove(task.name))
            raise
        return Box(task, handle)

    async def follow(self, box: Box, sink: Sink) -> Exit:
        return await in_thread(self._follow, box.handle, sink)

    async def stop(self, box: Box, grace_s: float = KILL_WAIT_S) -> None:
        def stop() -> None:
            with suppress(NoContainer):
                self._client().stop(box.handle.container, timeout=int(grace_s))

        await self._call(stop, deadline_s=grace_s + 20)

    async def usage(self, box: Box) -> Usage | None:
        return read_usage(box.handle.groups)

    async def save(self, box: Box, folder: Folder, target: Path, limit_bytes: int) -> None:
        await in_thread(self._save, box.handle.container, _FOLDERS[folder], target, limit_bytes)

    async def boxes(self) -> list[str]:
        def names() -> list[str]:
            label = {"label": f"{_LABEL}={self._instance}"}
            found = self._client().containers(all=True, filters=label)
            volumes = self._client().volumes(filters=label)["Volumes"] or []
            named = {name.lstrip("/") for each in found for name in each["Names"]}
            named |= {volume["Name"].rpartition(".")[0] for volume in volumes}
            return sorted(named | {each.name for each in self._base.glob("hermes-*")})

        return await self._call(names)

    async def remove(self, name: str) -> None:
        await self._call(self._remove, name)

    async def _call(self, function: Callable[..., T], *args: Any, deadline_s: float = _CALL_S) -> T:
        """An engine call in a thread, with a deadline, its errors as ours."""
        try:
            async with asyncio.timeout(deadline_s):
                return await in_thread(function, *args)
        except TimeoutError:
            raise Unavailable(f"the Docker engine did not answer within {deadline_s:.0f} s") from None
        except (APIError, DockerException, requests.RequestException, OSError) as error:
            raise Unavailable(_in_words(error)) from error

    def _client(self) -> Any:
        if self._api is None:
            self._api = docker.APIClient(version="auto", timeout=int(_CALL_S), num_pools=64, **_where())
        return self._api

    def _ping(self) -> str:
        version = str(self._client().version()["Version"])
        if self._has_disks is None:
            self._has_disks = disks.can_mount(self._base)
        return version if self._has_disks else f"{version}, disk limits not enforced (that needs root)"

    def _start(self, task: Task) -> _Handle:
        self._remove(task.name)  # of an earlier life with the same name
        binds = self._binds(task)
        api = self._client()
        container = api.create_container(
            task.image,
            list(task.command),
            name=task.name,
            user=_USER,
            working_dir="/app",
            environment=_env(task, binds),
            labels={_LABEL: self._instance},
            volumes=[bind.split(":")[1] for bind in binds],
            host_config=api.create_host_config(binds=binds, **_hardening(task)),
        )["Id"]
        with task.tree.open("rb") as tree:
            api.put_archive(container, _FOLDERS["app"], tree)
        if not self._has_disks:
            self._give_volumes(task, binds)
        output = api.attach(container, stdout=True, stderr=True, stream=True, demux=True, logs=False)
        api.start(container)
        pid = api.inspect_container(container)["State"]["Pid"]
        return _Handle(container, output, group_paths(pid, container) if pid else {})

    def _binds(self, task: Task) -> list[str]:
        """Folders of bounded disks as root, volumes of the engine (without a bound) otherwise."""
        if self._has_disks is None:
            self._has_disks = disks.can_mount(self._base)
        if not self._has_disks:
            return self._volumes(task)
        own = self._base / task.name
        disks.make_disk(own / "disk.img", task.limits.disk_bytes)
        disks.mount(own / "disk.img", own / "disk")
        binds = [f"{_own_folder(own / 'disk' / folder)}:{_FOLDERS[folder]}:rw" for folder in _FOLDERS]
        for kept, size_bytes, place in _kept(task):
            point = own / place.rpartition("/")[2]
            if disks.mount_kept(kept, point, size_bytes):
                binds.append(f"{_own_folder(point / 'kept')}:{place}:rw")
        return binds

    def _volumes(self, task: Task) -> list[str]:
        for folder in _FOLDERS:
            self._client().create_volume(f"{task.name}.{folder}", labels={_LABEL: self._instance})
        return [f"{task.name}.{folder}:{place}:rw" for folder, place in _FOLDERS.items()]

    def _give_volumes(self, task: Task, binds: list[str]) -> None:
        """Volumes are born as root's, with each container that is created with them: give them away."""
        api = self._client()
        giver = api.create_container(
            task.image,
            ["chown", _USER, *_FOLDERS.values()],
            user="0:0",
            labels={_LABEL: self._instance},
            host_config=api.create_host_config(binds=binds, network_mode="none"),
        )["Id"]
        try:
            api.start(giver)
            api.wait(giver, timeout=_CALL_S)
        finally:
            api.remove_container(giver, force=True)

    def _follow(self, handle: _Handle, sink: Sink) -> Exit:
        api = self._client()
        try:
            for out, err in handle.output:
                if out:
                    sink(out, STDOUT)
                if err:
                    sink(err, STDERR)
            code = int(api.wait(handle.container, timeout=_CALL_S)["StatusCode"])
            state = api.inspect_container(handle.container)["State"]
        except (DockerException, requests.RequestException, OSError) as error:
            raise Unavailable(_in_words(error)) from error
        return Exit(code, _wall_s(state), bool(state.get("OOMKilled")))

    def _save(self, container: str, folder: str, target: Path, limit_bytes: int) -> None:
        try:
            chunks, _stat = self._client().get_archive(container, f"{folder}/.", chunk_size=1 << 20)
            _write_bounded(chunks, target, limit_bytes)
        except (DockerException, requests.RequestException, OSError) as error:
            raise Unavailable(_in_words(error)) from error

    def _remove(self, name: str) -> None:
        api = self._client()
        with suppress(NoContainer):
            api.remove_container(name, force=True, v=True)
        for folder in _FOLDERS if not self._has_disks else ():
            with suppress(NoContainer):
                api.remove_volume(f"{name}.{folder}", force=True)
        own = self._base / name
        for point in (*own.glob("*"),):
            disks.unmount(point)
        shutil.rmtree(own, ignore_errors=True)


def _wall_s(state: dict[str, Any]) -> float:
    """From the engine's own clock: it starts and ends with the program, not with our calls."""
    began, ended = (
        datetime.fromisoformat(state[key][:26].rstrip("Z")) for key in ("StartedAt", "FinishedAt")
    )
    return max((ended - began).total_seconds(), 0.0)


def _where() -> dict[str, Any]:
    """The engine of DOCKER_HOST, of the system, or the one that scripts/ensure-docker starts."""
    kwargs: dict[str, Any] = {**kwargs_from_env()}
    if "base_url" not in kwargs and not _SYSTEM_SOCKET.exists() and _OUR_SOCKET.exists():
        kwargs["base_url"] = f"unix://{_OUR_SOCKET}"
    return kwargs


def _hardening(task: Task) -> dict[str, Any]:
    """The flags that keep a stranger's program in its box (tests/test_hardening.py reads them back)."""
    limits = task.limits
    return {
        "network_mode": "none",
        "read_only": True,
        "tmpfs": {"/tmp": "rw,exec,nosuid,nodev,size=256m,mode=1777"},
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "pids_limit": limits.pids,
        "mem_limit": limits.memory_bytes,
        "memswap_limit": limits.memory_bytes,
        "nano_cpus": int(min(limits.cpus, os.cpu_count() or 1) * 1e9),
        "shm_size": "64m",
        "init": True,
        "ipc_mode": "private",
        "oom_score_adj": 500,
        "log_config": LogConfig(type="none"),
        "ulimits": [
            Ulimit(name="nofile", soft=4096, hard=4096),
            Ulimit(name="core", soft=0, hard=0),
            Ulimit(name="nproc", soft=4096, hard=4096),
        ],
        "device_requests": [DeviceRequest(device_ids=list(task.gpus), capabilities=[["gpu"]])]
        if task.gpus
        else [],
    }


def _kept(task: Task) -> Iterator[tuple[Path, int, str]]:
    """The disks that outlive a box: (file, size in bytes, place)."""
    if task.cache is not None:
        yield task.cache, _CACHE_BYTES, _CACHE
    if task.checkpoint is not None:
        yield task.checkpoint, task.limits.disk_bytes, _CHECKPOINT


def _env(task: Task, binds: list[str]) -> dict[str, str]:
    """What the program sees; the NVIDIA variables of the image itself would win if we left them out."""
    places = {bind.split(":")[1] for bind in binds}
    return {
        "HOME": "/tmp",
        **task.env,
        "HERMES_OUTPUT_DIR": _FOLDERS["output"],
        **({"HERMES_CHECKPOINT_DIR": _CHECKPOINT} if _CHECKPOINT in places else {}),
        **({"CCACHE_DIR": _CACHE} if _CACHE in places else {"CCACHE_DISABLE": "1"}),
        "CUDA_VISIBLE_DEVICES": ",".join(task.gpus),
        "NVIDIA_VISIBLE_DEVICES": ",".join(task.gpus) or "void",
    }


def _own_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.chown(folder, OWNER_ID, OWNER_ID)
    return folder.absolute()


def _write_bounded(chunks: Iterator[bytes], target: Path, limit_bytes: int) -> None:
    size = 0
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        for chunk in chunks:
            size += len(chunk)
            if size > limit_bytes:
                raise Refused(
                    f"more than {show_size(limit_bytes)} in all", "write less, or ask the operator for more"
                )
            file.write(chunk)


def _in_words(error: Exception) -> str:
    words = str(error.explanation if isinstance(error, APIError) and error.explanation else error)
    if "could not select device driver" in words or "unresolvable CDI" in words:
        return (
            "the NVIDIA Container Toolkit is not installed on this runner (the engine cannot hand out GPUs)"
        )
    if "No such image" in words:
        return f"the base image is missing: {words.partition('No such image:')[2].strip()}; `make images` makes it"
    if isinstance(error, APIError):
        return f"the Docker engine refused: {words[:300]}"
    return f"the Docker engine does not answer ({type(error).__name__}: {words[:160]}); is dockerd running?"
