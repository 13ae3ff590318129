"""`hermes executions`, `logs`, `artifacts`, `functions`: what ran, looked at, fetched, ended, run again."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hermes.cli.artifacts import place
from hermes.errors import UserError
from tests.cutting import Cutter
from tests.person import Person, signed_in
from tests.programs import shell
from tests.service import PATIENCE_S, Service, wait_for

PROGRAM = """echo "in $1"; echo to stderr >&2
case "$1" in
files) mkdir -p $HERMES_OUTPUT_DIR/deep; head -c 3000000 /dev/urandom > $HERMES_OUTPUT_DIR/deep/big.bin
echo hi > $HERMES_OUTPUT_DIR/small.txt;;
count) i=0; while [ $i -lt 30 ]; do i=$((i+1)); echo line $i; sleep 0.1; done;;
slow) sleep 600;;
fail) exit 3;;
esac
"""


@pytest.fixture(scope="module")
def ran(service: Service) -> dict[str, Any]:
    """The run of a push, with files."""
    program = shell(PROGRAM, 'version = "2.0.0"\n[run]\nargs = ["files"]\n')
    pushed = service.push(program, repo="seen")
    return service.run_of(pushed)


@pytest.fixture
def ada(service: Service, ran: dict[str, Any], tmp_path: Path) -> Person:
    return signed_in(service, tmp_path / "home")


def test_runs_are_kept_and_no_longer(ada: Person, ran: dict[str, Any]) -> None:
    number = str(ran["id"])
    assert ada.ok("executions", "keep", number) == f"run {number} is kept, by alice\n"
    assert "  kept       by alice since " in ada.ok("executions", "inspect", number)
    (record,) = json.loads(ada.ok("executions", "unkeep", number, "--json"))
    assert (record["id"], record["kept_at"]) == (ran["id"], None)
    assert ada.ok("executions", "unkeep", number) == f"run {number} is not kept\n"


def test_list_has_the_columns_of_openwhisk_and_the_gpu(ada: Person, ran: dict[str, Any]) -> None:
    lines = ada.ok("executions", "list", "--function", "alice/seen").splitlines()
    assert " ".join(lines[0].split()) == "DATETIME RUN TRIGGER START DURATION STATUS EXIT FUNCTION COMMIT GPU"
    row = next(line for line in lines if f" {ran['id']} " in line)
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ", row)
    assert f"succeeded  0     alice/seen  {ran['commit'][:7]}" in row


def test_list_is_the_api_for_programs(ada: Person, service: Service, ran: dict[str, Any]) -> None:
    assert json.loads(ada.ok("executions", "list", "--json", "--commit", ran["commit"]))[-1] == ran
    ids = ada.ok("execution:list", "-q", "-n", "3").split()
    assert ids == [str(run["id"]) for run in service.api("/runs?limit=3")["runs"]]


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ("--state succeeded --function alice/seen:2.0.0 --trigger push --user alice --since 2h", 1),
        ("--state lost --function alice/seen", 0),
        ("--function alice/seen --until 30d", 0),
    ],
)
def test_filters_choose(ada: Person, filters: str, count: int) -> None:
    done = ada.hermes("executions", "list", "-q", *filters.split())
    assert done.returncode == 0 and len(done.stdout.split()) == count
    assert (b"hermes: no run is like that" in ada.hermes("executions", "list", *filters.split()).stderr) == (
        count == 0
    )


def test_many_are_listed_over_pages(ada: Person, service: Service) -> None:
    with service.client() as client:
        for _ in range(3):
            client.post("/api/v1/functions/alice/seen/runs?arg=x")
    both = ada.ok("executions", "list", "-q", "-n", "100000").split()
    assert both == sorted(set(both), key=int, reverse=True) and len(both) >= 4


def test_inspect_says_it_all(ada: Person, ran: dict[str, Any]) -> None:
    text = ada.ok("executions", "inspect", str(ran["id"]))
    for words in (
        f"run {ran['id']}  succeeded in",
        "alice/seen:2.0.0",
        "pushed by alice (push)",
        "waited",
        "ran",
    ):
        assert words in text
    for words in ("exit code  0", "slot", "built in", "deep/big.bin  2.9 MiB", f"/runs/{ran['id']}"):
        assert words in text
    said = json.loads(ada.ok("execution", "inspect", "--json", f"#{ran['id']}"))
    assert said["build_record"]["state"] == "built" and said["id"] == ran["id"]
    assert ada.ok("execution:inspect", "-r", ended(ada)) == "in x\n"


def ended(ada: Person) -> str:
    return str(json.loads(ada.ok("run", "-q", "--json", "alice/seen", "x").splitlines()[-1])["id"])


def test_result_is_stdout_and_the_log_is_both(ada: Person) -> None:
    number = ended(ada)
    assert ada.ok("executions", "result", number) == "in x\n"
    assert sorted(ada.ok("logs", number).splitlines()) == ["in x", "to stderr"]
    assert len(ada.ok("executions", "logs", number, "--offset", "3")) == len("in x\nto stderr\n") - 3
    assert ada.ok("logs", number, "--offset", "1000") == ""


def test_result_of_a_push_says_where_to_look(ada: Person, ran: dict[str, Any]) -> None:
    done = ada.hermes("executions", "result", str(ran["id"]))
    assert done.returncode == 1 and b"its log has what it printed" in done.stderr


@pytest.fixture
def cutter(service: Service) -> Iterator[Cutter]:
    with Cutter(service.port) as one:
        yield one


def test_log_is_followed_over_a_broken_connection(ada: Person, cutter: Cutter) -> None:
    number = ada.ok("run", "-d", "alice/seen", "count").strip()
    ada.env["HERMES_SERVER"] = cutter.url
    one = ada.begin("logs", "-f", number)
    assert one.stdout and one.stderr
    begun = one.stdout.readline()
    cutter.cut()
    out, err = one.communicate(timeout=PATIENCE_S)
    lines = [line for line in (begun + out).decode().splitlines() if line.startswith("line")]
    assert one.returncode == 0 and lines == [f"line {n}" for n in range(1, 31)], err


def test_ctrl_c_leaves_the_run_alone(ada: Person, service: Service) -> None:
    number = ada.ok("run", "-d", "alice/seen", "slow").strip()
    with ada.terminal("logs", "-f", number) as terminal:
        terminal.until("in slow")
        terminal.type("\x03")
        code, shown = terminal.end()
    assert code == 130 and "Traceback" not in shown
    assert service.api(f"/runs/{number}")["ended_at"] is None
    assert ada.ok("executions", "cancel", number) == f"run {number} will be cancelled\n"
    wait_for(lambda: service.api(f"/runs/{number}")["state"] == "cancelled")
    assert "cancelled" in ada.ok("executions", "cancel", number)


def test_retry_is_a_run_of_its_own(ada: Person, ran: dict[str, Any]) -> None:
    number = int(ada.ok("executions", "retry", "-q", str(ran["id"])))
    assert number > ran["id"]
    assert json.loads(ada.ok("executions", "inspect", "-j", str(number)))["trigger"] == "retry"


def test_artifacts_are_listed_and_fetched_once(ada: Person, ran: dict[str, Any]) -> None:
    number = str(ran["id"])
    assert re.search(r"small.txt +0 +3 B +98ea6e4f216f2fb4", ada.ok("artifacts", number))
    by_path = sorted(ran["artifacts"], key=lambda file: str(file["path"]))
    assert json.loads(ada.ok("artifacts", "--json", number)) == by_path
    assert ada.ok("artifacts", "-q", number, "*.bin") == "deep/big.bin\n"
    first = ada.hermes("artifacts", number, "-o", "out")
    assert first.returncode == 0 and b"there already" not in first.stderr, first.stderr
    assert (ada.home / "out" / "small.txt").read_bytes() == b"hi\n"
    assert (ada.home / "out" / "deep" / "big.bin").stat().st_size == 3_000_000
    assert ada.hermes("artifacts", number, "-o", "out").stderr.count(b"there already") == 2
    missing = ada.hermes("artifacts", number, "nothing*")
    assert missing.returncode == 1 and b"left no file like nothing*" in missing.stderr


def test_a_fetch_that_broke_off_is_resumed_and_checked(ada: Person, ran: dict[str, Any]) -> None:
    file = next(each for each in ran["artifacts"] if each["path"] == "deep/big.bin")
    ada.ok("artifacts", str(ran["id"]), "-o", "out")
    whole = ada.home / "out" / "deep" / "big.bin"
    part = whole.with_name(f".hermes-{file['sha256'][:32]}.part")
    data = whole.read_bytes()
    whole.unlink()
    part.write_bytes(data[:1_000_000])
    ada.ok("artifacts", str(ran["id"]), "*.bin", "-o", "out")
    assert whole.read_bytes() == data and not part.exists()
    whole.unlink()
    part.write_bytes(b"x" + data[1:1_000_000])
    done = ada.hermes("artifacts", str(ran["id"]), "*.bin", "-o", "out")
    assert done.returncode == 1 and b"another digest" in done.stderr
    assert not part.exists() and not whole.exists()


@pytest.mark.parametrize(
    "name", ["../x", "/etc/x", "a/../../x", "a//x", "./x", "a/.", "", "a/\0", "link/x", "link/../x"]
)
def test_no_name_leaves_the_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(UserError, match="would leave"):
        place(folder, name)


def test_functions_are_listed_shown_and_deleted(ada: Person, service: Service) -> None:
    pushed = service.push(shell("echo $1\n", 'version = "1.0.0"\n'), repo="brief")
    service.settled(pushed)
    assert "alice/brief" in ada.ok("functions", "list", "-q").split()
    assert re.search(r"alice/brief +1 +cpp", ada.ok("function:list"))
    shown = ada.ok("functions", "show", "alice/brief")
    assert shown.startswith("alice/brief  private") and "alice/brief:1.0.0" in shown
    assert json.loads(ada.ok("functions", "show", "-j", "alice/brief"))["versions"][0]["version"] == "1.0.0"
    assert "its runs stay" in ada.ok("function:delete", "alice/brief", "1.0.0")
    gone = ada.hermes("run", "alice/brief:1.0.0")
    assert gone.returncode == 125 and b"no version 1.0.0" in gone.stderr
    assert ada.ok("executions", "list", "-q", "--function", "alice/brief") != ""


def test_deleting_is_asked_at_a_terminal(ada: Person) -> None:
    with ada.terminal("functions", "delete", "alice/seen") as terminal:
        terminal.until("Delete alice/seen with all its versions? [y/N]")
        terminal.type("n\n")
        assert terminal.end()[0] == 1
    assert "alice/seen" in ada.ok("functions", "list", "-q")


def test_what_is_not_there_is_told(ada: Person) -> None:
    for command in ("inspect", "logs", "result", "artifacts", "cancel", "retry"):
        done = ada.hermes("executions", command, "999999999")
        assert (
            done.returncode == 1 and done.stderr.startswith(b"hermes: ") and b"Traceback" not in done.stderr
        )
    done = ada.hermes("executions", "inspect", "x")
    assert done.returncode == 2 and b"is not the number of a run" in done.stderr


@pytest.mark.parametrize("columns", [1, 20, 300])
def test_every_width_of_a_terminal_is_enough(ada: Person, columns: int) -> None:
    with ada.terminal("executions", "list", "-n", "2", columns=columns) as terminal:
        code, shown = terminal.end()
    assert code == 0 and "Traceback" not in shown and "\x1b[" in shown
    ada.env["NO_COLOR"] = "1"


def test_start_shows_five_commands_and_help_groups_all(ada: Person) -> None:
    assert len(ada.ok().split("\n\n")[0].splitlines()) == 5
    text = ada.ok("--help")
    assert [title for title in ("Use:", "Look:", "Operate:") if title in text] == [
        "Use:",
        "Look:",
        "Operate:",
    ]
    assert "git-credential" not in text
    typo = ada.hermes("runn", "alice/tool")
    assert typo.returncode == 2 and b"Did you mean 'run'?" in typo.stderr


@pytest.mark.parametrize("kind", ["bash", "zsh", "fish"])
def test_shells_complete(ada: Person, kind: str) -> None:
    script = ada.ok("completion", kind)
    assert "_HERMES_COMPLETE" in script
    if kind == "bash" and shutil.which("bash"):
        ada.env |= {"COMP_WORDS": "hermes exec", "COMP_CWORD": "1", "_HERMES_COMPLETE": "bash_complete"}
        assert "executions" in ada.hermes().stdout.decode()


def test_gpus_and_images_are_those_of_the_server_where_none_is_here(ada: Person) -> None:
    assert "CPUs held" in ada.ok("gpus") and "CPUs held" in ada.ok(
        "gpus", "--server", ada.env["HERMES_SERVER"]
    )
    assert json.loads(ada.ok("gpus", "--json"))["runners"][0]["alive"] is True
    assert re.search(r"^cpp +cpp", ada.ok("images"), re.MULTILINE)
    assert "cpp" in [image["name"] for image in json.loads(ada.ok("images", "--json"))]
