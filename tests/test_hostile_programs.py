"""Bad-input programs, in the manner of contest judges: tests/hostile/<verdict>/<case>.

Each gets the verdict that its folder is named after, the service answers meanwhile, the next run starts at
once, and nothing is left of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.ground import Ground
from tests.hostile.program import FOLDER, VERDICTS, Program, programs
from tests.service import Service

LIMITS = {
    "HERMES_CPUS": "2",  # what one run asks for: the next one needs all that the case held
    "HERMES_LOG_SIZE": "1M",
    "HERMES_DISK": "64M",
    "HERMES_ARTIFACT_SIZE": "8M",
    "HERMES_ARTIFACT_FILES": "50",
}


def ground(executor: str, folder: Path) -> Iterator[Ground]:
    one = Service(folder, LIMITS | {"HERMES_EXECUTOR": executor})
    one.token = one.add_user(one.user)
    one.start()
    yield Ground(one, has_engine=executor == "docker").prepare()
    assert one.stop() == 0, one.log[-3000:]
    assert "Traceback" not in one.log, one.log[one.log.index("Traceback") - 500 :][:4000]


@pytest.fixture(scope="module")
def docker(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """With the default executor: the fence that strangers' programs run into."""
    yield from ground("docker", tmp_path_factory.mktemp("docker"))


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Without a fence: only cases that a program of people who trust each other may be by mistake."""
    yield from ground("local", tmp_path_factory.mktemp("local"))


def gets_its_verdict(one: Ground, program: Program) -> None:
    with one.answers():
        pushed = one.service.push(program.files(), repo=str(program).replace("/", "-"))
        run = one.service.run_of(pushed)
        one.next_run_succeeds()
        log = one.service.read_log("runs", run["id"]).decode(errors="replace")
        assert program.differences(run, log, one.kept(run)) == [], log[-2000:]
        one.is_clean()
    assert run["ranks"][0]["attempt"] <= 1, "a program's own doing is tried once; not at all if make ended it"


@pytest.mark.fault(46)
@pytest.mark.parametrize("program", programs("docker"), ids=str)
def test_program_gets_its_verdict_and_leaves_nothing(docker: Ground, program: Program) -> None:
    gets_its_verdict(docker, program)


@pytest.mark.fault(46)
@pytest.mark.parametrize("program", programs("local"), ids=str)
def test_program_gets_its_verdict_without_an_engine(local: Ground, program: Program) -> None:
    gets_its_verdict(local, program)


def test_every_folder_is_a_case() -> None:
    """A misspelt verdict or a missing manifest would leave a case out."""
    folders = {path.parent.parent for path in FOLDER.glob("*/*/*") if path.suffix != ".pyc"}
    assert {path.name for path in folders} == {str(each) for each in VERDICTS}
    cases = {path for folder in folders for path in folder.iterdir()}
    assert cases == {program.folder for program in programs("docker")}
