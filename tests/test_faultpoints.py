"""At each step of a push, a build, a run and a call its process is killed: only time is lost."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hermes.faultpoint import POINTS
from tests.listener import listening
from tests.programs import command_lines, shell
from tests.promises import Told, all_is_kept
from tests.service import Pushed, Service, living, wait_for
from tests.test_callbacks import Receiver

LINES = b"".join(b"line %d\n" % number for number in range(60))
COUNTS = shell(
    "i=0; while [ $i -lt 60 ]; do echo line $i; i=$((i+1)); sleep 0.01; done\n"
    'for name in a b c; do echo $name > "$HERMES_OUTPUT_DIR/$name.txt"; done\n'
)
ECHO = shell("cat; echo $1")


def _of(*kinds: str) -> list[str]:
    return [point for point in POINTS if point.split(".")[0] in kinds]


@pytest.fixture(scope="module")
def frail(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance that dies where the test says, with short leases."""
    env = {
        "HERMES_EXECUTOR": "docker",
        "HERMES_LEASE": "8s",
        "HERMES_POLL": "1s",
        "HERMES_CPUS": "8",
        "HERMES_FAULTPOINT": "file",
        "HERMES_MAINTENANCE": "5s",  # what killed pushes leave is looked for that soon
        "HERMES_CALLBACK_NETWORKS": "127.0.0.0/8,::1",
    }
    with living(Service(tmp_path_factory.mktemp("frail"), env)) as one:
        yield one
    wait_for(lambda: not _keepers(one))  # also of what killed runners had, and nobody took over


def _keepers(service: Service) -> list[str]:
    keeper = f"hermes.keeper {service.data}"
    return [line for line in command_lines().values() if keeper in line]


@pytest.fixture(scope="module")
def told() -> list[Told]:
    """All pushes so far: later faults must not take back what earlier ones left."""
    return []


def strike(service: Service, point: str, turn: int = 1, *, stops: bool = False) -> Callable[[], bool]:
    """Whoever comes by is killed, or stopped, once; returns whether that has happened."""
    folder = service.data / "faultpoints"
    folder.mkdir(exist_ok=True)
    (folder / point).unlink(missing_ok=True)
    (folder / "now").write_text(f"{point}:{turn}{':stop' if stops else ''}")
    visits = folder / point
    return lambda: visits.exists() and visits.stat().st_size >= turn


def push_until_taken(service: Service, files: dict[str, Any], repo: str) -> list[Pushed]:
    """As somebody does whose push has failed: the same commit again."""
    tree = service.worktree(files, repo)
    pushed = [service.push(tree, repo=repo)]
    while pushed[-1].code:
        wait_for(service.answers)
        pushed.append(service.push(tree, repo=repo))
        assert len(pushed) < 5, pushed[-1].output
    return pushed


@pytest.mark.fault(1, 5, 6, 8, 9)
@pytest.mark.parametrize("point", _of("push", "build", "rank", "artifact"))
def test_who_is_killed_at_any_step_of_a_push_loses_nothing(
    frail: Service, told: list[Told], point: str
) -> None:
    has_struck = strike(frail, point)
    tries = push_until_taken(frail, COUNTS, point.replace(".", "-"))
    told += [Told(each, LINES) for each in tries]
    page = wait_for(lambda: _settled(frail, tries[-1]))
    wait_for(has_struck)  # what is after the end of a run is not waited for by who waits for its end
    assert [run["state"] for run in page["runs"]] == ["succeeded"]
    assert len(frail.api(f"/runs/{page['runs'][0]['id']}/artifacts")["artifacts"]) == 3
    all_is_kept(frail, told)


def _settled(service: Service, pushed: Pushed) -> dict[str, Any] | None:
    """What came of it, if its push is settled as well: one that nobody finished has no run yet."""
    page = service.settled(pushed, 90)
    return page if page["runs"] else None


@pytest.fixture(scope="module")
def echo(frail: Service) -> str:
    """A function."""
    pushed = frail.push(ECHO, repo="echo-at-fault")
    assert frail.run_of(pushed)["state"] == "succeeded"
    return f"/api/v1/functions/{frail.user}/echo-at-fault/runs?arg=world"


@pytest.mark.fault(48)
@pytest.mark.parametrize("point", _of("invoke"))
def test_a_call_that_is_made_again_with_its_key_is_one_run(
    frail: Service, told: list[Told], echo: str, point: str
) -> None:
    has_struck = strike(frail, point)
    with frail.client() as client:
        headers = {"Idempotency-Key": point}
        with pytest.raises(httpx.TransportError):
            client.post(echo, content=b"hello ", headers=headers)
        assert has_struck()
        wait_for(frail.answers)
        answer = client.post(echo, content=b"hello ", headers=headers)
        again = client.post(echo, content=b"hello ", headers=headers)
    assert answer.status_code in (200, 202) and answer.json()["id"] == again.json()["id"]
    run_id = answer.json()["id"]
    wait_for(lambda: frail.api(f"/runs/{run_id}")["state"] == "succeeded")
    assert frail.read_log("runs", run_id) == b"hello world\n"
    all_is_kept(frail, told)


@pytest.mark.fault(48)
@pytest.mark.parametrize("point", _of("callback"))
def test_a_callback_is_sent_again_by_the_next_server(
    frail: Service, told: list[Told], echo: str, point: str
) -> None:
    with Receiver() as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        has_struck = strike(frail, point)
        with frail.client() as client:
            run = client.post(echo, headers={"X-Callback-Url": receiver.url}).json()
        wait_for(has_struck)
        least = 2 if point == "callback.sent" else 1
        wait_for(lambda: len(receiver.taken) >= least)
        assert {headers["X-Hermes-Delivery"] for headers, _ in receiver.taken} == {f"run-{run['id']}"}
        assert {json.loads(body)["state"] for _, body in receiver.taken} == {"succeeded"}
        receiver.shutdown()
    wait_for(frail.answers)
    all_is_kept(frail, told)


@pytest.mark.fault(48)
@pytest.mark.parametrize("point", _of("notice"))
def test_who_is_to_be_told_is_told_by_the_next_server(
    frail: Service, told: list[Told], echo: str, point: str
) -> None:
    with listening() as listener, frail.client() as client:
        wish = {"kind": "webhook", "target": listener.url("/told"), "events": "all"}
        notification = client.post("/api/v1/notifications", json=wish).json()["id"]
        has_struck = strike(frail, point)
        run = client.post(echo).json()
        wait_for(has_struck)
        least = 2 if point == "notice.sent" else 1
        wait_for(lambda: len(listener.taken) >= least)
        assert {each.headers["X-Hermes-Delivery"] for each in listener.taken} == {
            f"notice-{notification}-run-{run['id']}"
        }
        assert {json.loads(each.body)["event"] for each in listener.taken} == {"run.succeeded"}
        wait_for(frail.answers)
        log = f"/api/v1/notifications/{notification}/attempts"
        wait_for(lambda: [each["error"] for each in client.get(log).json()["attempts"]] == [""])
        assert client.delete(f"/api/v1/notifications/{notification}").status_code == 204
    all_is_kept(frail, told)


def test_every_point_is_somewhere() -> None:
    source = "".join(
        path.read_text()
        for folder in ("hermes", "gitserver", "hooks", "builder", "runner", "web")
        for path in (Path(__file__).parent.parent / folder).glob("*.py")
    )
    for point in POINTS:
        kind, _, step = point.partition(".")
        names = (f'faultpoint("{point}")', f'.topic}}.{step}")')
        assert any(name in source for name in names), f"{point} of {kind} is not in the code"
