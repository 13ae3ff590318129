"""The NVIDIA driver and its GPUs: what CUDA it can run, the state of each GPU, the way into containers."""

import asyncio
import re
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from hermes.doctor.findings import Finding, Look, note, ok, problem, warning
from hermes.driver import ANSWER_S, Driver, DriverState, GpuState
from hermes.errors import Unavailable
from hermes.images import ImageTable
from hermes.settings import Settings
from hermes.units import show_size

_NVIDIA, _DISPLAY = "0x10de", "0x03"  # vendor, and class of what draws or computes
_LEAST_DRIVER = {"13": "580", "12": "525", "11": "450"}  # docs.nvidia.com/deploy/cuda-compatibility
_SAFE_TOOLKIT = (1, 17, 8)  # before it, an image could run code as root on the host (CVE-2025-23266)


async def look_at_driver(settings: Settings) -> Look[DriverState]:
    """Its process is left behind when it hangs."""
    if settings.gpus == "none":
        return Look([note("driver", "HERMES_GPUS=none: GPUs are left alone", "unset it to use them")])
    driver = Driver()
    try:
        async with asyncio.timeout(ANSWER_S):
            state = await driver.look()
    except TimeoutError:
        found = f"the NVIDIA driver does not answer within {ANSWER_S:.0f} s: it hangs"
        return Look(
            [problem("driver", found, "nvidia-smi hangs too? sudo dmesg | grep -iE 'nvrm|xid', then restart")]
        )
    except Unavailable as error:
        return Look([problem("driver", str(error), "nvidia-smi -q; sudo dmesg | grep -iE 'nvrm|xid'")])
    finally:
        driver.close()
    if not state.version:
        return Look([_no_driver(state.words)])
    return Look([ok("driver", f"NVIDIA {state.version}, up to CUDA {state.cuda}")], state)


def _no_driver(words: str) -> Finding:
    cards = _cards()
    if not cards:
        return note("driver", f"{words}: CUDA programs are built, not run", "nothing, if that is meant")
    found = f"{cards} NVIDIA device{'s' if cards > 1 else ''}, and {words}"
    if "mismatch" in words:  # its package was upgraded under the loaded module
        return problem("driver", found, "restart the machine: the loaded driver is older than its library")
    return problem("driver", found, "install NVIDIA's driver, then restart; sudo dmesg | grep -i nvrm")


def _cards(devices: Path = Path("/sys/bus/pci/devices")) -> int:
    count = 0
    for device in devices.glob("*"):
        with suppress(OSError):
            ours = (device / "vendor").read_text().strip() == _NVIDIA
            count += ours and (device / "class").read_text().startswith(_DISPLAY)
    return count


def look_at_cuda(state: DriverState, table: ImageTable) -> list[Finding]:
    """What the driver can run, against what the base images build for."""
    has = _number(state.cuda)
    found = []
    for name, image in table.items():
        needs = _number(image.cuda)
        if not needs or has >= needs:
            continue
        least = _LEAST_DRIVER.get(str(needs[0]), "newer")
        step = f"install driver {least} or newer, or offer an image for CUDA {state.cuda} (HERMES_IMAGES)"
        words = f"image {name} builds for CUDA {image.cuda}, the driver runs up to {state.cuda}"
        if has[:1] < needs[:1]:
            found.append(problem("cuda", f"{words}: no program of it starts", step))
        else:  # within a major version all runs but PTX, which the driver would have to compile
            found.append(warning("cuda", f"{words}: programs with PTX do not start", step))
    return found or [ok("cuda", f"up to {state.cuda}, and no base image needs more")]


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(each) for each in re.findall(r"\d+", version))


def look_at_gpus(state: DriverState, quarantine: Mapping[str, str], held: frozenset[str]) -> list[Finding]:
    """`quarantine`: {UUID: reason}; `held`: UUIDs that a run has."""
    if not state.gpus:
        return [problem("gpus", "the driver lists no GPU", "nvidia-smi; lspci | grep -i nvidia")]
    return [_gpu(gpu, quarantine.get(gpu.uuid, ""), gpu.uuid in held) for gpu in state.gpus]


