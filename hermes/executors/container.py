"""What a box is as a container: the flags that keep a stranger's program in it, its places, its variables."""

import hashlib
import json
import os
import re
import shlex
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker.types import DeviceRequest, LogConfig, Ulimit

from hermes.executors.base import Folder, Task
from hermes.executors.seccomp import PROFILE
from hermes.tree import OWNER_ID


@dataclass(frozen=True)
class Ground:
    """What the operator has chosen for all boxes: the network of those that have one, the runtime, and the
    network through which packages are fetched; whether there are Dockerfiles, and their commands' network."""

    network: str = "none"
    runtime: str = ""
    packages_network: str = "bridge"
    dockerfiles: bool = False
    dockerfiles_network: str = "none"


_AS_IT_IS = Ground()

FOLDERS: dict[Folder, str] = {"app": "/app", "output": "/hermes/output"}
USER = f"{OWNER_ID}:{OWNER_ID}"
CACHE, CHECKPOINT, INPUT, STDIN = "/hermes/ccache", "/hermes/checkpoint", "/hermes/input", "/hermes/stdin"
CALL = "/hermes/call"  # what is started in a box that was made before anybody knew
START, TASK, GIVEN_STDIN = f"{CALL}/start", f"{CALL}/task", f"{STDIN}/given"  # in such a box
GIVEN = frozenset((INPUT, STDIN, CALL))  # a program reads these and cannot change them
_WITH_STDIN = f'exec "$@" <{STDIN}'
_SHELLS = re.compile(
    "BASH.*|EPOCH.*|DIRSTACK|EUID|FUNCNAME|GROUPS|HIST.*|IFS|LINENO|OPT(ARG|IND)|PPID|PS[124]|S?RANDOM|SECONDS"
    "|SHELLOPTS|UID|_"
)
_LEFT_OUT = ("PWD", "OLDPWD", "SHLVL", "HERMES_INPUT_DIR", "HERMES_CHECKPOINT_DIR")
_CACHE_BYTES = 2 << 30
LAYERS = "hermes/packages"


def hardening(task: Task, ground: Ground = _AS_IT_IS) -> dict[str, Any]:
    """The flags that keep a stranger's program in its box (tests/test_hardening.py reads them back)."""
    limits = task.limits
    return {
        "network_mode": ground.network if task.network else "none",
        "runtime": ground.runtime or None,
        "read_only": True,
        "tmpfs": {"/tmp": "rw,exec,nosuid,nodev,size=256m,mode=1777"},
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges", f"seccomp={PROFILE}"],
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


def layer_of(api: Any, image: str, packages: Sequence[str]) -> str:
    """What the engine calls an image with these packages: the same for the same image, not for its name."""
    if not packages:
        return image
    inputs = [api.inspect_image(image)["Id"], sorted({*packages})]
    return f"{LAYERS}:{hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:32]}"


def create(api: Any, task: Task, binds: list[str], labels: dict[str, str], ground: Ground) -> str:
    """The container, not started."""
    container: str = api.create_container(
        layer_of(api, task.image, task.packages),
        _command(task),
        name=task.name,
        entrypoint=[],  # a Dockerfile may have one
        healthcheck={"test": ["NONE"]},
        user=USER,
        working_dir="/app" if task.command else "/",
        environment=box_env(task, [bind.split(":")[1] for bind in binds]),
        labels=labels,
        volumes=[bind.split(":")[1] for bind in binds],
        host_config=api.create_host_config(binds=binds, **hardening(task, ground)),
    )["Id"]
    return container


def _command(task: Task) -> list[str]:
    if not task.command:
        return ["sh", START]
    return ["sh", "-c", _WITH_STDIN, "run", *task.command] if task.stdin else list(task.command)


def start_script(task: Task, places: Collection[str]) -> str:
    """For a container that was made before its task was known: in it all is as if it had been made for it.

    Variables are exported: everybody on the machine can see what stands on a command line. By env(1) come
    those that a shell makes something of; it leaves out what shells have and nobody has given."""
    variables = box_env(task, places)
    by_env = {name: value for name, value in variables.items() if _SHELLS.fullmatch(name)}
    lines = [f"export {name}={shlex.quote(variables[name])}\n" for name in variables if name not in by_env]
    left_out = [word for name in _LEFT_OUT if name not in variables for word in ("-u", name)]
    wrapped = "=" in task.command[0]  # env(1) would take that for a variable
    command = ["sh", "-c", 'exec "$@"', "run", *task.command] if wrapped else task.command
    named = [f"{name}={value}" for name, value in by_env.items()]
    start = shlex.join(["exec", "env", *left_out, *named, *command])
    return "cd /app\n" + "".join(lines) + start + (f" <{GIVEN_STDIN}\n" if task.stdin else "\n")


def kept_disks(task: Task) -> Iterator[tuple[Path, int, str]]:
    """The disks that outlive a box: (file, size in bytes, place)."""
    if task.cache is not None:
        yield task.cache, _CACHE_BYTES, CACHE
    if task.checkpoint is not None:
        yield task.checkpoint, task.limits.disk_bytes, CHECKPOINT


def file_env(task: Task, inputs: str, output: str) -> dict[str, str]:
    """Where the file is that it is run for, also by the names that SCAR and OSCAR have for that; `inputs` and
    `output`: how these directories are called there."""
    if not task.input_file:
        return {}
    path = f"{inputs}/{task.input_file}"
    return {"HERMES_INPUT_FILE": path, "INPUT_FILE_PATH": path, "TMP_OUTPUT_DIR": output}


def box_env(task: Task, places: Collection[str]) -> dict[str, str]:
    """What the program sees; the NVIDIA variables of the image itself would win if we left them out."""
    return {
        "HOME": "/tmp",
        **task.env,
        **task.secrets,
        "HERMES_OUTPUT_DIR": FOLDERS["output"],
        **({"HERMES_CHECKPOINT_DIR": CHECKPOINT} if CHECKPOINT in places else {}),
        **({"HERMES_INPUT_DIR": INPUT} if INPUT in places else {}),
        **file_env(task, INPUT, FOLDERS["output"]),
        **({"CCACHE_DIR": CACHE} if CACHE in places else {"CCACHE_DISABLE": "1"}),
        "CUDA_VISIBLE_DEVICES": ",".join(task.gpus),
        "NVIDIA_VISIBLE_DEVICES": ",".join(task.gpus) or "void",
    }
