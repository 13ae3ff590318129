"""Ranks that reserve a part of a GPU have it together, and none gets into another's memory."""

import re
from collections import defaultdict
from typing import Any

from tests.gpu.place import Place
from tests.gpu.program import files, most_at_once, ran
from tests.gpu.report import Report
from tests.service import Service

RANKS = 6
HELD = re.compile(r"share: rank (\d+) held \d+ MiB of \d+ MiB from ([\d.]+) to ([\d.]+), 0 words wrong")


def by_gpu(run: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """{UUID: the ranks that were on it}."""
    found = defaultdict(list)
    for rank in run["ranks"]:
        (uuid,) = rank["slot"]["gpus"]
        found[uuid].append(rank)
    return found


def test_ranks_that_share_run_together_and_reserve_no_more_than_there_is(
    gpu_service: Service, here: Place, report: Report
) -> None:
    reserved_mib = int(0.3 * here.least_memory_bytes) >> 20
    options = (f"gpu.memory={reserved_mib}M", f"ranks.repeat={RANKS}", f"run.args={reserved_mib} 3")
    pushed, run = ran(gpu_service, "share", *options)
    assert run["state"] == "succeeded", pushed.output
    spans = {int(rank): (float(start), float(end)) for rank, start, end in HELD.findall(pushed.output)}
    assert sorted(spans) == list(range(RANKS)), pushed.output
    together = []
    for uuid, ranks in by_gpu(run).items():
        reserved = [(each["started_at"], each["ended_at"], each["slot"]["gpu_bytes"]) for each in ranks]
        assert {size for _, _, size in reserved} == {reserved_mib << 20}
        assert most_at_once(reserved) <= here.gpu(uuid).memory_bytes
        together.append(most_at_once((*spans[each["number"]], 1) for each in ranks))
    assert max(together) >= 2, f"by their own clocks no two held memory of a GPU at once: {spans}"
    lasted_s = max(end for _, end in spans.values()) - min(start for start, _ in spans.values())
    report.add(f"{RANKS} ranks with 30 % of a GPU each, 3 s", at_once=max(together), lasted_s=lasted_s)


def test_a_share_without_a_size_learns_it_from_the_run_before(gpu_service: Service, report: Report) -> None:
    tree = gpu_service.worktree(files("share"))
    first = gpu_service.push(tree, "run.args=2048 3", repo="learner")
    assert "it has a GPU alone until it is known what it uses" in first.output, first.output
    run = gpu_service.run_of(first)
    assert run["state"] == "succeeded" and run["ranks"][0]["slot"]["gpu_bytes"] == 0
    used_bytes = run["ranks"][0]["summary"]["gpu_peak_memory_bytes"]
    assert used_bytes >= (2048 - 640) << 20, "what it allocated, at least"
    tree.commit("again")
    second = gpu_service.push(tree, "run.args=2048 3", repo="learner")
    run = gpu_service.run_of(second)
    assert run["state"] == "succeeded", second.output
    learned_bytes = run["ranks"][0]["slot"]["gpu_bytes"]
    assert used_bytes * 1.14 < learned_bytes <= used_bytes * 1.15 + (64 << 20)
    report.add("a learned reservation", used_mib=used_bytes >> 20, reserved_mib=learned_bytes >> 20)
