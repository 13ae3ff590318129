"""What a person sees who pushes: the transcript, in time; options; races; who may do what."""

import os
import re
import signal
import subprocess

import pytest

from tests.programs import (
    arrivals,
    begin_push,
    command_lines,
    end_of,
    git,
    go_on,
    refs,
    run_number,
    shell,
    told,
)
from tests.service import GIT_ENV, Pushed, Service, WorkTree, wait_for

HELLO = shell("echo hello")
PATIENT = shell("echo begun; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 0.1; done; echo finished")


def in_order(lines: list[str], patterns: list[str]) -> str:
    """The first pattern that has no line after that of the one before; empty if all have."""
    rest = iter(lines)
    return next((each for each in patterns if not any(re.fullmatch(each, line) for line in rest)), "")


# ---- the transcript


def test_push_shows_commit_build_run_and_verdict_in_this_order(service: Service) -> None:
    pushed = service.push("pi-montecarlo", repo="transcript")
    assert pushed.code == 0, pushed.output
    missing = in_order(
        pushed.lines,
        [
            rf"hermes  main at {pushed.sha[:7]}  http://localhost:\d+/alice/transcript/commit/{pushed.sha[:12]}",
            r"hermes  build \d+  \w+  http://localhost:\d+/builds/\d+",
            r"hermes  build \d+  with cpp",
            r"g\+\+ .* pi\.cpp -o pi",
            r"hermes  build \d+  built in \d+\.\d+ s",
            r"hermes  run \d+    started on 2 CPUs \d+\.\d+ s after the build",
            r"pi = 3\.14\d+",
            r"hermes  run \d+    succeeded in \d+\.\d+ s · peak \d.* MiB",
            r"To http://.*/alice/transcript\.git",
            r" \* \[new branch\] +HEAD -> main",
        ],
    )
    assert not missing, pushed.output


def test_output_arrives_when_it_is_printed_and_not_in_one_lump(service: Service) -> None:
    script, files = told("echo first; printf 'half a line'", "echo; echo last")
    seen = []
    with begin_push(service, service.worktree(files), "in-time") as client:
        for _, line in arrivals(client):
            seen.append(line)
            if line == "first":  # it waits until somebody has seen this
                go_on(script)
    assert client.returncode == 0
    assert seen.index("first") < seen.index("half a line") < seen.index("last"), seen
    assert re.fullmatch(r"hermes  run \d+    succeeded in .*", seen[-3]), seen


def test_failing_compile_shows_the_compilers_words_and_no_run(service: Service) -> None:
    pushed = service.push("failing-compile")
    assert pushed.code == 0
    assert any(re.match(r"solver\.cpp:10:\d+: error: ", line) for line in pushed.lines)
    assert re.search(r"^hermes  build \d+  failed: solver\.cpp:10:\d+: error: ", pushed.output, re.MULTILINE)
    assert re.search(
        r"^hermes  run \d+    not started: build \d+ did not succeed$", pushed.output, re.MULTILINE
    )


def test_ctrl_c_detaches_and_the_run_goes_on(service: Service) -> None:
    script, files = told("echo begun", "echo finished")
    tree = service.worktree(files)
    with begin_push(service, tree, "detached") as client:
        next(line for _, line in arrivals(client) if line == "begun")
        os.killpg(client.pid, signal.SIGINT)
    assert client.returncode != 0
    go_on(script)
    pushed = Pushed(0, "", tree.git("rev-parse", "HEAD"), "alice", "detached", tree)
    run = service.run_of(pushed)
    assert run["state"] == "succeeded"
    assert service.read_log("runs", run["id"]) == b"begun\nfinished\n"


# ---- options


def test_detach_returns_at_once_and_the_run_goes_on(service: Service) -> None:
    pushed = service.push(PATIENT, "detach", repo="detach")
    assert pushed.code == 0
    assert "begun" not in pushed.output and "/alice/detach/commit/" in pushed.output
    assert service.run_of(pushed)["state"] == "succeeded"


