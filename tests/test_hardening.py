"""What stands between a stranger's program and the machine: asked of the engine, and seen from inside."""

import asyncio
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hermes.executors import instance_label
from hermes.executors.base import Limits, Task
from hermes.executors.container import hardening
from hermes.executors.docker import DockerExecutor
from hermes.executors.engine import connect
from hermes.executors.seccomp import PROFILE
from hermes.settings import Settings
from tests.conftest import missing
from tests.service import PATIENCE_S, Pushed, Service, wait_for
from tests.test_executors import Bench

PROBE = r"""
id -u; grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status
ls /sys/class/net; touch /owned 2>&1; echo "devices: $NVIDIA_VISIBLE_DEVICES"; ulimit -c
ls /var/run/docker.sock /root 2>&1; cat /proc/1/environ 2>&1 | head -c 100
"""

SANITIZED = r"""
cat >leak.cc <<'end'
int main() { volatile int* lost = new int; lost = nullptr; }
end
cat >race.cc <<'end'
#include <thread>
int count;
int main() { std::thread one([] { count++; }), other([] { count++; }); one.join(); other.join(); }
end
cat >team.cc <<'end'
#include <cstdio>
int main() {
    int sum = 0;
#pragma omp parallel for reduction(+ : sum)
    for (int i = 0; i < 5; i++) sum += i;
    std::printf("together %d\n", sum);
}
end
set -e
g++ -fsanitize=address leak.cc -o leak; g++ -fsanitize=thread race.cc -o race; g++ -fopenmp team.cc -o team
set +e
./leak; ./race; ./team
"""


@pytest.fixture
async def container(engine: None, tmp_path: Path) -> Any:
    """(what the engine says of a running box, what the program in it sees)."""
    executor = DockerExecutor(tmp_path / "boxes", f"test-{tmp_path.name}")
    await executor.check()
    bench = Bench(executor, tmp_path)
    box = await bench.start(PROBE + "\necho all of it; sleep 600")
    follow = asyncio.create_task(bench.follow(box))
    state = await asyncio.to_thread(connect(PATIENCE_S).inspect_container, box.task.name)
    await bench.hears(b"all of it\n")
    await executor.stop(box, 0)
    await follow
    await executor.remove(box.task.name)
    return state, bench.output.decode()


async def test_the_container_is_made_with_every_flag(container: Any) -> None:
    state, _ = container
    host = state["HostConfig"]
    assert state["Config"]["User"] == "65534:65534"
    assert host["NetworkMode"] == "none" and host["ReadonlyRootfs"] and not host["Privileged"]
    assert host["CapDrop"] == ["ALL"] and not host["CapAdd"]
    assert host["SecurityOpt"] == ["no-new-privileges", f"seccomp={PROFILE}"]
    assert host["Memory"] == host["MemorySwap"] == 256 << 20 and host["NanoCpus"] == 10**9
    assert (
        host["PidsLimit"] == 512
        and host["IpcMode"] == "private"
        and host["Init"]
        and host["OomScoreAdj"] == 500
    )
    assert {limit["Name"]: limit["Hard"] for limit in host["Ulimits"]} == {
        "nofile": 4096,
        "core": 0,
        "nproc": 4096,
    }
    assert host["Tmpfs"] == {"/tmp": "rw,exec,nosuid,nodev,size=256m,mode=1777"}
    assert all("docker.sock" not in bind and bind.endswith(":rw") for bind in host["Binds"])
    assert not host["Devices"] and not host["DeviceRequests"]


async def test_the_program_inside_has_nothing_to_hold_on_to(container: Any) -> None:
    _, seen = container
    assert seen.startswith("65534\n")
    assert "CapEff:\t0000000000000000" in seen and "CapBnd:\t0000000000000000" in seen
    assert "NoNewPrivs:\t1" in seen and "Seccomp:\t2" in seen
    assert "\nlo\n" in seen and "eth0" not in seen
    assert "Read-only file system" in seen and "devices: void" in seen
    assert "docker.sock': No such file" in seen


def test_allowed_system_calls_are_enough_for_threads_sanitizers_and_openmp(
    engine: None, tmp_path: Path
) -> None:
    async def compile_and_run() -> tuple[int, bytes]:
        executor = DockerExecutor(tmp_path / "boxes", f"test-{tmp_path.name}")
        await executor.check()
        bench = Bench(executor, tmp_path)
        ended = await bench.run(SANITIZED, memory=1 << 30)
        await executor.close()
        return ended.code, bench.output

    code, output = asyncio.run(compile_and_run())
    assert code == 0, output
    assert b"detected memory leaks" in output and b"WARNING: ThreadSanitizer: data race" in output
    assert output.endswith(b"together 10\n")


def test_gpus_are_asked_for_by_uuid_and_never_all(tmp_path: Path) -> None:
    task = Task("n", "i", ("x",), tmp_path, Limits(1, 1, 1), gpus=("GPU-1", "GPU-2"))
    (request,) = hardening(task)["device_requests"]
    assert request["DeviceIDs"] == ["GPU-1", "GPU-2"] and request["Count"] == 0


def test_the_disk_of_a_run_is_bounded_exactly(engine: None, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        missing("root, which bounded disks need,")

    async def fill() -> tuple[int, bytes]:
        executor = DockerExecutor(tmp_path / "boxes", f"test-{tmp_path.name}")
        await executor.check()
        bench = Bench(executor, tmp_path)
        ended = await bench.run(
            "head -c 100000000 /dev/zero > full; echo; ls -s --block-size=M full", disk=16 << 20
        )
        await executor.close()
        return ended.code, bench.output

    code, output = asyncio.run(fill())
    assert code == 0 and b"No space left on device" in output


def test_the_engine_holds_nothing_of_ours_after_a_push(service: Service, push: Callable[..., Pushed]) -> None:
    assert push("pi-montecarlo").code == 0
    with closing(connect(PATIENCE_S)) as client:

        def ours() -> list[str]:
            there = client.containers(all=True, filters={"label": "hermes.instance"})
            names = [name for each in there for name in each["Names"] if instance_label(settings) in name]
            names += [str(path) for path in (service.data / "spool" / "boxes").glob("hermes-*")]
            return [name for name in names if "-warm-" not in name]  # those are of calls (tests/test_warm.py)

        settings = Settings(data=service.data)
        wait_for(lambda: not ours())
