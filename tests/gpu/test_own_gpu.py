"""A run has its own GPU and sees no other; those that are free are used at the same time."""

from itertools import pairwise

import pytest

from tests.gpu.place import Place
from tests.gpu.program import again, bare, devices, ended, files, gpu_of, most_at_once, ran, rank_log
from tests.gpu.report import Report
from tests.service import Service


def test_a_run_sees_its_own_gpu_and_no_other(gpu_service: Service, here: Place, report: Report) -> None:
    pushed, run = ran(gpu_service, "visible")
    assert run["state"] == "succeeded" and "visible: 1 devices" in pushed.lines, pushed.output
    ((device, mib),) = devices(pushed.output).items()
    gpu = here.gpu(gpu_of(run))
    assert mib << 20 <= gpu.memory_bytes
    if gpu.instance is None:  # of an instance, the runtime tells the UUID of the whole GPU
        assert device == bare(gpu.uuid)
    report.add(
        "a program that makes a context and ends", wall_s=run["summary"]["wall_s"], push_s=pushed.seconds
    )


def test_a_run_without_gpus_sees_none(gpu_service: Service) -> None:
    pushed, run = ran(gpu_service, "visible", "gpu.count=0")
    assert run["state"] == "succeeded" and "visible: 0 devices" in pushed.lines, pushed.output


def test_the_box_itself_holds_back_what_is_not_the_runs(
    gpu_service: Service, here: Place, report: Report
) -> None:
    with_one, run = ran(gpu_service, "visible", "run.args=unbound")
    without, _ = ran(gpu_service, "visible", "run.args=unbound", "gpu.count=0")
    assert run["state"] == "succeeded", with_one.output
    seen = len(devices(with_one.output)), len(devices(without.output))
    report.add("CUDA_VISIBLE_DEVICES forgotten", seen_with_one=seen[0], seen_with_none=seen[1])
    if here.executor == "docker":  # the local executor lets the others through where it has no bubblewrap
        assert seen == (1, 0)


def test_ranks_take_turns_on_a_gpu(gpu_service: Service, here: Place, report: Report) -> None:
    count = 2 * len(here.gpus) + 1
    pushed, run = ran(gpu_service, "visible", f"ranks.repeat={count}")
    assert run["state"] == "succeeded" and len(run["ranks"]) == count, pushed.output
    gaps_s = []
    for gpu in here.gpus:
        held = sorted(
            (rank["started_at"], rank["ended_at"])
            for rank in run["ranks"]
            if gpu.uuid in rank["slot"]["gpus"]
        )
        assert most_at_once((start, end, 1) for start, end in held) <= 1
        gaps_s += [start - end for (_, end), (start, _) in pairwise(held)]
    assert gaps_s, "some GPU had two of them"
    report.add("from one run on a GPU to the next", least_s=min(gaps_s), most_s=max(gaps_s))


def test_runs_have_different_gpus_at_the_same_time(gpu_service: Service, here: Place) -> None:
    count = min(len(here.gpus), 8)
    if count < 2:
        pytest.skip("one GPU only")
    _, first = ran(gpu_service, "busy", "run.args=4 64")
    runs = [ended(gpu_service, number) for number in [again(gpu_service, first["id"]) for _ in range(count)]]
    assert {run["state"] for run in runs} == {"succeeded"}
    assert len({gpu_of(run) for run in runs}) == count
    assert most_at_once((run["started_at"], run["ended_at"], 1) for run in runs) == count
    for run in runs:
        log = gpu_service.read_log("runs", run["id"]).decode()
        assert here.gpu(gpu_of(run)).instance is not None or f"busy: {bare(gpu_of(run))} at work" in log


def test_a_run_on_an_instance_has_that_instances_memory_only(gpu_service: Service, here: Place) -> None:
    if not here.instances:
        pytest.skip("no GPU here is divided by MIG")
    pushed = gpu_service.push(files("visible"), "gpu.model=MIG", f"ranks.repeat={len(here.instances)}")
    run = gpu_service.run_of(pushed)
    assert run["state"] == "succeeded", pushed.output
    for rank in run["ranks"]:
        (uuid,) = rank["slot"]["gpus"]
        (mib,) = devices(rank_log(gpu_service, run, rank)).values()
        assert mib << 20 <= here.gpu(uuid).memory_bytes