def test_check_makes_the_push_of_a_failing_run_exit_1_and_its_ref_moves_all_the_same(
    service: Service,
) -> None:
    pushed = service.push(shell("echo oops; exit 3"), "check", repo="check")
    assert pushed.code == 1
    assert re.search(r"run \d+ failed: exit code 3", pushed.output), pushed.output
    assert re.search(r"^ \* \[new branch\] +HEAD -> main", pushed.output, re.MULTILINE), pushed.output
    assert refs(service, "check") == {"refs/heads/main": pushed.sha}


def test_check_of_a_succeeding_run_exits_0(service: Service) -> None:
    assert service.push(HELLO, "check").code == 0


def test_check_of_a_failing_build_exits_1(service: Service) -> None:
    pushed = service.push(shell("", make="\texit 1"), "check")
    assert pushed.code == 1, pushed.output


def test_skip_stores_and_starts_nothing(service: Service) -> None:
    pushed = service.push({"README": "no Makefile at all"}, "skip", repo="skip")
    assert pushed.code == 0
    assert "hermes  main stored; nothing started (skip)" in pushed.lines
    assert refs(service, "skip") == {"refs/heads/main": pushed.sha}


def test_build_only_builds_and_stops_there(service: Service) -> None:
    pushed = service.push(HELLO, "build-only")
    assert pushed.code == 0
    assert "built in" in pushed.output and "hermes  run" not in pushed.output


def test_arguments_and_parameters_come_from_push_options(service: Service) -> None:
    files = shell('for word in "$@"; do echo "<$word>"; done', '[run]\nargs = ["a", "{n}", "{other}"]')
    pushed = service.push(files, "n=two words; $(id)")
    assert [line for line in pushed.lines if line.startswith("<")] == [
        "<a>",
        "<two words; $(id)>",
        "<{other}>",
    ]
    again = service.push(pushed.tree, "run.args=x 'y z' {n}", "n=7", repo=pushed.repo, refs=("HEAD:other",))
    assert [line for line in again.lines if line.startswith("<")] == ["<x>", "<y z>", "<7>"]


def test_unknown_option_is_refused_with_the_nearest(service: Service) -> None:
    pushed = service.push(HELLO, "detatch", repo="unknown-option")
    assert pushed.code == 1
    words = "unknown push option 'detatch', did you mean 'detach'?"
    assert f" ! [remote rejected] HEAD -> main ({words})" in pushed.lines
    assert f"hermes  refused  {words}" in pushed.lines
    assert refs(service, "unknown-option") == {}


# ---- one commit, several refs


def test_same_commit_on_two_branches_is_built_once_and_run_twice(service: Service) -> None:
    first = service.push(HELLO, repo="twice")
    second = service.push(first.tree, repo="twice", refs=("HEAD:other",))
    assert re.search(r"^hermes  build \d+  cached: the same commit was built ", second.output, re.MULTILINE)
    page = service.commit_page(second)
    assert (len(page["builds"]), len(page["runs"])) == (1, 2)
    assert {run["state"] for run in page["runs"]} == {"succeeded"}
    assert run_number(first) != run_number(second)


def test_two_branches_in_one_push_run_each(service: Service) -> None:
    pushed = service.push(HELLO, repo="both", refs=("HEAD:one", "HEAD:two"))
    assert pushed.code == 0
    assert len(service.settled(pushed)["runs"]) == 2


def test_rewritten_branch_needs_force_and_then_moves(service: Service) -> None:
    first = service.push(HELLO, repo="forced")
    first.tree.git("commit", "-q", "--amend", "--allow-empty", "-m", "rewritten")
    plain = service.push(first.tree, "skip", repo="forced")
    assert plain.code == 1 and "non-fast-forward" in plain.output
    forced = service.push(first.tree, "skip", repo="forced", refs=("+HEAD:main",))
    assert forced.code == 0 and "(forced update)" in forced.output
    assert refs(service, "forced") == {"refs/heads/main": forced.sha}


