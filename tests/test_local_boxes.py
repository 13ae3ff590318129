"""What holds a program without an engine: bubblewrap, control groups, disks; what watches it without them."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hermes import threads
from hermes.attempt import Ending
from hermes.executors import disks, loops
from hermes.executors.base import Exit, Limits, Task
from hermes.executors.bubblewrap import FENCES, find_fence, gpu_nodes
from hermes.executors.cores import Cores
from hermes.executors.groups import group_of
from hermes.plan import Plan
from hermes.states import Event
from hermes.supervisor import Stop
from runner.verdict import judge
from tests.conftest import missing
from tests.programs import command_lines
from tests.service import PATIENCE_S, wait_for
from tests.test_executors import LABEL, LOCAL, MIB, NAP, Bench, local

FENCED = LOCAL[:2]
PROBE = r"""
id -u; grep -E '^(Cap...|NoNewPrivs):' /proc/self/status; ls /proc/[0-9]* -d | wc -l
ls /root /home "$DATA" 2>&1; touch /owned /usr/owned 2>&1; ls /sys/class 2>&1; ls /dev
cat /hermes/env >/dev/null; tail -n +3 /proc/net/dev
"""


@pytest.fixture
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    executor = local(getattr(request, "param", "local"), tmp_path / "boxes")
    yield Bench(executor, tmp_path)
    for name in await executor.boxes():
        await executor.remove(name)
    assert traces() == []


def traces() -> list[str]:
    """What boxes may leave behind: mounts, control groups, processes."""
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if f"{LABEL}-" in line]
    groups = [folder for folder, *_ in os.walk("/sys/fs/cgroup") if f"/{LABEL}-" in folder]
    marked = [line for line in command_lines().values() if f"{LABEL}-" in line]
    return mounts + groups + marked


@pytest.mark.parametrize("bench", FENCED, indirect=True)
async def test_a_program_in_bubblewrap_has_nothing_to_hold_on_to(bench: Bench) -> None:
    await bench.run(PROBE, env={"DATA": str(bench.folder)})
    seen = bench.output.decode()
    assert seen.startswith("65534\n")
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert f"{name}:\t0000000000000000" in seen, seen
    assert "NoNewPrivs:\t1" in seen
    for place in ("/root", "/home", str(bench.folder), "/sys/class"):
        assert f"ls: cannot access '{place}': No such file or directory" in seen, seen
    assert seen.count("Read-only file system") == 2
    assert "nvidia" not in seen and "sda" not in seen and "vda" not in seen and "loop" not in seen
    assert [line.split(":")[0].strip() for line in seen.splitlines() if "lo:" in line] == ["lo"]


async def test_a_program_is_another_user_and_can_gain_no_right(bench: Bench) -> None:
    ended = await bench.run(
        "test -r /proc/1/environ && exit 3; kill -KILL 1 && exit 4; exec setpriv --reuid=0 id"
    )
    assert ended.code != 0 and b"setresuid failed: Operation not permitted" in bench.output


@pytest.mark.parametrize("bench", FENCED, indirect=True)
async def test_its_places_are_those_of_a_container(bench: Bench) -> None:
    ended = await bench.run(
        "pwd; echo $HERMES_OUTPUT_DIR $HOME; touch /tmp/a /dev/shm/b $HERMES_OUTPUT_DIR/c"
    )
    assert (ended.code, bench.output) == (0, b"/app\n/hermes/output /tmp\n")


@pytest.mark.parametrize("bench", FENCED, indirect=True)
async def test_the_variables_of_a_program_do_not_act_on_what_starts_it(bench: Bench) -> None:
    """A library that it names would be loaded by setpriv, which still may become anybody."""
    env = {"LD_PRELOAD": "/app/evil.so", "IT": "it's $(id)\n\\n"}
    await bench.run('unset LD_PRELOAD; printf %s "$IT"', env=env)
    complaints = bench.output.count(b"/app/evil.so")
    assert complaints == 1 and bench.output.endswith(b"it's $(id)\n\\n")  # one: of the program's own loader


@pytest.mark.parametrize("bench", FENCED, indirect=True)
async def test_there_is_a_network_only_for_who_asks(bench: Bench) -> None:
    which = "readlink /proc/self/ns/net; tail -n +3 /proc/net/dev | cut -d: -f1"
    here = os.readlink("/proc/self/ns/net").encode()  # what is in it comes and goes with others' containers
    await bench.run(which, network=True)
    assert bench.output.split()[0] == here
    await bench.run(which)
    own, *devices = bench.output.split()
    assert own != here and devices == [b"lo"]


@pytest.mark.parametrize("bench", LOCAL, indirect=True)
async def test_it_has_as_many_cores_as_it_asked_for(bench: Bench) -> None:
    await bench.run("nproc")
    assert bench.output == b"1\n"


def test_cores_are_those_that_others_use_least() -> None:
    cores, all_of_them = Cores(), os.sched_getaffinity(0)
    taken = [cores.take(f"box {number}", 0.5) for number in range(2 * len(all_of_them))]
    assert all(sum(core in each for each in taken) == 2 for core in all_of_them)
    cores.give_back("box 0")
    assert cores.take("another", 0.5) == taken[0]
    assert cores.take("large", 1000) == all_of_them


@pytest.mark.parametrize("bench", ["local", "local without bubblewrap"], indirect=True)
async def test_a_full_disk_is_the_programs_own_error(bench: Bench) -> None:
    fill = "head -c 30000000 /dev/zero >a; head -c 30000000 /dev/zero >$HERMES_OUTPUT_DIR/b; echo $?"
    ended = await bench.run(fill, disk=40 * MIB)
    assert ended.code == 0 and b"No space left on device" in bench.output and not ended.overrun


@pytest.mark.parametrize("bench", ["local without root", "local with nothing"], indirect=True)
async def test_who_writes_more_than_a_disk_that_is_only_watched_is_ended(bench: Bench) -> None:
    fill = "mkdir d; for i in 1 2 3; do head -c 20000000 /dev/zero >d/$i; done; sleep 600"
    ended = await asyncio.wait_for(bench.run(fill, disk=40 * MIB), PATIENCE_S)
    assert ended.overrun == "wrote more than its disk holds (40 MiB)" and ended.signal_name == "SIGKILL"


@pytest.mark.parametrize("bench", ["local without root", "local with nothing"], indirect=True)
async def test_who_starts_more_processes_than_are_only_watched_is_ended(bench: Bench) -> None:
    many = "for i in $(seq 60); do sleep 600 & done; sleep 600"
    ended = await asyncio.wait_for(bench.run(many, pids=20), PATIENCE_S)
    assert ended.overrun == "started more than 20 processes" and not ended.out_of_memory


@pytest.mark.parametrize("bench", LOCAL, indirect=True)
async def test_what_is_kept_is_found_again_by_the_next_box(bench: Bench) -> None:
    kept = {"checkpoint": bench.folder / "kept" / "checkpoint", "cache": bench.folder / "kept" / "cache"}
    first = await bench.run("echo half >$HERMES_CHECKPOINT_DIR/at; echo object >$CCACHE_DIR/o", **kept)
    second = await bench.run("cat $HERMES_CHECKPOINT_DIR/at $CCACHE_DIR/o", **kept)
    assert (first.code, second.code, bench.output) == (0, 0, b"half\nobject\n")


async def test_what_another_way_of_keeping_left_is_made_anew(bench: Bench) -> None:
    kept = bench.folder / "kept"
    for how in ("local with nothing", "local", "local with nothing"):
        executor = local(how, bench.folder / "boxes")
        one = Bench(executor, bench.folder)
        assert (await one.run("echo x >$CCACHE_DIR/x", cache=kept)).code == 0
    assert kept.is_dir()


@pytest.mark.parametrize("bench", LOCAL, indirect=True)
async def test_nothing_is_left_of_a_box(bench: Bench) -> None:
    box = await bench.start(f"(setsid {NAP} &); sleep 600")
    await asyncio.sleep(0.2)
    await bench.executor.remove(box.task.name)
    assert traces() == [] and not list((bench.folder / "boxes").glob("*"))
    assert [line for line in command_lines().values() if NAP in line] == []


KILLED = """
import asyncio, sys
from pathlib import Path
from tests.test_executors import Bench, local
async def main():
    bench = Bench(local(sys.argv[1], Path(sys.argv[2]) / "boxes"), Path(sys.argv[2]))
    bench.label = sys.argv[3]
    nap = sys.argv[4]
    box = await bench.start(f"(setsid {nap} &); {nap}", checkpoint=Path(sys.argv[2]) / "kept")
    print("up", flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


@pytest.mark.parametrize("bench", LOCAL, indirect=True)
async def test_what_a_killed_process_of_ours_leaves_is_swept_by_the_next(
    bench: Bench, request: pytest.FixtureRequest
) -> None:
    how = request.node.callspec.params["bench"]
    ours = subprocess.Popen(
        [sys.executable, "-c", KILLED, how, str(bench.folder), LABEL, NAP], stdout=subprocess.PIPE
    )
    assert ours.stdout is not None
    with ours.stdout:
        assert await asyncio.to_thread(ours.stdout.readline) == b"up\n"
    await asyncio.sleep(0.3)
    ours.send_signal(signal.SIGKILL)
    ours.wait()
    if how in FENCED:  # with nobody's help
        wait_for(lambda: not [line for line in command_lines().values() if NAP in line])
    (name,) = await bench.executor.boxes()
    await bench.executor.remove(name)
    assert traces() == [] and await bench.executor.boxes() == []
    assert [line for line in command_lines().values() if NAP in line] == []


async def test_a_box_outlives_the_thread_that_asked_for_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """bubblewrap ends with the thread that started it, and ours come and go."""
    monkeypatch.setattr(threads, "_REST_S", 0.05)
    box = await bench.start("sleep 1; echo alive")
    assert (await bench.follow(box)).code == 0 and bench.output == b"alive\n"
    await bench.executor.remove(box.task.name)


def test_only_the_devices_of_its_own_gpus_are_given_to_a_program(tmp_path: Path) -> None:
    devices, driver = tmp_path / "dev", tmp_path / "gpus"
    devices.mkdir()
    for name in ("nvidiactl", "nvidia-uvm", "nvidia0", "nvidia1", "null"):
        (devices / name).touch()
    for minor in (0, 1):
        folder = driver / f"0000:0{minor}:00.0"
        folder.mkdir(parents=True)
        facts = f"Model: \t\t NVIDIA H200\nGPU UUID:  \t GPU-{minor}\nDevice Minor: \t {minor}\n"
        (folder / "information").write_text(facts)

    def names(*uuids: str) -> list[str]:
        return [node.name for node in gpu_nodes(uuids, devices, driver)]

    assert names("GPU-1") == ["nvidiactl", "nvidia-uvm", "nvidia1"]
    assert names("MIG-of-one") == ["nvidiactl", "nvidia-uvm", "nvidia0", "nvidia1"]


def test_the_devices_of_a_gpu_are_bound_for_who_has_one_only(tmp_path: Path) -> None:
    def words(*gpus: str) -> str:
        task = Task("n", "i", ("x",), tmp_path, Limits(1, 1, 1), gpus=gpus)
        return " ".join(FENCES[0].command(task, {"/app": tmp_path}, tmp_path, 9))

    assert "--dev-bind" not in words() and "--tmpfs" not in words()
    assert ("--dev-bind /dev/nvidia" in words("GPU-1")) == bool(list(Path("/dev").glob("nvidia*")))


def test_why_there_is_no_bubblewrap_is_told_with_the_next_step(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_fence() == (None, "bubblewrap is not installed: apt-get install bubblewrap")
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2; exit 1\n")
    broken.chmod(0o755)
    fence, why = find_fence()
    assert fence is None and "No permissions to create a new namespace" in why and "run as root" in why


def test_a_group_of_version_2_gets_the_same_bounds(tmp_path: Path) -> None:
    """No kernel has both; what is written to the files of version 1 the tests above feel."""
    group = group_of({"unified": tmp_path}, "box")
    (tmp_path / "box").mkdir()
    (tmp_path / "box" / "memory.swap.max").write_text("max")
    group.bound(Limits(cpus=1, memory_bytes=1 << 30, disk_bytes=0, pids=77))
    written = {
        name: (tmp_path / "box" / name).read_text() for name in ("memory.max", "pids.max", "memory.swap.max")
    }
    assert written == {"memory.max": str(1 << 30), "pids.max": "77", "memory.swap.max": "0"}
    assert not group.is_killed_for_memory()
    (tmp_path / "box" / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 1\noom_kill 0\n")
    assert not group.is_killed_for_memory()
    (tmp_path / "box" / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\n")
    assert group.is_killed_for_memory()


def test_a_bound_that_was_only_watched_is_the_verdict() -> None:
    plan = Plan(
        name="x",
        language="cpp",
        image="cpp",
        reference="x",
        build_timeout_s=1,
        timeout_s=1,
        cpus=1,
        memory_bytes=1,
    )
    ended = Exit(137, 1.0, overrun="started more than 20 processes")
    verdict = judge(Ending(ended, None), plan, "")
    assert (verdict.event, verdict.reason) == (Event.FAIL, "started more than 20 processes")
    assert judge(Ending(ended, Stop.CANCEL), plan, "bob").event is Event.CANCEL


async def test_a_disk_is_mounted_where_the_kernels_own_call_is_not_to_be_had(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_call(*_: object) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(loops, "mount_file", no_call)
    assert (await bench.run("echo x >/app/x && df /app | grep -q loop")).code == 0


def test_our_data_is_hidden_even_below_what_a_program_sees(tmp_path: Path) -> None:
    task = Task("n", "i", ("x",), tmp_path, Limits(1, 1, 1))
    command = FENCES[0].command(task, {"/app": tmp_path}, Path("/usr/local/hermes/var"), 9)
    at = command.index("--tmpfs")
    assert command[at + 1] == "/usr/local/hermes/var" and command.index("/usr") < at


def test_a_try_to_mount_that_was_killed_leaves_nothing_to_the_next(tmp_path: Path) -> None:
    if not disks.can_mount(tmp_path):
        missing("the right to mount")
    program = """
import os, sys
from pathlib import Path
from hermes.executors import disks
disks.unmount = lambda _point: os.kill(os.getpid(), 9)
disks.can_mount(Path(sys.argv[1]))
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL and len(list(tmp_path.iterdir())) == 2
    assert disks.can_mount(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_kept_disk_that_still_lingers_elsewhere_is_waited_for(tmp_path: Path) -> None:
    """Each box is given a view of all mounts for a moment, that of a box before it too."""
    if not disks.can_mount(tmp_path):
        missing("the right to mount")
    file, first, second = tmp_path / "kept.img", tmp_path / "first", tmp_path / "second"
    assert disks.mount_kept(file, first, 8 << 20)
    assert not disks.mount_kept(file, second, 8 << 20)  # the box is there
    command = ["unshare", "--mount", "sh", "-c", "echo; read _"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as viewer:
        assert viewer.stdin is not None and viewer.stdout is not None and viewer.stdout.readline()
        disks.unmount(first)
        threading.Timer(0.5, viewer.stdin.close).start()
        assert disks.mount_kept(file, second, 8 << 20)
    disks.unmount(second)
