"""GPUs: the real pynvml over a fake driver library, and whole pushes on such a machine."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.modes import changes
from tests.access_tools import ask as sql
from tests.gpus import FakeDriver, gpu, instance
from tests.programs import arrivals, begin_push, without_bubblewrap
from tests.service import PATIENCE_S, Pushed, Service, WorkTree, wait_for

ASK = """
import json
from dataclasses import asdict
from runner.gpus import open_gpus
gpus, words = open_gpus("auto")
found = gpus.list()
uuids = [each.uuid for each in found]
print(json.dumps({"words": words, "list": [asdict(g) for g in found],
    "sample": [u.as_json() for u in gpus.sample(uuids)], "health": [asdict(gpus.health(u)) for u in uuids],
    "modes": [gpus.modes(u) for u in uuids], "gone": gpus.health("GPU-of-another-machine"),
    "xids": gpus.xids()}))
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> FakeDriver:
    return FakeDriver(tmp_path_factory.mktemp("nvml")).build()


def ask(env: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", ASK], env=os.environ | env, capture_output=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])  # before it: what it logs
    return answer


def test_gpus_are_listed_sampled_and_looked_at(driver: FakeDriver) -> None:
    driver.world(gpu(0, used_mib=2048, percent=87), gpu(1, pids="4242", ecc_errors=3))
    answer = ask(driver.env)
    assert answer["list"] == [
        {
            "uuid": f"GPU-fake-{n}",
            "index": n,
            "model": "NVIDIA-H200",
            "memory_bytes": 143771 << 20,
            "capability": "9.0",
            "instance": None,
            "pool": "",
        }
        for n in (0, 1)
    ]
    use = {"uuid": "GPU-fake-0", "percent": 87.0, "memory_bytes": 2048 << 20, "power_w": 120.0, "celsius": 35}
    use |= {"mhz": 1980}
    sample = answer["sample"]
    assert isinstance(sample, list) and sample[0] == use
    assert answer["health"] == [
        {"processes": [], "memory_bytes": 2048 << 20, "draws": False, "ecc_errors": 0},
        {"processes": [4242], "memory_bytes": 0, "draws": False, "ecc_errors": 3},
    ]
    assert answer["gone"] is None and answer["xids"] == []


def test_each_error_of_the_driver_is_told_once(tmp_path: Path) -> None:
    driver = FakeDriver(tmp_path).build().world(gpu(0), gpu(1))
    driver.report(1, 31)
    driver.report(0, 79)
    assert ask(driver.env)["xids"] == [["GPU-fake-1", 31], ["GPU-fake-0", 79]]


def test_instances_of_a_divided_gpu_are_listed_in_its_place(tmp_path: Path) -> None:
    driver = FakeDriver(tmp_path).build()
    driver.world(gpu(0), gpu(1), instance(1, 0, used_mib=12, pids="77"), instance(1, 1), gpu(2))
    driver.report(1, 79, "1")
    driver.report(1, 31)
    answer = ask(driver.env)
    listed = [
        (each["index"], each["instance"], each["uuid"], each["memory_bytes"] >> 30) for each in answer["list"]
    ]
    assert listed == [
        (0, None, "GPU-fake-0", 140),
        (1, 0, "MIG-fake-1-0", 16),
        (1, 1, "MIG-fake-1-1", 16),
        (2, None, "GPU-fake-2", 140),
    ]
    assert answer["health"][1] == {
        "processes": [77],
        "memory_bytes": 12 << 20,
        "draws": False,
        "ecc_errors": 0,
    }
    assert answer["sample"][1]["percent"] is None and answer["sample"][1]["memory_bytes"] == 12 << 20
    assert answer["xids"] == [["MIG-fake-1-1", 79], ["MIG-fake-1-0", 31], ["MIG-fake-1-1", 31]]


def test_settings_are_those_of_the_whole_gpu_and_a_change_is_told_in_words(tmp_path: Path) -> None:
    driver = FakeDriver(tmp_path).build().world(gpu(0), gpu(1), instance(1, 0))
    before = ask(driver.env)["modes"]
    assert before[0] == {
        "compute mode": "default",
        "persistence mode": "on",
        "ECC": "on",
        "ECC after the next reset": "on",
        "MIG": "off",
        "MIG after the next reset": "off",
        "application clock (graphics)": "1980 MHz",
        "application clock (memory)": "2619 MHz",
        "power limit": "700 W",
    }
    assert before[1] == before[0] | {"MIG": "on", "MIG after the next reset": "on"}
    driver.world(
        gpu(0), gpu(1), instance(1, 0), "set 0 ecc 0", "set 0 clock 210", "set 1 mig 0", "set 1 persistence 0"
    )
    after = ask(driver.env)["modes"]
    assert [changes(*each) for each in zip(before, after, strict=True)] == [
        "ECC after the next reset was on, is off, application clock (graphics) was 1980 MHz, is 210 MHz",
        "persistence mode was on, is off, MIG after the next reset was on, is off",
    ]
    assert changes(before[0], before[0]) == changes({}, after[0]) == changes(before[0], {}) == ""


def test_a_gpu_that_fell_off_the_bus_is_not_offered(driver: FakeDriver) -> None:
    driver.world(gpu(0), "lost")
    listed = ask(driver.env)["list"]
    assert isinstance(listed, list) and [each["uuid"] for each in listed] == ["GPU-fake-0"]


def test_no_driver_means_no_gpus_and_a_reason(tmp_path: Path) -> None:
    answer = ask({"LD_LIBRARY_PATH": str(tmp_path)})
    assert answer["list"] == [] and "no GPU" in str(answer["words"])


@pytest.fixture(scope="module")
def gpu_service(driver: FakeDriver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Two fake GPUs and the local executor, which hands them out by CUDA_VISIBLE_DEVICES."""
    driver.world(gpu(0), gpu(1))
    env = {"HERMES_EXECUTOR": "local", "HERMES_CPUS": "8", "HERMES_POLL": "1", "HERMES_GPU_SETTLE": "3s"}
    env |= driver.env | without_bubblewrap(tmp_path_factory.mktemp("path") / "bin")  # they write the world
    one = Service(tmp_path_factory.mktemp("gpus"), env)
    one.token = one.add_user(one.user)
    one.start()
    yield one
    assert one.stop() == 0


def holder(gpu_table: str = "") -> dict[str, str | bytes]:
    """A program that says which GPUs it sees."""
    return {
        "Makefile": "prog:\n\tcp prog.sh prog && chmod +x prog\n",
        "prog.sh": "#!/bin/sh\necho sees $CUDA_VISIBLE_DEVICES\n",
        "hermes.toml": f'handler = "./prog"\n[run]\ncpus = 1\n[gpu]\n{gpu_table or "count = 1"}\n',
    }


def test_a_run_sees_its_own_gpu_and_no_other(gpu_service: Service) -> None:
    pushed = gpu_service.push(holder())
    assert pushed.code == 0 and "started on GPU 0 (NVIDIA-H200)" in pushed.output
    assert "sees GPU-fake-0" in pushed.lines


def test_a_run_without_gpus_sees_none(gpu_service: Service) -> None:
    assert "sees" in gpu_service.push(holder(gpu_table="count = 0")).lines


def test_two_gpus_can_be_held_at_once(gpu_service: Service) -> None:
    assert "sees GPU-fake-0,GPU-fake-1" in gpu_service.push(holder(gpu_table="count = 2")).lines


def holding(end: Path, gpu_table: str = "") -> dict[str, str | bytes]:
    """A program that keeps its GPU until there is a file `end`."""
    script = f"#!/bin/sh\nuntil test -e {end}; do sleep 0.1; done\n"
    return holder(gpu_table=gpu_table) | {"prog.sh": script}


def push_and_at(service: Service, tree: WorkTree, words: str, then: Callable[[], Any]) -> list[str]:
    """A push that ends well; what is done when a line with these words comes; its lines."""
    lines, done = [], False
    with begin_push(service, tree, tree.folder.name) as client:
        for _, line in arrivals(client):
            lines.append(line)
            if words in line and not done:
                done = True
                then()
    assert done and client.returncode == 0, lines
    return lines


def is_running(service: Service, pushed: Pushed) -> bool:
    return bool(service.commit_page(pushed)["runs"][0]["state"] == "running")


def test_one_run_owns_its_gpu_and_the_next_waits_with_a_reason(gpu_service: Service, tmp_path: Path) -> None:
    end = tmp_path / "end"
    first = gpu_service.push(holding(end, "count = 2"), "detach", repo="first")
    wait_for(lambda: is_running(gpu_service, first))
    lines = push_and_at(gpu_service, gpu_service.worktree(holder()), "waiting: GPU", end.touch)
    waits = next(line for line in lines if "waiting: GPU" in line)
    assert "waiting: GPU 0 (NVIDIA-H200) and GPU 1 (NVIDIA-H200) held by alice/first" in waits
    assert "you are 1st" in waits and "sees GPU-fake-0" in lines
    assert gpu_service.run_of(first)["state"] == "succeeded"


def test_a_gpu_with_a_strangers_process_is_not_given_away(gpu_service: Service, driver: FakeDriver) -> None:
    driver.world(gpu(0, pids="1"), gpu(1))
    try:
        assert "sees GPU-fake-1" in gpu_service.push(holder()).lines
    finally:
        driver.world(gpu(0), gpu(1))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("count = 3", "asks for 3 GPUs"),
        ('capability = "9.1"', "with capability 9.1"),
        ('model = "B200"', "of model B200"),
        ('memory = "200G"', "of 200 GiB"),
    ],
)
def test_what_is_impossible_here_is_refused_with_what_there_is(
    gpu_service: Service, table: str, words: str
) -> None:
    refused = gpu_service.push(holder(gpu_table=table if "count" in table else f"count = 1\n{table}"))
    assert refused.code == 1 and words in refused.output
    assert "impossible on this instance" in refused.output and "it has: NVIDIA-H200" in refused.output


@pytest.fixture
def dirty(gpu_service: Service, driver: FakeDriver) -> Iterator[FakeDriver]:
    """Afterwards all GPUs are as before, and given away."""
    yield driver
    driver.world(gpu(0), gpu(1))
    admin_gpu(gpu_service, "release", "all")
    wait_for(lambda: all(each["quarantine"] is None for each in gpus_of(gpu_service)))


def admin_gpu(service: Service, *words: str) -> str:
    """`hermes admin gpu …`: all that it says."""
    done = service.admin("gpu", *words)
    return done.stdout + done.stderr


def gpus_of(service: Service) -> list[dict[str, Any]]:
    return [each for machine in service.api("/gpus")["runners"] for each in machine["gpus"]]


def why(service: Service) -> str:
    """What the first one in the queue waits for."""
    return next((each["why"] for each in service.api("/gpus")["queue"]), "")


def dirtying(folder: Path, line: str) -> dict[str, str | bytes]:
    """A program after whose end GPU 0 is not as it was."""
    world = f"{line}\n{gpu(1)}\n"
    script = f"#!/bin/sh\necho sees $CUDA_VISIBLE_DEVICES\nprintf '{world}' > {folder}/world\n"
    return holder() | {"prog.sh": script.replace("\n", "\n")}


@pytest.mark.fault(34)
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (gpu(0, used_mib=900), "900 MiB of its memory stayed in use after a run, and no process holds it"),
        (gpu(0, ecc_errors=2), "its memory had uncorrected errors (2 since the driver was loaded)"),
        ("lost", "it does not answer any more"),
        (
            f"{gpu(0)}\nset 0 limit 350\nset 0 compute 2\nset 1 limit 350",
            "its settings were changed during a run: compute mode was default, is prohibited, "
            "power limit was 700 W, is 350 W",
        ),
    ],
)
def test_a_gpu_that_a_run_leaves_dirty_is_put_away_until_an_operator_releases_it(
    gpu_service: Service, dirty: FakeDriver, line: str, reason: str
) -> None:
    pushed = gpu_service.push(dirtying(dirty.folder, line))
    assert pushed.code == 0 and "sees GPU-fake-0" in pushed.lines
    away = wait_for(lambda: gpus_of(gpu_service)[0]["quarantine"])
    assert away["reason"] == reason
    with gpu_service.client() as client:
        assert f"in quarantine</span> {reason}" in client.get("/gpus").text
    assert "GPU 0 (NVIDIA-H200)  GPU-fake-0  since 20" in admin_gpu(gpu_service, "list")
    assert "sees GPU-fake-1" in gpu_service.push(holder()).lines
    dirty.world(gpu(0), gpu(1))
    assert reason in admin_gpu(gpu_service, "release", "GPU-fake-0")
    assert "sees GPU-fake-0" in gpu_service.push(holder()).lines


def test_what_an_operator_sets_between_runs_is_as_it_should_be(
    gpu_service: Service, dirty: FakeDriver
) -> None:
    dirty.world(gpu(0), gpu(1), "set 0 limit 400", "set 0 persistence 0")
    for _ in range(2):
        assert "sees GPU-fake-0" in gpu_service.push(holder()).lines
    assert gpus_of(gpu_service)[0]["quarantine"] is None


def test_who_waits_for_a_gpu_in_quarantine_is_told(gpu_service: Service, dirty: FakeDriver) -> None:
    gpu_service.push(dirtying(dirty.folder, gpu(0, used_mib=900)))
    wait_for(lambda: gpus_of(gpu_service)[0]["quarantine"])
    waits = gpu_service.push(holder(gpu_table="count = 2"), "detach")
    dirty.world(gpu(0), gpu(1))
    words = "GPU 0 (NVIDIA-H200) in quarantine (900 MiB of its memory stayed in use"
    wait_for(lambda: words in why(gpu_service))
    admin_gpu(gpu_service, "release", "all")
    assert gpu_service.run_of(waits)["state"] == "succeeded"


@pytest.mark.fault(32)
def test_a_program_that_its_gpu_has_failed_is_tried_again_on_another_one(
    gpu_service: Service, dirty: FakeDriver
) -> None:
    script = (
        "#!/bin/sh\necho sees $CUDA_VISIBLE_DEVICES\n"
        f"test $CUDA_VISIBLE_DEVICES = GPU-fake-1 || {{ echo 0 79 >> {dirty.folder}/world.xid; exit 3; }}\n"
    )
    pushed = gpu_service.push(holder() | {"prog.sh": script})
    assert pushed.code == 0 and "the GPU failed: Xid 79; it is in quarantine" in pushed.output
    assert "sees GPU-fake-1" in pushed.lines and gpu_service.run_of(pushed)["state"] == "succeeded"
    assert gpus_of(gpu_service)[0]["quarantine"]["reason"] == "the driver reported Xid 79"


@pytest.mark.fault(33)
def test_an_xid_that_is_the_programs_own_doing_is_told_and_charged(
    gpu_service: Service, dirty: FakeDriver
) -> None:
    script = f"#!/bin/sh\necho 0 31 >> {dirty.folder}/world.xid\nexit 3\n"
    pushed = gpu_service.push(holder() | {"prog.sh": script})
    assert "hermes: the driver reported Xid 31 of GPU-fake-0: the program's own doing" in pushed.lines
    assert gpu_service.run_of(pushed)["reason"] == "exit code 3"
    assert gpus_of(gpu_service)[0]["quarantine"] is None


def test_nobody_releases_a_gpu_that_is_not_in_quarantine(gpu_service: Service) -> None:
    done = gpu_service.admin("gpu", "release", "GPU-of-yesterday", check=False)
    assert done.returncode == 1
    assert "no GPU in quarantine is called 'GPU-of-yesterday'" in done.stderr
    assert "hermes admin gpu list" in done.stderr and "Traceback" not in done.stderr
    assert "no GPU is in quarantine" in admin_gpu(gpu_service, "list")


def test_runs_that_agree_share_a_gpu_and_who_wants_it_alone_waits(
    gpu_service: Service, tmp_path: Path
) -> None:
    table = 'count = 1\nmodel = "H200"\nshare = true\nmemory = "100G"'
    small, end = table.replace("100G", "30G"), tmp_path / "end"
    for number, each in enumerate((table, small, table)):
        pushed = gpu_service.push(holding(end, each), "detach", repo=f"sharer{number}")
        wait_for(lambda pushed=pushed: is_running(gpu_service, pushed))  # type: ignore[misc]
    first, second = gpus_of(gpu_service)
    assert [each["gpu_memory_bytes"] >> 30 for each in first["shared_by"]] == [100, 30]
    assert [each["repo"] for each in second["shared_by"]] == ["alice/sharer2"]
    with gpu_service.client() as client:
        assert "shared</span> by 100 GiB" in client.get("/gpus").text
    push_and_at(gpu_service, gpu_service.worktree(holder()), "waiting: GPU", end.touch)
    assert "started on 100 GiB of GPU 0 (NVIDIA-H200)" in "".join(
        gpu_service.push(holder(gpu_table=table)).output
    )


def test_pages_and_api_show_how_each_gpu_is_used(gpu_service: Service, driver: FakeDriver) -> None:
    driver.world(gpu(0, used_mib=2048, percent=87), gpu(1))
    try:
        use = {"percent": 87.0, "memory_bytes": 2 << 30, "power_w": 120.0, "celsius": 35, "mhz": 1980}
        wait_for(lambda: gpus_of(gpu_service)[0]["use"] == use)
        words = "87 % · 2.0 GiB in use · 35 °C · 120 W · 1980 MHz"
        with gpu_service.client() as client:
            wait_for(lambda: words in client.get("/gpus").text)  # a driver that is slow is left out at times
    finally:
        driver.world(gpu(0), gpu(1))


def test_a_share_without_a_size_learns_it_from_earlier_runs(
    gpu_service: Service, driver: FakeDriver, tmp_path: Path
) -> None:
    script = (
        "#!/bin/sh\n"
        f'sed "s/ - 0$/ $$:3000 0/" {driver.folder}/world >{driver.folder}/mine\n'
        f"cp {driver.folder}/world {driver.folder}/before && mv {driver.folder}/mine {driver.folder}/world\n"
        f"echo computing; until test -e {tmp_path}/end; do sleep 0.1; done\n"
        f"mv {driver.folder}/before {driver.folder}/world; sleep 0.3\n"
    )
    table = "count = 1\nshare = true"
    tree = gpu_service.worktree(holder(gpu_table=table) | {"prog.sh": script}, "learner")

    def end() -> None:
        since = time.time()
        wait_for(lambda: samples_since(gpu_service, since) > 1)
        (tmp_path / "end").touch()

    output = "\n".join(push_and_at(gpu_service, tree, "computing", end))
    assert "gpu.share without gpu.memory: it has a GPU alone until it is known what it uses" in output
    assert "started on GPU 0" in output, output
    page = f"/repos/alice/{tree.folder.name}/commits/{tree.git('rev-parse', 'HEAD')}"
    (run,) = gpu_service.api(page)["runs"]
    assert run["ranks"][0]["summary"]["gpu_peak_memory_bytes"] == 3000 << 20
    tree.write(holder(gpu_table=table))
    tree.commit("again")
    assert "started on 3.4 GiB of GPU 0" in gpu_service.push(tree, repo=tree.folder.name).output


def samples_since(service: Service, since: float) -> int:
    """How often it was looked at what ranks use."""
    ((count,),) = sql(service, "SELECT count(*) FROM gpu_sample WHERE at > ?", since)
    return int(count)


def test_the_command_shows_who_holds_each_gpu_and_for_how_long(
    gpu_service: Service, dirty: FakeDriver, tmp_path: Path
) -> None:
    first = gpu_service.push(holding(tmp_path / "end"), "detach", repo="shown")
    run = wait_for(
        lambda: next((r for r in gpu_service.commit_page(first)["runs"] if r["state"] == "running"), None)
    )
    dirty.world(gpu(0, used_mib=2048, percent=87), gpu(1))
    second = gpu_service.push(holder(gpu_table="count = 2"), "detach", repo="waits")
    wait_for(lambda: "you are 1st" in why(gpu_service))
    lines = gpu_service.hermes("gpus").stdout.splitlines()
    assert lines[0] == "NVIDIA driver 580.00, up to CUDA 13.0"
    assert lines[1].endswith(": local executor, 2 GPUs, 1 of 8 CPUs held")
    held = next(line for line in lines if line.startswith("0 "))
    words = rf"0 +NVIDIA-H200 +2.0 GiB of 140 GiB +87 % +35 °C +120 W +alice/shown run {run['id']} of alice, "
    assert re.fullmatch(words + r"for .+, (about|at most) .+ left", held), held
    assert next(line for line in lines if line.startswith("1 ")).endswith(" free")
    assert "1 waits" in lines and lines[-1].lstrip().startswith("run ") and "alice/waits" in lines[-1]
    assert "held by alice/shown" in lines[-1] and "you are 1st" in lines[-1]
    dirty.world(gpu(0), gpu(1))
    (tmp_path / "end").touch()
    assert [gpu_service.run_of(each)["state"] for each in (first, second)] == ["succeeded"] * 2


def test_the_command_says_to_programs_what_the_api_says_and_more(
    gpu_service: Service, tmp_path: Path
) -> None:
    pushed = gpu_service.push(holding(tmp_path / "end"), "detach")
    wait_for(lambda: gpu_service.commit_page(pushed)["runs"][0]["state"] == "running")
    said, api = json.loads(gpu_service.hermes("gpus", "--json").stdout), gpu_service.api("/gpus")
    assert said.pop("driver")["version"] == "580.00"
    first, second = said["runners"][0]["gpus"]
    assert first["now"]["used_bytes"] == 0 and second["now"]["celsius"] == 35
    assert first["held_by"].pop("left_s") > 0 and first["held_by"].pop("left_is") in ("about", "at most")
    for each in (first, second):
        del each["now"]
    for each in (first, second, *api["runners"][0]["gpus"]):  # a few seconds old, and not always as many
        assert (each.pop("use") or {"celsius": 35})["celsius"] == 35
    said["runners"][0].pop("seen_at"), api["runners"][0].pop("seen_at")
    assert said == api and first["held_by"]["repo"].startswith("alice/")
    (tmp_path / "end").touch()
    gpu_service.run_of(pushed)


def test_the_command_says_how_a_gpu_comes_out_of_quarantine(gpu_service: Service, dirty: FakeDriver) -> None:
    gpu_service.push(dirtying(dirty.folder, gpu(0, ecc_errors=2)))
    wait_for(lambda: gpus_of(gpu_service)[0]["quarantine"])
    shown = gpu_service.hermes("gpus").stdout
    assert re.search(r"in quarantine since 20\d\d-\d\d-\d\d: its memory had uncorrected errors", shown)
    assert "→ hermes admin gpu release GPU-fake-0" in shown


def test_the_command_looks_again_each_second_until_ctrl_c(gpu_service: Service, driver: FakeDriver) -> None:
    driver.world(gpu(0), gpu(1))
    command = [sys.executable, "-m", "hermes", "gpus", "--watch", "--json"]
    env = gpu_service.environment() | {"PYTHONUNBUFFERED": "1"}
    began = time.monotonic()
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as top:
        assert top.stdout is not None and top.stderr is not None
        first = json.loads(top.stdout.readline())
        driver.world(gpu(0, percent=50), gpu(1), "lost")
        looks = [first]
        while looks[-1]["driver"]["gpus"][0]["percent"] == 0.0 or len(looks) < 3:
            looks.append(json.loads(top.stdout.readline()))
        later = looks[-1]
        assert time.monotonic() - began > 1.5, "it looks once a second"
        top.send_signal(signal.SIGINT)
        assert top.wait(PATIENCE_S) == 0 and top.stderr.read() == ""
    driver.world(gpu(0), gpu(1))
    assert [each["driver"]["gpus"][0]["percent"] for each in (first, later)] == [0.0, 50.0]
    assert later["driver"]["gpus"][2]["error"] == "GPU is lost"
