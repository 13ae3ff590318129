"""Tests on a real GPU: each is left out where there is none, and `make test-gpu` says so and fails."""

import os
from collections.abc import Iterator

import pytest

from tests.gpu.place import EXPLICIT, Place, look, place, why_none
from tests.gpu.program import quarantine
from tests.gpu.report import Report
from tests.service import Service

_REPORT = pytest.StashKey[Report]()


@pytest.fixture(scope="session")
def here() -> Place:
    """This machine. No GPU is no failure, also where CI is set: CI has none, and nothing could give it one.
    Whoever asks for these tests by name is told."""
    driver = look()
    if why := why_none(driver):
        if os.environ.get(EXPLICIT):
            pytest.exit(
                f"{why}\nmake test-gpu needs an NVIDIA GPU that `nvidia-smi` lists and nobody uses", 1
            )
        pytest.skip(why)
    return place(driver)


@pytest.fixture(scope="session")
def report(here: Place, pytestconfig: pytest.Config) -> Iterator[Report]:
    """What is measured."""
    one = pytestconfig.stash[_REPORT] = Report(here)
    yield one
    one.write()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The figures."""
    one = config.stash.get(_REPORT, None)
    if one is not None:
        terminalreporter.section("measured on this GPU")
        for line in one.lines():
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def gpu_service(here: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance with this machine's GPUs. Where no engine hands them out, both users are trusted."""
    env = {"HERMES_EXECUTOR": here.executor, "HERMES_TRUST": "all", "HERMES_CPUS": "16", "HERMES_POLL": "1"}
    one = Service(tmp_path_factory.mktemp("gpu"), env)
    one.token = one.add_user(one.user)
    one.start()
    yield one
    assert one.stop() == 0, one.log[-3000:]
    assert "Traceback" not in one.log, one.log[one.log.index("Traceback") - 500 :][:4000]


@pytest.fixture(autouse=True)
def every_gpu_stays_fit(gpu_service: Service) -> Iterator[None]:
    """Whatever a program did: no GPU is in quarantine after it. One that is would hold up all other tests."""
    yield
    away = quarantine(gpu_service)
    for uuid in away:
        gpu_service.hermes("admin", "gpu", "release", uuid)
    assert away == {}