def test_tag_is_stored_and_starts_nothing(service: Service) -> None:
    pushed = service.push(HELLO, repo="tagged", refs=("HEAD:refs/tags/v1",))
    assert pushed.code == 0
    assert "hermes  tag v1 stored; tags start nothing, push a branch to run it" in pushed.lines
    assert refs(service, "tagged") == {"refs/tags/v1": pushed.sha}


def test_annotated_tag_is_stored(service: Service) -> None:
    tree = service.worktree(HELLO)
    tree.git("tag", "-a", "v2", "-m", "the second")
    assert service.push(tree, repo="annotated", refs=("v2",)).code == 0
    assert "refs/tags/v2" in refs(service, "annotated")


def test_branch_can_be_deleted_and_its_runs_stay(service: Service) -> None:
    pushed = service.push(HELLO, repo="deleted")
    gone = service.push(pushed.tree, repo="deleted", refs=(":main",))
    assert gone.code == 0
    assert "hermes  main deleted; its runs and logs stay" in gone.lines
    assert refs(service, "deleted") == {}
    assert service.run_of(pushed)["state"] == "succeeded"


def test_branch_that_the_manifest_does_not_name_is_stored_only(service: Service) -> None:
    pushed = service.push(shell("echo hello", '[on]\npush = ["main"]'), repo="some", refs=("HEAD:draft",))
    assert pushed.code == 0
    assert "hermes  draft stored; nothing started: the manifest's on.push is main" in pushed.lines


# ---- at once


@pytest.mark.parametrize("attempt", range(3))
def test_of_pushes_at_once_to_one_branch_one_wins_and_the_others_are_told(
    service: Service, attempt: int
) -> None:
    repo = f"race-{attempt}"
    trees = [service.worktree({"README": str(number)}, repo) for number in range(4)]
    clients = [begin_push(service, tree, repo, "skip") for tree in trees]
    ends = [end_of(client) for client in clients]
    shas = [tree.git("rev-parse", "HEAD") for tree in trees]
    winners = [sha for sha, (code, _) in zip(shas, ends, strict=True) if code == 0]
    assert len(winners) == 1, ends
    assert refs(service, repo) == {"refs/heads/main": winners[0]}
    assert all("rejected]" in words for code, words in ends if code), ends


def test_pushes_at_once_to_two_repos_do_not_mix(service: Service) -> None:
    files = [shell(f"for i in 1 2 3 4 5; do echo {name} $i; sleep 0.1; done") for name in ("left", "right")]
    clients = [begin_push(service, service.worktree(each), f"side-{n}") for n, each in enumerate(files)]
    (code_0, left), (code_1, right) = (end_of(client) for client in clients)
    assert (code_0, code_1) == (0, 0)
    assert "left 5" in left and "right" not in left
    assert "right 5" in right and "left" not in right


# ---- git itself


@pytest.mark.parametrize("post_buffer", ["65536", "1048576", "20000000"])
def test_five_incompressible_megabytes_are_pushed(service: Service, post_buffer: str) -> None:
    tree = service.worktree({"data.bin": os.urandom(5 << 20)})
    tree.git("config", "http.postBuffer", post_buffer)  # beyond it git sends in chunks
    pushed = service.push(tree, "skip", repo=f"large-{post_buffer}")
    assert pushed.code == 0, pushed.output
    assert refs(service, pushed.repo) == {"refs/heads/main": pushed.sha}


@pytest.mark.parametrize("version", ["0", "1", "2"])
def test_clone_and_fetch_speak_every_protocol(service: Service, version: str) -> None:
    repo = f"protocol-{version}"
    pushed = service.push(HELLO, "skip", repo=repo)
    folder = pushed.tree.folder.with_suffix(".clone")
    protocol = ("-c", f"protocol.version={version}")
    assert (
        git(service, *protocol, "clone", "-q", f"{service.url}/alice/{repo}.git", str(folder)).returncode == 0
    )
    assert WorkTree(folder).git("rev-parse", "HEAD") == pushed.sha
    pushed.tree.commit("second")
    second = service.push(pushed.tree, "skip", repo=repo)
    assert git(service, *protocol, "-C", str(folder), "fetch", "-q").returncode == 0
    assert WorkTree(folder).git("rev-parse", "origin/main") == second.sha


