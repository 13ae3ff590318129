"""What comes back while a push is followed: at a terminal and elsewhere, in silence, and again later."""

import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.access_tools import execute
from tests.programs import arrivals, begin_push, go_on, refs, run_number, shell, told
from tests.service import PATIENCE_S, Pushed, Service, wait_for

STORED = "[on]\npush = []"
SILENT, SAYS_NOTHING = told("echo first", "echo last")
SAYS_NOTHING["hermes.toml"] = f'handler = "sh {SILENT}"\n[run]\ncpus = 0.5\ntimeout = "1h"\n'
COLOURS = "printf '\\033[31mred\\033[0m words\\n'"


def at_terminal(service: Service, pushed: Pushed, *options: str, ref: str = "HEAD:main") -> str:
    """What a person sees who pushes the same tree again from a terminal (a pseudo-terminal of script(1))."""
    command, env = service.push_command(f"{pushed.owner}/{pushed.repo}", *options, refs=(ref,))
    done = subprocess.run(
        ["script", "-qec", shlex.join(command), "/dev/null"],
        cwd=pushed.tree.folder,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return done.stdout


@pytest.fixture(scope="module")
def silent(service: Service) -> "Iterator[subprocess.Popen[str]]":
    """A push whose program says nothing until it is told to; it goes on while other tests run."""
    client = begin_push(service, service.worktree(SAYS_NOTHING, "silent"), "silent")
    with client:
        yield client
        client.kill()


def test_colours_stay_at_a_terminal_and_are_taken_out_elsewhere(
    service: Service, silent: "subprocess.Popen[str]"
) -> None:
    pushed = service.push(shell(COLOURS))
    assert "red words" in pushed.lines
    assert "\x1b" not in pushed.output
    pushed.tree.commit("again")
    seen = at_terminal(service, pushed)
    assert "\x1b[31mred\x1b[0m words" in seen
    assert re.search(r"run \d+    \x1b\[32msucceeded\x1b\[m in", seen), seen


def test_lines_of_ours_fit_the_terminal_and_the_programs_do_not_change(service: Service) -> None:
    long = "x" * 200
    pushed = service.push(shell(f"echo {long}", STORED), "skip")
    pushed.tree.write({"hermes.toml": 'handler = "sh main.sh"\n'}).commit()
    seen = at_terminal(service, pushed, "width=50", ref="HEAD:refs/heads/a-branch-with-a-rather-long-name")
    lines = [re.sub(r"\x1b\[[0-9;]*[mK]", "", line) for line in seen.splitlines() if "remote: " in line]
    ours = [line.partition("remote: ")[2].rstrip() for line in lines]
    assert long in ours
    wide = [line for line in ours if len(line) > 42 and line != long and "http" not in line]
    assert not wide


@pytest.mark.parametrize(
    "message", ["fix [skip ci]", "[CI SKIP] docs", "x\n\nbody\n\nskip-checks: true", "[no ci] y"]
)
def test_a_commit_that_says_so_starts_nothing(service: Service, message: str) -> None:
    pushed = service.push(shell("true"), "skip")
    pushed.tree.commit(message)
    again = service.push(pushed.tree, repo=pushed.repo)
    assert again.code == 0
    assert re.search(r"main stored; nothing started \(the commit message says .*\)", again.output), (
        again.output
    )
    assert refs(service, pushed.repo) == {"refs/heads/main": again.sha}


def test_the_words_skip_ci_without_brackets_mean_nothing(service: Service) -> None:
    pushed = service.push(shell("true"), "skip")
    pushed.tree.commit("do not skip ci any more")
    assert "succeeded" in service.push(pushed.tree, repo=pushed.repo).output


def test_the_skip_option_of_other_services_is_understood(service: Service) -> None:
    assert "main stored; nothing started (skip)" in service.push(shell("true"), "ci.skip").output


@pytest.mark.parametrize(
    ("pattern", "branch", "starts"),
    [
        ("release/*", "release/1", True),
        ("release/*", "releases", False),
        ("v?", "v2", True),
        ("*", "x/y", True),
    ],
)
def test_the_manifests_branches_may_be_patterns(
    service: Service, pattern: str, branch: str, starts: bool
) -> None:
    pushed = service.push(shell("true", f'[on]\npush = ["{pattern}"]'), refs=(f"HEAD:{branch}",))
    assert ("succeeded" in pushed.output) is starts
    assert ("nothing started: the manifest's on.push is" in pushed.output) is not starts


def test_a_run_is_followed_again_from_its_first_byte(service: Service) -> None:
    pushed = service.push(shell("echo one; sleep 3; echo two"), "detach")
    run_id = service.commit_page(pushed)["runs"][0]["id"]
    for options, ref in (((f"follow={run_id}",), "HEAD:refs/follow"), ((), f"HEAD:refs/follow/{run_id}")):
        again = service.push(pushed.tree, *options, repo=pushed.repo, refs=(ref,))
        assert again.code == 0, again.output
        assert [line for line in again.lines if line in ("one", "two")] == ["one", "two"]
        assert run_number(again) == run_id
        assert "succeeded" in again.output
    assert refs(service, pushed.repo) == {"refs/heads/main": pushed.sha}


def test_following_without_a_number_shows_the_newest_run(service: Service) -> None:
    pushed = service.push(shell("echo the newest; exit 3"))
    again = service.push(pushed.tree, "check", repo=pushed.repo, refs=("HEAD:refs/follow",))
    assert run_number(again) == run_number(pushed)
    assert "the newest" in again.lines
    assert again.code == 1, "check goes for a run that is followed as well"


@pytest.mark.parametrize(
    ("options", "refspecs", "words"),
    [
        (("follow=999999",), ("HEAD:refs/follow",), "there is no run 999999 that you may see"),
        ((), ("HEAD:refs/follow/x",), "refs/follow/x: not the number of a run"),
        (("follow=-1",), ("HEAD:refs/follow",), "push option follow=-1: must be a number from 1"),
        ((), ("HEAD:refs/follow", "HEAD:b"), "refs/follow goes alone"),
        (("width=9",), ("HEAD:b",), "push option width=9: must be a number from 20 to 1000"),
    ],
)
def test_what_cannot_be_followed_is_refused_in_words(
    service: Service, options: tuple[str, ...], refspecs: tuple[str, ...], words: str
) -> None:
    pushed = service.push(shell("true"), "skip")
    again = service.push(pushed.tree, *options, repo=pushed.repo, refs=refspecs)
    assert again.code != 0
    assert words in again.output


def test_anothers_hidden_run_cannot_be_followed(service: Service, bob: str) -> None:
    run_id = run_number(service.push(shell("echo secret")))
    theirs = service.push(
        shell("true"), f"follow={run_id}", repo="bob/own", refs=("HEAD:refs/follow",), token=bob, user="bob"
    )
    assert f"there is no run {run_id} that you may see" in theirs.output
    assert "secret" not in theirs.output


def test_waiting_says_who_holds_the_place_and_for_about_how_long(service: Service) -> None:
    steady = service.push(shell("true", "[run]\ncpus = 7"), repo="steady")
    run = run_number(steady)  # as if it had taken half an hour: the next one takes about as long
    execute(service, "UPDATE run SET started_at = ended_at - 1800 WHERE id = ?", run)
    script, files = told("echo begun", "")
    files["hermes.toml"] = f'handler = "sh {script}"\n[run]\ncpus = 7\ntimeout = "1h"\n'
    steady.tree.write(files).commit("holds all CPUs")
    holder = service.push(steady.tree, "detach", repo="steady")
    wait_for(lambda: service.commit_page(holder)["runs"][0]["state"] == "running")
    words = r"waiting: the CPUs held by alice/steady \(run \d+\), about \d\d m \d\d s left, you are 1st"
    lines = []
    tree = service.worktree(shell("true", "[run]\ncpus = 7"), "patient")
    with begin_push(service, tree, "patient") as client:
        for _, line in arrivals(client):
            lines.append(line)
            if "waiting: " in line:
                go_on(script)
    assert any(re.search(words, line) for line in lines), lines


def test_a_slow_reader_loses_nothing(service: Service) -> None:
    tree = service.worktree(shell("seq 1 200000"), "slow")
    with begin_push(service, tree, "slow") as client:
        time.sleep(3)  # the program has ended long before its output is read
        seen = [line.rstrip("\n") for _, line in arrivals(client)]
    numbers = [int(line) for line in seen if line.isdecimal()]
    assert numbers == list(range(1, 200_001))
    assert client.returncode == 0


def test_silence_is_broken_by_a_line_now_and_then(service: Service, silent: "subprocess.Popen[str]") -> None:
    lines, still = [], []
    for _, line in arrivals(silent):
        lines.append(line)
        if found := re.fullmatch(
            r"hermes  run \d+    still running, no output, (\d+\.\d s|\d m \d\d s)", line
        ):
            still.append(found[1])
            go_on(SILENT)
    assert still and lines[-1] != still[-1], lines
    passed_s = [seconds(each) for each in still]
    assert passed_s[0] >= 30 and all(after - before >= 29 for before, after in pairwise(passed_s)), still
    assert "last" in lines


def seconds(words: str) -> float:
    """Of `31.5 s`, `1 m 02 s`."""
    numbers = [float(each) for each in re.findall(r"[\d.]+", words)]
    return numbers[-1] + (60 * numbers[0] if len(numbers) > 1 else 0)
