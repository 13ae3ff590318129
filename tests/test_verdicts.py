"""How runs and builds end: each end has its state and its words, and none of them hangs the push."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from runner.artifacts import clean_name
from tests.programs import arrivals, begin_push, go_on, run_number, shell, told
from tests.service import Pushed, Service

HEAD_AND_TAIL_BYTES = 17 << 20  # what is kept of a log


def verdict(service: Service, pushed: Pushed) -> dict[str, Any]:
    """The run as the API shows it; the terminal said the same."""
    run = service.run_of(pushed)
    state = str(run["state"]).replace("_", " ")
    assert re.search(rf"^hermes  run {run['id']}    {state}", pushed.output, re.MULTILINE), pushed.output
    assert run["words"] in pushed.output
    return run


# ---- the build


def test_missing_handler_is_told_with_the_programs_that_are_there(service: Service) -> None:
    make = "\tprintf '#!/bin/sh' >tool && chmod +x tool"
    files: dict[str, str | bytes] = {
        "Makefile": f"all:\n{make}\n",
        "hermes.toml": 'handler = "./ghost --fast"',
    }
    pushed = service.push(files)
    assert (
        "hermes: make went well, but there is no program './ghost' (the manifest's handler)" in pushed.lines
    )
    assert "hermes: programs here: ./tool" in pushed.lines
    words = r"build \d+  failed: make went well, but there is no program './ghost'"
    assert re.search(words, pushed.output), pushed.output
    assert service.run_of(pushed)["state"] == "failed"


def test_nothing_to_run_is_told(service: Service) -> None:
    pushed = service.push({"Makefile": "all:\n\t@true\n"})
    assert re.search(r"build \d+  failed: make went well, but what is to run\? No ", pushed.output)
    assert "hermes: programs here: none" in pushed.lines


def test_make_that_fails_silently_is_told_by_its_exit_code(service: Service) -> None:
    pushed = service.push(shell("", make="\t@exit 5"))
    assert re.search(r"build \d+  failed: make: \*\*\* \[Makefile:2: all\] Error 5", pushed.output)


def test_make_that_takes_too_long_is_ended(service: Service) -> None:
    pushed = service.push(shell("", '[build]\ntimeout = "1s"', make="\tsleep 6000"))
    assert re.search(r"build \d+  timed out: make ran longer than 1 s$", pushed.output, re.MULTILINE)
    assert service.run_of(pushed)["reason"].endswith("timed out")


def test_build_can_be_cancelled(service: Service) -> None:
    tree = service.worktree(shell("", make="\t@echo compiling; sleep 60"))
    with begin_push(service, tree, "cancel-build") as client:
        number = 0
        for _, line in arrivals(client):
            if found := re.match(r"hermes  build (\d+)  with cpp", line):
                number = int(found[1])
            if line == "compiling":
                break
        with service.client() as http:
            assert http.post(f"/api/v1/builds/{number}/cancel").is_success
        rest = [line for _, line in arrivals(client)]
    assert any(re.match(rf"hermes  build {number}  cancelled$", line) for line in rest), rest


# ---- the run


def test_program_that_prints_nothing_succeeds(service: Service) -> None:
    pushed = service.push(shell("true"))
    run = verdict(service, pushed)
    assert (run["state"], run["exit_code"], run["reason"]) == ("succeeded", 0, "")
    assert service.read_log("runs", run["id"]) == b""


def test_bytes_of_the_log_are_those_of_the_program(service: Service) -> None:
    pushed = service.push(shell(r"printf 'a\000\377\033[31mred\r\nno line end'"))
    assert service.read_log("runs", run_number(pushed)) == b"a\0\xff\x1b[31mred\r\nno line end"
    at = pushed.lines.index("no line end")
    assert pushed.lines[at + 1].startswith("hermes  run "), pushed.lines  # on a line of its own


@pytest.mark.fault(46)
def test_100_megabytes_of_output_do_not_change_the_verdict(service: Service) -> None:
    line = "x" * 199
    pushed = service.push(shell(f"yes {line} | head -c 100000000; echo; echo the end"))
    run = verdict(service, pushed)
    assert run["state"] == "succeeded"
    log = service.read_log("runs", run["id"])
    assert HEAD_AND_TAIL_BYTES < len(log) < HEAD_AND_TAIL_BYTES + 1000
    assert b"[hermes: output is longer than 16777216 bytes; the program goes on, " in log
    assert re.search(rb"\[hermes: \d{8} bytes are left out here\]\n", log)
    assert log.endswith(b"\nthe end\n")
    assert "the end" in pushed.lines


def test_program_that_never_ends_is_ended(service: Service) -> None:
    pushed = service.push(shell("echo begun; sleep 100", '[run]\ntimeout = "1s"'))
    run = verdict(service, pushed)
    assert (run["state"], run["reason"]) == ("timed_out", "ran longer than its limit of 1 s")


@pytest.mark.fault(46)
def test_program_that_ignores_sigterm_is_killed(service: Service) -> None:
    files = shell("trap '' TERM; echo begun; while :; do sleep 1; done", '[run]\ntimeout = "1s"')
    pushed = service.push(files)
    assert verdict(service, pushed)["state"] == "timed_out"


def test_program_may_tidy_up_when_its_time_is_over(service: Service) -> None:
    program = "trap 'echo tidied; exit 0' TERM; echo begun; while :; do sleep 0.1; done"
    pushed = service.push(shell(program, '[run]\ntimeout = "10s"'))  # by then it can hear the signal
    assert verdict(service, pushed)["state"] == "timed_out"
    assert "tidied" in pushed.lines


EXITS = [
    ("exit 3", "exit code 3", 3, ""),
    ("exit 255", "exit code 255", 255, ""),
    ("kill -SEGV $$", "SIGSEGV (segmentation fault: a bad pointer or index)", 139, "SIGSEGV"),
    ("kill -KILL $$", "SIGKILL (killed)", 137, "SIGKILL"),
    ("kill -ABRT $$", "SIGABRT (aborted: a failed assertion or an uncaught exception)", 134, "SIGABRT"),
    ("./not-there", "exit code 127", 127, ""),
]


@pytest.mark.parametrize(("program", "reason", "code", "signal"), EXITS, ids=[e[0] for e in EXITS])
def test_failure_is_told_by_its_exit_code_or_signal(
    service: Service, program: str, reason: str, code: int, signal: str
) -> None:
    run = verdict(service, service.push(shell(program)))
    assert (run["state"], run["reason"], run["exit_code"], run["signal"]) == ("failed", reason, code, signal)


def test_out_of_memory_is_told_with_the_limit(service: Service) -> None:
    program = "x=$(head -c 300000000 /dev/zero | tr '\\0' x); echo survived"
    run = verdict(service, service.push(shell(program, '[run]\nmemory = "48M"')))
    assert (run["state"], run["reason"]) == ("failed", "out of memory: its limit is 48 MiB (run.memory)")


def test_running_run_can_be_cancelled(service: Service) -> None:
    tree = service.worktree(shell("echo begun; sleep 60"))
    with begin_push(service, tree, "cancel-run") as client:
        number = 0
        for _, line in arrivals(client):
            if found := re.match(r"hermes  run (\d+) ", line):
                number = int(found[1])
            if line == "begun":
                break
        with service.client() as http:
            assert http.post(f"/api/v1/runs/{number}/cancel").is_success
            http.post(f"/api/v1/runs/{number}/cancel")  # a second click does no harm
        rest = [line for _, line in arrivals(client)]
    assert any(line.startswith(f"hermes  run {number}    cancelled by alice") for line in rest), rest
    assert service.api(f"/runs/{number}")["state"] == "cancelled"


def test_one_failing_rank_makes_the_run_fail_and_the_others_go_on(service: Service) -> None:
    program = 'if [ "$RANK" = 1 ]; then exit 4; fi; sleep 0.5; echo "rank $RANK is done"'
    pushed = service.push(shell(program, "[run]\ncpus = 1\n[ranks]\nrepeat = 3"))
    run = verdict(service, pushed)
    assert (run["state"], run["reason"], run["exit_code"]) == ("failed", "exit code 4", 4)
    assert {"[0] rank 0 is done", "[2] rank 2 is done"} <= set(pushed.lines)


@pytest.mark.parametrize("how", ["sleep 6000 &", "(setsid nohup sleep 6000 >/dev/null 2>&1 &)"])
@pytest.mark.parametrize("where", ["service", "local_service"])
def test_child_left_in_the_background_does_not_hang_the_run(
    request: pytest.FixtureRequest, where: str, how: str
) -> None:
    one: Service = request.getfixturevalue(where)
    pushed = one.push(shell(f"{how}\necho gone"))
    assert verdict(one, pushed)["state"] == "succeeded"


def test_closed_output_is_no_end_of_the_program(service: Service) -> None:
    pushed = service.push(shell("echo begun; exec >&- 2>&-; sleep 1; exit 6"))
    assert verdict(service, pushed)["reason"] == "exit code 6"


def test_runs_wait_for_their_place_and_the_push_says_for_whom(service: Service) -> None:
    script, big = told("echo begun", "")
    big["hermes.toml"] = f'handler = "sh {script}"\n[run]\ncpus = 8\ntimeout = "2m"\n'
    words = r"waiting: the CPUs held by alice/holder \(run \d+\), at most .* left, you are 1st"
    lines = []
    with begin_push(service, service.worktree(big), "holder") as client:
        next(line for _, line in arrivals(client) if line == "begun")
        tree = service.worktree(shell("echo at last", "[run]\ncpus = 8"))
        with begin_push(service, tree, "waiter") as waiting:
            for _, line in arrivals(waiting):
                lines.append(line)
                if re.search(words, line):
                    go_on(script)
    assert any(re.search(words, line) for line in lines) and "at last" in lines, lines


# ---- artifacts and disks


@pytest.fixture(scope="module")
def tight(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance with small disks and few artifacts."""
    env = {"HERMES_EXECUTOR": "docker", "HERMES_DISK": "64M", "HERMES_ARTIFACT_FILES": "5"}
    one = Service(tmp_path_factory.mktemp("tight"), env | {"HERMES_ARTIFACT_SIZE": "10M", "HERMES_CPUS": "4"})
    one.token = one.add_user(one.user)
    one.start()
    yield one
    assert one.stop() == 0
    assert "Traceback" not in one.log, one.log[-6000:]