def test_shallow_clone_has_one_commit_and_can_push(service: Service) -> None:
    pushed = service.push(HELLO, "skip", repo="shallow")
    pushed.tree.commit("second")
    service.push(pushed.tree, "skip", repo="shallow")
    folder = pushed.tree.folder.with_suffix(".shallow")
    url = f"{service.url}/alice/shallow.git"
    assert git(service, "clone", "-q", "--depth=1", url, str(folder)).returncode == 0
    tree = WorkTree(folder)
    assert tree.git("rev-list", "--count", "HEAD") == "1"
    third = tree.commit("third")
    assert service.push(tree, "skip", repo="shallow").code == 0
    assert refs(service, "shallow") == {"refs/heads/main": third}


# ---- what the program gets


def test_ranks_print_with_their_number_in_front(service: Service) -> None:
    files = shell('echo "I am $RANK of $WORLD_SIZE"', "[run]\ncpus = 1\n[ranks]\nrepeat = 3")
    pushed = service.push(files)
    assert pushed.code == 0
    assert {f"[{n}] I am {n} of 3" for n in range(3)} <= set(pushed.lines)
    assert len(re.findall(r"^hermes  run \d+    succeeded", pushed.output, re.MULTILINE)) == 1


def test_each_combination_of_the_matrix_is_a_rank(service: Service) -> None:
    manifest = (
        '[run]\nargs = ["n={n}", "{mode}", "{rank}/{world_size}"]\n[ranks.matrix]\nn = [10, 20]\nmode = ["a"]'
    )
    pushed = service.push(shell('echo "$*"', manifest))
    assert {"[0] n=10 a 0/2", "[1] n=20 a 1/2"} <= set(pushed.lines), pushed.output


def test_program_gets_its_input_and_environment(service: Service) -> None:
    program = (
        'read line; echo "input: $line"; echo "own: $GREETING"; echo "rank: $RANK of $WORLD_SIZE"\n'
        'echo "run: $HERMES_RUN"; echo "commit: $HERMES_COMMIT"; echo "url: $HERMES_URL"; echo "at: $PWD"\n'
        '[ -d "$HERMES_OUTPUT_DIR" ] && [ -w "$HERMES_OUTPUT_DIR" ] && echo "output: yes"\n'
    )
    manifest = '[run]\nstdin = "data/in.txt"\nenv = { GREETING = "good day; $(id)" }\n'
    pushed = service.push(shell(program, manifest) | {"data/in.txt": "forty-two\nmore\n"})
    number = run_number(pushed)
    wanted = ["input: forty-two", "own: good day; $(id)", "rank: 0 of 1", f"run: {number}"]
    wanted += [f"commit: {pushed.sha}", f"url: http://localhost:{service.port}/runs/{number}", "at: /app"]
    assert [line for line in pushed.lines if line in wanted] == wanted, pushed.output
    assert "output: yes" in pushed.lines


def test_artifacts_are_the_output_directory_and_what_the_globs_name(service: Service) -> None:
    program = 'mkdir -p out "$HERMES_OUTPUT_DIR/deep"; echo 1 >out/a.csv; echo 2 >out/a.txt; echo 3 >b.png\n'
    program += 'echo 4 >"$HERMES_OUTPUT_DIR/deep/c.bin"\n'
    pushed = service.push(shell(program, '[run]\nartifacts = ["*.png", "out/*.csv"]'))
    assert re.search(r"succeeded in .* · 3 artifacts$", pushed.output, re.MULTILINE), pushed.output
    paths = {artifact["path"] for artifact in service.run_of(pushed)["artifacts"]}
    assert paths == {"deep/c.bin", "b.png", "out/a.csv"}


def test_repo_without_manifest_runs_its_make_target_or_its_a_out(service: Service) -> None:
    assert "from make" in service.push({"Makefile": "all:\n\t@true\nrun:\n\t@echo from make $(ARGS)\n"}).lines
    a_out = "all:\n\tprintf '#!/bin/sh\\necho from a.out' >a.out && chmod +x a.out\n"
    assert "from a.out" in service.push({"Makefile": a_out}).lines


