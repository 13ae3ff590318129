"""Fixtures: one whole service for all tests that do not break it, the browser, and the verbs."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from docker.errors import DockerException
from hypothesis import HealthCheck, settings
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from hermes.executors.engine import connect
from hermes.settings import Settings
from tests import postgres
from tests.browsing import sign_in
from tests.fault_report import mark_rows
from tests.fault_report import pytest_configure as pytest_configure
from tests.fault_report import pytest_runtest_logreport as pytest_runtest_logreport
from tests.fault_report import pytest_sessionfinish as pytest_sessionfinish
from tests.service import PATIENCE_S, Pushed, Service, living

CHROMIUM = "/usr/bin/chromium"
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-site-isolation-trials",  # it makes half of what a visit costs: a process for it
]


expect.set_options(timeout=PATIENCE_S * 1000)
#: How long anything takes says nothing of what is right; `tmp_path` may serve many examples.
settings.register_profile("hermes", deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile("hermes")


#: Files that mostly wait, the longest first. Each begins beside others that compute: so neither is the
#: processor idle while all wait, nor does anybody wait alone at the end.
WAIT = [
    "faultpoints", "soak", "sight", "engine_restart", "engine_away", "gpus", "database_faults",
    "hostile_programs", "deploy_keys", "faults", "backup", "executors", "races", "warm", "proxies",
    "verdicts", "stream", "disk_full", "restart", "redis_faults", "streams", "adoption", "retention",
    "unkillable", "gpu_place",
]  # fmt: skip
_COMPUTE_BETWEEN = 3


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order of files (`--no-loadscope-reorder` keeps it), and which faults they prove."""
    mark_rows(items)
    waiting = [f"test_{name}" for name in WAIT]
    others = dict.fromkeys(item.path.stem for item in items if item.path.stem not in waiting)
    turns = {name: turn + 0.5 for turn, name in enumerate(others)}
    turns |= {name: turn * _COMPUTE_BETWEEN for turn, name in enumerate(waiting)}
    items.sort(key=lambda item: turns[item.path.stem])


def missing(what: str) -> None:
    """Skip on somebody's own machine; in CI a test that is left out is a failure."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing, and CI is set")
    pytest.skip(f"{what} is missing")


@pytest.fixture(scope="session", autouse=True)
def unmounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Disks of boxes whose service a test has killed for good would keep pytest from deleting its folders."""
    yield
    base = str(tmp_path_factory.getbasetemp())
    points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if base in line]
    for point in points:
        subprocess.run(["umount", "--lazy", point], check=False)


@pytest.fixture(scope="session")
def engine() -> None:
    """A Docker engine that answers."""
    try:
        with closing(connect(PATIENCE_S)) as client:
            client.ping()
    except (DockerException, OSError) as error:
        missing(f"a Docker engine ({error})")


@pytest.fixture(scope="session")
def service(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The instance that most tests share: Docker, SQLite, its own Redis; runs may hold 8 CPUs together."""
    env = {
        "HERMES_EXECUTOR": "docker",
        "HERMES_CPUS": "8",
        "HERMES_LOGIN_FAILURES": "1000",
    }  # tests guess a lot
    one = Service(tmp_path_factory.mktemp("hermes"), env)
    one.env["HERMES_ARTIFACT_ORIGIN"] = f"http://artifacts.localhost:{one.port}"
    one.token = one.add_user(one.user)
    one.start()
    yield one
    assert one.stop() == 0, one.log[-3000:]
    assert "Traceback" not in one.log, one.log[one.log.index("Traceback") - 500 :][:4000]


@pytest.fixture(scope="session")
def local_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance with the local executor and without Redis: the slowest, simplest way, complete."""
    env = {"HERMES_EXECUTOR": "local", "HERMES_REDIS_URL": "none", "HERMES_POLL": "1", "HERMES_CPUS": "8"}
    with living(Service(tmp_path_factory.mktemp("local"), env | {"HERMES_TRUST": "all"})) as one:
        yield one


@pytest.fixture
def push(service: Service) -> Callable[..., Pushed]:
    """`push(sample or files, *options)`."""
    return service.push


@pytest.fixture
def api(service: Service) -> Callable[[str], dict[str, Any]]:
    """`api("/runs/1")`."""
    return service.api


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    """An HTTP client of the service's user."""
    with service.client() as client:
        yield client


@pytest.fixture(scope="session")
def bob(service: Service) -> str:
    """The token of another user of the shared service."""
    return service.add_user("bob")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, headless. Not for the whole session: its event loop runs until it ends, and asynchronous
    tests of other modules have one of their own."""
    with sync_playwright() as playwright:
        path = CHROMIUM if Path(CHROMIUM).exists() else None
        chromium = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        _be_patient(chromium)
        yield chromium
        chromium.close()


def _be_patient(chromium: Browser) -> None:
    """Clicks and pages are waited for as long as all else; it can only be said to each context."""
    make = chromium.new_context

    def new_context(**options: Any) -> BrowserContext:
        context = make(**options)
        context.set_default_timeout(PATIENCE_S * 1000)
        return context

    chromium.new_context = new_context  # type: ignore[method-assign]


@pytest.fixture
def browser_page(browser: Browser, service: Service) -> Iterator[Page]:
    """A page whose user is signed in, as a person does it."""
    context = browser.new_context(base_url=service.url)
    page = context.new_page()
    sign_in(page, service, service.token)
    yield page
    context.close()


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    """An empty database of a PostgreSQL of its own."""
    binaries = postgres.find_binaries()
    if binaries is None:
        missing("PostgreSQL")
        return
    with postgres.running(binaries) as url:
        yield Settings(database_url=url).database