def artifacts(run: dict[str, Any]) -> set[str]:
    return {each["path"] for each in run["artifacts"]}


def test_full_disk_is_the_programs_own_error(tight: Service) -> None:
    pushed = tight.push(shell("head -c 200000000 /dev/zero >big; echo it said $?"))
    assert "No space left on device" in pushed.output
    assert verdict(tight, pushed)["state"] == "succeeded"


def test_too_many_artifacts_are_told_in_the_log_and_the_verdict_stays(tight: Service) -> None:
    pushed = tight.push(shell('cd "$HERMES_OUTPUT_DIR"; for i in 1 2 3 4 5 6 7; do echo $i >f$i; done'))
    run = verdict(tight, pushed)
    assert (run["state"], len(run["artifacts"])) == ("succeeded", 5)
    assert "hermes: more than 5 artifacts; the rest is not kept" in pushed.lines


def test_too_large_artifacts_are_told_in_the_log_and_the_verdict_stays(tight: Service) -> None:
    pushed = tight.push(shell('head -c 20000000 /dev/zero >"$HERMES_OUTPUT_DIR/huge"; exit 2'))
    run = verdict(tight, pushed)
    assert (run["state"], run["artifacts"]) == ("failed", [])
    assert "hermes: artifacts of more than 10 MiB; huge and the rest are not kept" in pushed.lines


