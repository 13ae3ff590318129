"""What a manifest may ask for beyond the usual: another try of its own failures, and a network."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes.errors import Unavailable
from hermes.executors.base import Limits, Task
from hermes.executors.container import Ground, hardening
from hermes.executors.docker import DockerExecutor
from tests.programs import shell
from tests.service import Service

COUNTING = """
file=$HERMES_CHECKPOINT_DIR/tries
echo try >>$file; tries=$(wc -l <$file); echo "this is try $tries"
[ $tries -ge {enough} ] || exit 3
"""


def test_its_own_failures_are_tried_again_from_the_checkpoint(service: Service) -> None:
    pushed = service.push(shell(COUNTING.format(enough=3), "[run]\nretries = 2"))
    assert pushed.code == 0
    words = [line for line in pushed.lines if "retry" in line or line.startswith("this is")]
    assert [line for line in words if line.startswith("this is")] == [f"this is try {n}" for n in (1, 2, 3)]
    assert any("exit code 3; retry 1 of 2; trying again" in line for line in words), words
    run = service.run_of(pushed)
    rank = service.api(f"/runs/{run['id']}")["ranks"][0]
    assert (rank["state"], rank["attempt"]) == ("succeeded", 3)


def test_after_the_last_retry_it_has_failed(service: Service) -> None:
    pushed = service.push(shell(COUNTING.format(enough=9), "[run]\nretries = 1"))
    run = service.run_of(pushed)
    assert (run["state"], run["reason"]) == ("failed", "exit code 3")
    assert service.api(f"/runs/{run['id']}")["ranks"][0]["attempt"] == 2


def test_a_time_out_is_tried_again_with_its_whole_time(service: Service) -> None:
    program = COUNTING.format(enough=2).replace("exit 3", "sleep 60")
    pushed = service.push(shell(program, '[run]\nretries = 1\ntimeout = "10s"'))
    assert "this is try 2" in pushed.lines
    assert service.run_of(pushed)["state"] == "succeeded"


def test_without_retries_nothing_is_kept_of_a_failure(service: Service) -> None:
    pushed = service.push(shell(COUNTING.format(enough=2)))
    assert service.run_of(pushed)["reason"] == "exit code 3"
    assert service.api(f"/runs/{service.run_of(pushed)['id']}")["ranks"][0]["attempt"] == 1


def test_a_network_is_refused_where_the_operator_has_named_none(service: Service) -> None:
    refused = service.push(shell("true", "[run]\nnetwork = true"))
    assert refused.code == 1
    assert "run.network = true: programs have no network on this instance" in refused.output
    assert "HERMES_NETWORK" in refused.output


@pytest.fixture(scope="module")
def connected(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Programs may have the machine's own network: the one that is there on every engine."""
    env = {"HERMES_EXECUTOR": "docker", "HERMES_CPUS": "8", "HERMES_NETWORK": "host", "HERMES_POLL": "1s"}
    one = Service(tmp_path_factory.mktemp("connected"), env)
    one.token = one.add_user(one.user)
    one.start()
    yield one
    assert one.stop() == 0


def interfaces() -> set[str]:
    """Of this machine."""
    return {line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]}


def test_only_who_asks_has_the_network_that_the_operator_named(connected: Service) -> None:
    machine = interfaces()
    program = "tail -n +3 /proc/net/dev | cut -d: -f1"
    asked = connected.push(shell(program, "[run]\nnetwork = true"))
    stay = machine & interfaces()  # those of other containers come and go
    assert stay <= {line.strip() for line in asked.lines}
    alone = connected.push(shell(f"echo begin; {program}; echo end"))
    first, last = alone.lines.index("begin"), alone.lines.index("end")
    assert [line.strip() for line in alone.lines[first + 1 : last]] == ["lo"]


@pytest.mark.parametrize(
    ("ground", "words"),
    [
        (Ground(runtime="runsc-of-nobody"), "HERMES_RUNTIME=runsc-of-nobody: the Docker engine has no such"),
        (Ground(network="net-of-nobody"), "docker network create net-of-nobody"),
    ],
)
async def test_a_runtime_or_network_that_is_not_there_is_told_at_the_start(
    engine: None, tmp_path: Path, ground: Ground, words: str
) -> None:
    executor = DockerExecutor(tmp_path / "boxes", "test", ground)
    with pytest.raises(Unavailable, match=words):
        await executor.check()
    await executor.close()


def test_the_runtime_is_that_of_the_operator(tmp_path: Path) -> None:
    task = Task("a", "b", ("true",), tmp_path, Limits(1, 1 << 20, 1 << 20))
    assert hardening(task, Ground(runtime="runsc"))["runtime"] == "runsc"
    assert hardening(task)["runtime"] is None and hardening(task)["network_mode"] == "none"