# ---- who may


def test_first_push_makes_the_repo(service: Service) -> None:
    missing = git(service, "ls-remote", f"{service.url}/alice/brand-new.git")
    assert "there is no repository alice/brand-new that you may see" in missing.stderr
    pushed = service.push(HELLO, "skip", repo="brand-new")
    assert refs(service, "brand-new") == {"refs/heads/main": pushed.sha}


def test_others_repo_cannot_be_seen_or_pushed_to(service: Service, bob: str) -> None:
    service.push(HELLO, "skip", repo="secret")
    words = "there is no repository alice/secret that you may see"
    pushed = service.push(HELLO, repo="alice/secret", user="bob", token=bob)
    assert pushed.code == 128 and words in pushed.output
    read = git(service, "ls-remote", f"{service.url}/alice/secret.git", user="bob", token=bob)
    assert read.returncode == 128 and words in read.stderr


def test_repo_in_anothers_name_is_not_made(service: Service, bob: str) -> None:
    pushed = service.push(HELLO, repo="alice/not-yours", user="bob", token=bob)
    assert pushed.code == 128
    assert "there is no repository alice/not-yours that you may see" in pushed.output
    assert "your own repositories are made by their first push: …/bob/not-yours.git" in pushed.output


def test_public_repo_can_be_cloned_and_not_pushed_to(service: Service, bob: str) -> None:
    service.push(shell("echo hello", "public = true"), "build-only", repo="open")
    read = git(service, "ls-remote", f"{service.url}/alice/open.git", user="bob", token=bob)
    assert read.returncode == 0
    pushed = service.push(HELLO, repo="alice/open", user="bob", token=bob)
    assert pushed.code == 128
    assert "you may read alice/open, but not push to it" in pushed.output
    assert "ask alice to make you a collaborator" in pushed.output


@pytest.mark.parametrize("token", ["hermes_wrong", "", "x" * 5000, "ü"])
def test_wrong_token_is_refused(service: Service, token: str) -> None:
    pushed = service.push(HELLO, repo="wrong-token", token=token)
    assert pushed.code == 128
    assert re.search(r"Authentication failed|could not read Username", pushed.output), pushed.output


def test_without_a_token_git_asks_and_is_told_what_for(service: Service) -> None:
    tree = service.worktree(HELLO)
    command = ["git", "push", f"{service.url}/alice/no-token.git", "HEAD:main"]
    env = os.environ | GIT_ENV
    done = subprocess.run(command, cwd=tree.folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 128
    assert "could not read Username" in done.stderr and "terminal prompts disabled" in done.stderr
    with service.client("") as client:
        answer = client.get("/alice/no-token.git/info/refs?service=git-receive-pack")
    assert (answer.status_code, answer.headers["www-authenticate"][:5]) == (401, "Basic")
    assert answer.text.startswith("sign in")


def test_token_of_somebody_else_is_told_so(service: Service) -> None:
    pushed = service.push(HELLO, repo="mallory/thing", user="mallory")
    assert pushed.code == 128
    assert "this token belongs to alice, not to mallory" in pushed.output


@pytest.mark.parametrize(
    "path", ["alice/a/b", "alice", "alice/..", "alice/UPPER", "alice/-x", "alice/x.lock"]
)
def test_path_that_is_no_repo_fails_in_words(service: Service, path: str) -> None:
    tree = service.worktree(HELLO)
    _, env = service.push_command("any")
    command = ["git", "push", f"{service.url}/{path}.git", "HEAD:main"]
    done = subprocess.run(command, cwd=tree.folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 128
    assert "not found" in done.stderr or "cannot be the name of a repository" in done.stderr, done.stderr


def test_all_of_this_left_no_git_process_behind(service: Service) -> None:
    repos = str(service.data / "repos")
    wait_for(lambda: not any(repos in line for line in command_lines().values()))