@pytest.mark.parametrize("where", ["service", "local_service"])
def test_only_regular_files_are_kept_and_no_link_is_followed(
    request: pytest.FixtureRequest, where: str
) -> None:
    program = """cd "$HERMES_OUTPUT_DIR"
    ln -s /etc/passwd link; ln -s / root; mkfifo pipe; mkdir -p empty deep/er; echo 1 >deep/er/file
    perl -MSocket -e 'socket(S,PF_UNIX,SOCK_STREAM,0); bind(S, sockaddr_un("sock")) or die'
    printf x >'new
line'; printf y >'..dots'; printf z >'quote"<b>&'; ln deep/er/file hard"""
    run = verdict(one := request.getfixturevalue(where), one.push(shell(program)))
    assert run["state"] == "succeeded"
    assert artifacts(run) - {"hard", "deep/er/file"} == {"new_line", "..dots", 'quote"<b>&'}
    assert artifacts(run) & {"hard", "deep/er/file"}  # one of two names of one file


@pytest.mark.parametrize("where", ["service", "local_service"])
def test_unreadable_files_do_not_change_the_verdict(request: pytest.FixtureRequest, where: str) -> None:
    program = 'cd "$HERMES_OUTPUT_DIR"; mkdir d; for f in good bad d/x; do echo $f >$f; done; chmod 000 bad d'
    run = verdict(one := request.getfixturevalue(where), one.push(shell(program)))
    assert (run["state"], run["ranks"][0]["attempt"]) == ("succeeded", 1)
    assert "good" in artifacts(run)


@pytest.mark.parametrize("where", ["service", "local_service"])
@pytest.mark.parametrize("harm", ["chmod 000", "rm -rf", "rm -rf $HERMES_OUTPUT_DIR; ln -s /etc"])
def test_output_directory_that_was_spoilt_does_not_change_the_verdict(
    request: pytest.FixtureRequest, where: str, harm: str
) -> None:
    one: Service = request.getfixturevalue(where)
    run = verdict(one, one.push(shell(f'{harm} "$HERMES_OUTPUT_DIR" 2>/dev/null; true')))
    assert (run["state"], run["artifacts"], run["ranks"][0]["attempt"]) == ("succeeded", [], 1)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        ("./a//b/", "a/b"),
        ("..", ""),
        ("a\x00b\x1b\n", "a_b__"),
        ("\u202egnp.exe", "_gnp.exe"),
        ("x" * 5000, "x" * 1024),
    ],
)
def test_artifact_names_are_made_harmless(name: str, shown: str) -> None:
    assert clean_name(name) == shown
