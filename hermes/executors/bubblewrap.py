"""What a box is in bubblewrap: what it sees of this machine, at which places, and as whom it runs."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hermes.executors.base import Task
from hermes.executors.container import INPUT
from hermes.tree import OWNER_ID

HOW_TO_GET_IT = "apt-get install bubblewrap"
CUDA = Path(sys.prefix) / "cuda"  # where scripts/ensure-cuda puts one, if the machine has none
CUDA_INSIDE = Path("/opt/cuda")
ENVIRONMENT = "/hermes/env"
_NEVER_S = 20.0
_LINKS = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")  # into /usr, but on old systems
_ETC = (
    "alternatives",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "passwd",
    "group",
    "nsswitch.conf",
    "OpenCL",
)
_ETC_ONLINE = ("resolv.conf", "hosts", "ssl", "ca-certificates", "pki", "gai.conf", "services")
_SYS = ("/sys/devices", "/sys/bus", "/sys/module")  # where programs look for cores, NUMA nodes and GPUs
_GPU_CONTROLS = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset", "nvidia-caps")
#: Its own variables come to a program last: those of a loader would act on us on the way.
_ENTER = f'. {ENVIRONMENT} && exec "$@"'


@dataclass(frozen=True)
class Fence:
    """How bubblewrap is used here. `owner`: whose the files of a box are; None: ours."""

    rights: tuple[str, ...]
    become: tuple[str, ...] = ()
    owner: int | None = None

    def command(self, task: Task, places: dict[str, Path], hidden: Path, info: int) -> list[str]:
        """What starts a task in its box. `places`: {place inside: folder}, `hidden`: our own data, `info`: a
        descriptor where bubblewrap tells as JSON who the first process inside is."""
        return [
            *("bwrap", "--info-fd", str(info), *_BASE, *self.rights),
            *(() if task.network else ("--unshare-net",)),
            *_system(),
            *(("--tmpfs", str(hidden)) if hidden.is_relative_to("/usr") else ()),
            *(_online() if task.network else ()),
            *(_gpus(task.gpus) if task.gpus else ()),
            *("--dir", "/hermes"),
            *(word for place, folder in places.items() for word in (_bind(place), str(folder), place)),
            *("--ro-bind", str(environment_file(places)), ENVIRONMENT),
            *("--chdir", "/app", "--remount-ro", "/", "--", *self.become),
            *("/bin/sh", "-c", _ENTER, "hermes", *task.command),
        ]


_BASE = (
    *("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
    *("--die-with-parent", "--new-session", "--hostname", "hermes"),
)
_AS_NOBODY = (
    *("setpriv", f"--reuid={OWNER_ID}", f"--regid={OWNER_ID}", "--clear-groups"),
    *("--bounding-set=-all", "--inh-caps=-all", "--"),
)
#: With real rights the box is another user, as in a container; without them our own by another number.
FENCES = (
    Fence(
        ("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP"),
        _AS_NOBODY,
        OWNER_ID,
    ),
    Fence(("--unshare-user", "--uid", str(OWNER_ID), "--gid", str(OWNER_ID))),
)


def _bind(place: str) -> str:
    return "--ro-bind" if place == INPUT else "--bind"


def environment_file(places: dict[str, Path]) -> Path:
    """Where the variables of a box are written down, beside its folders."""
    return places["/app"].with_name("env")


def find_fence() -> tuple[Fence | None, str]:
    """How bubblewrap works on this machine, found by running it; None, and why it does not and what to do."""
    if shutil.which("bwrap") is None:
        return None, f"bubblewrap is not installed: {HOW_TO_GET_IT}"
    words = ""
    for fence in FENCES:
        words = trouble_with(fence)
        if not words:
            return fence, ""
    return (
        None,
        f"bubblewrap may not make its namespaces here ({words}): allow user namespaces, or run as root",
    )


def trouble_with(fence: Fence) -> str:
    """What bubblewrap says against this fence; empty: it works."""
    probe = ["bwrap", *_BASE, *fence.rights, "--unshare-net", *_system(), "--", *fence.become, "/bin/true"]
    try:
        done = subprocess.run(probe, capture_output=True, timeout=_NEVER_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    words = done.stderr.decode(errors="replace").strip().rpartition("\n")[2][:200]
    return words or f"exit code {done.returncode}" if done.returncode else ""


def _system() -> Iterator[str]:
    yield from ("--ro-bind", "/usr", "/usr")
    for link in map(Path, _LINKS):
        if link.is_symlink():
            yield from ("--symlink", str(link.readlink()), str(link))
        elif link.is_dir():
            yield from ("--ro-bind", str(link), str(link))
    yield from ("--dir", "/etc", *_visible("/etc", _ETC))
    if CUDA.is_dir():
        yield from ("--dir", "/opt", "--ro-bind", str(CUDA), str(CUDA_INSIDE))
    yield from ("--dir", "/sys")
    for folder in _SYS:
        yield from ("--ro-bind-try", folder, folder)
    yield from ("--proc", "/proc", "--dev", "/dev")


def _online() -> Iterator[str]:
    return _visible("/etc", _ETC_ONLINE)


def _visible(folder: str, names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        yield from ("--ro-bind-try", f"{folder}/{name}", f"{folder}/{name}")


def _gpus(uuids: tuple[str, ...]) -> Iterator[str]:
    for node in gpu_nodes(uuids, Path("/dev"), Path("/proc/driver/nvidia/gpus")):
        yield from ("--dev-bind", str(node), str(node))


def gpu_nodes(uuids: tuple[str, ...], devices: Path, driver: Path) -> list[Path]:
    """The device nodes of these GPUs, as the driver names them; where it does not (a MIG instance, an old
    driver), those of all, and CUDA_VISIBLE_DEVICES alone keeps programs apart."""
    minors = {}
    for file in driver.glob("*/information"):
        facts = dict(line.partition(":")[::2] for line in file.read_text().splitlines())
        minors[facts.get("GPU UUID", "").strip()] = facts.get("Device Minor", "").strip()
    if all(minors.get(uuid) for uuid in uuids):
        nodes = [devices / f"nvidia{minors[uuid]}" for uuid in uuids]
    else:
        nodes = sorted(devices.glob("nvidia[0-9]*"))
    return [node for node in (*(devices / name for name in _GPU_CONTROLS), *nodes) if node.exists()]
