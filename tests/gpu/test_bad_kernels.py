"""Kernels that do what no kernel should: a verdict in words, and the next run has the same GPU."""

import re

import pytest

from runner.hygiene import PROGRAMS_OWN_XIDS
from tests.gpu.events import heard_xids
from tests.gpu.place import Place
from tests.gpu.program import files, gpu_of, quarantine, ran
from tests.gpu.report import Report
from tests.service import Service, wait_for

ILLEGAL, MISALIGNED = "an illegal memory access was encountered", "misaligned address"


def next_run_succeeds_on(service: Service, here: Place, uuid: str) -> None:
    """The GPU was looked at and is given away again. Asks for all GPUs, so that it cannot get another one
    meanwhile; of a divided one nobody gets more than one instance."""
    count = 1 if here.instances else len(here.gpus)
    pushed = service.push(files("visible"), f"gpu.count={count}", "detach")
    wait_for(lambda: quarantine(service) or service.commit_page(pushed)["runs"][0]["ended_at"])
    assert quarantine(service) == {}
    run = service.run_of(pushed)
    assert run["state"] == "succeeded"
    assert here.instances or uuid in run["ranks"][0]["slot"]["gpus"]


@pytest.mark.parametrize(
    ("kind", "xid", "words"),
    [("wild", 31, ILLEGAL), ("beyond", 31, ILLEGAL), ("misaligned", 13, MISALIGNED)],
)
def test_a_wrong_access_is_the_programs_own_failure(
    gpu_service: Service, here: Place, report: Report, kind: str, xid: int, words: str
) -> None:
    with heard_xids() as heard:
        pushed, run = ran(gpu_service, "bad-kernel", f"run.args={kind}")
    assert (run["state"], run["exit_code"], run["ranks"][0]["attempt"]) == ("failed", 1, 1), pushed.output
    assert f"bad-kernel: {words}" in pushed.lines, pushed.output
    uuid = gpu_of(run)
    log = gpu_service.read_log("runs", run["id"]).decode()
    told = re.findall(
        rf"^hermes: the driver reported Xid (\d+) of {uuid}: the program's own doing$", log, re.M
    )
    report.add(f"bad kernel: {kind}", xids_heard=str(sorted(set(heard))), xids_told=", ".join(told))
    assert set(heard) <= PROGRAMS_OWN_XIDS
    if heard:  # this driver reports events: the log says the same
        assert xid in heard and str(xid) in told, (heard, log)
    next_run_succeeds_on(gpu_service, here, uuid)


def test_a_kernel_that_never_ends_is_ended_with_its_time(
    gpu_service: Service, here: Place, report: Report
) -> None:
    pushed, run = ran(gpu_service, "bad-kernel", "run.args=endless", "run.timeout=5s")
    assert run["state"] == "timed_out", pushed.output
    assert any(line.startswith("bad-kernel: endless on ") for line in pushed.lines), pushed.output
    took_s = run["ended_at"] - run["started_at"]
    assert 5 <= took_s < 25  # SIGTERM, 10 s, SIGKILL; then the driver has a kernel to stop
    report.add("a kernel that never ends, run.timeout 5 s", took_s=took_s)
    next_run_succeeds_on(gpu_service, here, gpu_of(run))
