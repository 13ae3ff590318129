"""What the runner says of a GPU is what a program does on it."""

import json
import sqlite3
from contextlib import closing
from statistics import median
from typing import Any

from tests.gpu.place import Place
from tests.gpu.program import gpu_of, ran
from tests.gpu.report import Report
from tests.service import Service

BUSY_S, TAKEN_MIB = 5, 1024


def samples(service: Service, run: dict[str, Any]) -> list[dict[str, Any]]:
    """How its GPU was used, second by second, as the charts of its page have it."""
    query = (
        """SELECT s.gpus FROM gpu_sample s JOIN rank r ON r.id = s.rank_id WHERE r.run_id = ? ORDER BY s.at"""
    )
    with closing(sqlite3.connect(f"file:{service.data}/hermes.db?mode=ro", uri=True)) as database:
        rows = database.execute(query, (run["id"],)).fetchall()
    return [gpu for (gpus,) in rows for gpu in json.loads(gpus)]


def test_telemetry_sees_a_busy_gpu(gpu_service: Service, here: Place, report: Report) -> None:
    pushed, run = ran(gpu_service, "busy", f"run.args={BUSY_S} {TAKEN_MIB}")
    assert run["state"] == "succeeded", pushed.output
    gpu, seen, summary = here.gpu(gpu_of(run)), samples(gpu_service, run), run["ranks"][0]["summary"]
    assert len(seen) >= 3 and {each["uuid"] for each in seen} == {gpu.uuid}
    assert summary["gpu_peak_memory_bytes"] >= TAKEN_MIB << 20
    assert TAKEN_MIB << 20 <= max(each["memory_bytes"] for each in seen) <= gpu.memory_bytes
    with gpu_service.client() as client:
        assert "<svg" in client.get(f"/runs/{run['id']}").text
    if gpu.instance is not None:  # NVML tells neither utilisation nor power of an instance
        return
    percents = [each["percent"] for each in seen]
    assert sum(percent > 50 for percent in percents) >= 3, percents
    assert all(1 < each["power_w"] < 2000 for each in seen), seen
    assert all(5 < each["celsius"] < 115 and each["mhz"] > 0 for each in seen), seen
    assert 0.5 * BUSY_S < summary["gpu_busy_s"] <= summary["wall_s"] + 1
    report.add(
        f"a kernel of {BUSY_S} s",
        gpu_busy_s=summary["gpu_busy_s"],
        wall_s=summary["wall_s"],
        percent=median(percents),
        most_w=max(each["power_w"] for each in seen),
        most_celsius=max(each["celsius"] for each in seen),
        peak_mib=summary["gpu_peak_memory_bytes"] >> 20,
    )
