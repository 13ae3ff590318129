"""The CUDA samples do on a GPU what they promise."""

import re

import pytest

from hermes.samples import expectation, sample_names
from tests.gpu.report import Report
from tests.service import Service
from tests.test_samples import differences_from

NAMES = [name for name in sample_names() if expectation(name, has_gpu=True).needs_gpu]


@pytest.mark.parametrize("name", NAMES)
def test_cuda_sample_does_what_it_promises(gpu_service: Service, report: Report, name: str) -> None:
    assert differences_from(expectation(name, has_gpu=True), gpu_service, name) == []
    run = gpu_service.api("/runs")["runs"][0]
    log = gpu_service.read_log("runs", run["id"]).decode()
    speed = re.search(r": (\d+ (?:GB|GFLOP)/s) on ", log)
    assert speed, log
    report.add(f"sample {name}", speed=speed[1], wall_s=run["summary"]["wall_s"])