def _gpu(gpu: GpuState, away: str, is_held: bool) -> Finding:
    name = f"gpu {gpu.number}"
    if gpu.error and gpu.mig:
        step = f"sudo nvidia-smi mig -i {gpu.index} -cgi …, or sudo nvidia-smi -i {gpu.index} -mig 0"
        return warning(name, f"{gpu.error}: nothing of it is given away", step)
    if gpu.error:
        step = f"nvidia-smi -q -i {gpu.index}; sudo dmesg | grep -i xid; then restart the machine"
        return problem(name, f"it does not answer: {gpu.error}", step)
    what = f"{gpu.model}, {show_size(gpu.memory_bytes)}, capability {gpu.capability}"
    if away:
        step = f"nvidia-smi -q -i {gpu.index}; when it is well: hermes admin gpu release {gpu.uuid}"
        return problem(name, f"{what}: in quarantine, {away}", step)
    if gpu.pids and not is_held:
        pids = ",".join(map(str, gpu.pids))
        found = f"{what}: given to nobody while process {pids}, which is no run, computes on it"
        return warning(name, found, f"ps -o user,pid,lstart,cmd -p {pids}")
    if gpu.persistence is False:
        found = f"{what}: persistence mode is off, each first use takes seconds"
        return note(name, found, "sudo systemctl enable --now nvidia-persistenced, or sudo nvidia-smi -pm 1")
    if gpu.ecc is False:
        found = f"{what}: ECC is off, errors of its memory go unseen"
        return note(name, found, f"sudo nvidia-smi -i {gpu.index} -e 1, then restart the machine")
    return ok(name, f"{what}, {'held by a run' if is_held else 'free'}")


def way_into_containers(info: dict[str, Any]) -> str:
    """How the engine hands GPUs to containers, "" if it cannot; `info` is its own."""
    if any("nvidia.com/gpu" in str(each) for each in info.get("DiscoveredDevices") or []):
        return "CDI"
    if "nvidia" in (info.get("Runtimes") or {}):
        return "runtime nvidia"
    return next(filter(shutil.which, ("nvidia-container-runtime-hook", "nvidia-container-toolkit")), "")


def look_at_toolkit(info: dict[str, Any]) -> list[Finding]:
    """Whether the engine can hand GPUs to containers, safely."""
    way = way_into_containers(info)
    if not way:
        found = "the NVIDIA Container Toolkit is not installed: runs with a GPU cannot start"
        step = "apt-get install nvidia-container-toolkit; nvidia-ctk runtime configure; restart docker"
        return [problem("gpu toolkit", found, step)]
    return [_toolkit_version(way), *_cgroup_driver(info)]


def _toolkit_version(way: str) -> Finding:
    try:
        words = subprocess.run(
            ["nvidia-ctk", "--version"], capture_output=True, text=True, timeout=4, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ok("gpu toolkit", f"{way}; nvidia-ctk, which tells its version, is not here")
    match = re.search(r"\d+\.\d+\.\d+", words)
    version = match[0] if match else ""
    if version and _number(version) < _SAFE_TOOLKIT:
        found = f"{version}, {way}: a program can become root of this machine (CVE-2025-23266)"
        return problem("gpu toolkit", found, "apt-get install --only-upgrade nvidia-container-toolkit")
    return ok("gpu toolkit", f"{version}, {way}")


def _cgroup_driver(info: dict[str, Any]) -> list[Finding]:
    if info.get("CgroupDriver") != "systemd":
        return []
    found = "cgroups by systemd: `systemctl daemon-reload` can take the GPUs away from runs"
    step = '"exec-opts": ["native.cgroupdriver=cgroupfs"] in /etc/docker/daemon.json, then restart docker'
    return [note("gpu cgroups", found, step)]
