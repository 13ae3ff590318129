"""Hostile pushes and fetches: answered in one short line, with nothing stored, and nobody else notices."""

import http.client
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path

import httpx
import pytest

from tests.files import found_in
from tests.hostile import packs, protocol, refs, trees
from tests.hostile.case import Case, authorization, check_answer, lines_of, send
from tests.hostile.watch import Neighbour, bounded_memory, nothing_stored, spent_cpu_s
from tests.hostile.wire import CHUNKED, CHUNKS, raw
from tests.hostile.writer import BLOB, FLUSH, MAIN, ZEROS, command, object_id, request
from tests.programs import git
from tests.programs import refs as refs_of
from tests.service import PATIENCE_S, Service, wait_for

LIMITS = {
    "HERMES_PUSH_SIZE": "64M",
    "HERMES_PUSH_OBJECTS": "50000",
    "HERMES_OBJECT_SIZE": "64M",
    "HERMES_PUSH_UNPACKED": "256M",
    "HERMES_PUSH_RATE": "1000000",
    "HERMES_TREE_FILES": "2000",
    "HERMES_TREE_SIZE": "64M",
    "HERMES_MAINTENANCE": "10h",
}
RECEIVE, UPLOAD = "/git-receive-pack", "/git-upload-pack"
ASKS = (RECEIVE, UPLOAD, f"/info/refs?service={RECEIVE[1:]}", f"/info/refs?service={UPLOAD[1:]}")


@dataclass
class Target:
    """The instance, and somebody else who uses it."""

    service: Service

    @cached_property
    def neighbour(self) -> Neighbour:
        """With an account and a repository of their own."""
        return Neighbour(self.service, "bob")

    def answers(self, case: Case) -> None:
        """As the case says, and with nothing stored unless it says so."""
        kept = nullcontext() if case.is_stored else nothing_stored(self.service, self.neighbour.folder)
        with bounded_memory(self.service), kept:
            check_answer(case, send(self.service, case), self.service)

    def push(self, repo: str, body: bytes) -> list[str]:
        """Any push; the lines of its answer."""
        answer = send(self.service, Case("", lambda: body, "", f"/alice/{repo}.git{RECEIVE}"))
        assert answer.status_code == 200, answer.text
        return lines_of(answer)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """An instance with narrow limits, an empty repository `hostile` and one with a commit, `full`."""
    env = {"HERMES_EXECUTOR": "local", "HERMES_REDIS_URL": "none", "HERMES_POLL": "1"} | LIMITS
    service = Service(tmp_path_factory.mktemp("hostile"), env)
    service.token = service.add_user(service.user)
    service.start()
    made = Target(service)
    made.push("hostile", FLUSH)
    sha, packed = packs.plain()
    assert f"ok {MAIN}" in made.push("full", request(sha, packed, options=("skip",)))
    yield made
    made.neighbour.close()
    assert service.stop() == 0
    assert "Traceback" not in service.log, service.log[service.log.index("Traceback") - 500 :][:4000]


ALL = [case for source in (packs, protocol, refs, trees) for case in source.cases()]


@pytest.mark.parametrize("case", [each for each in ALL if not each.is_heavy], ids=str)
def test_hostile_request_is_refused_in_words_and_nothing_stays(target: Target, case: Case) -> None:
    target.answers(case)


@pytest.mark.parametrize("case", [each for each in ALL if each.is_heavy], ids=str)
def test_heavy_request_is_refused_while_others_are_served(target: Target, case: Case) -> None:
    body = case.body()  # its making is not the server's work
    with target.neighbour.is_served():
        target.answers(replace(case, body=lambda: body))


# ---- packs


@pytest.mark.fault(3)
def test_pack_cut_at_every_byte_is_refused(target: Target) -> None:
    sha, packed = packs.plain()
    whole = request(sha, packed)
    cuts = range(len(whole) - len(packed), len(whole))

    def send_cut(at: int) -> tuple[Case, httpx.Response]:
        case = Case(f"{at} bytes", lambda: whole[:at], rf"^ng {MAIN} the pack is broken: .")
        return case, send(target.service, case)

    with nothing_stored(target.service, target.neighbour.folder), ThreadPoolExecutor(4) as threads:
        for case, answer in threads.map(send_cut, cuts):
            check_answer(case, answer, target.service)


@pytest.mark.fault(3)
def test_head_cut_at_every_byte_is_refused(target: Target) -> None:
    sha, _ = packs.plain()
    head = request(sha, b"", options=("skip", "a=b"))
    with nothing_stored(target.service, target.neighbour.folder):
        for at in range(len(head)):
            case = Case(f"{at} bytes", lambda at=at: head[:at], r"^400\nnot a git request: .")  # type: ignore[misc]
            check_answer(case, send(target.service, case), target.service)


def test_chain_of_20_000_deltas_is_settled_in_seconds(target: Target) -> None:
    body = packs.chain(20_000)
    before_s = spent_cpu_s(target.service)
    with bounded_memory(target.service), target.neighbour.is_served():
        lines = target.push("chain", body)
    assert re.search(rf"^(ng {MAIN} .|hermes  refused  )", "\n".join(lines), re.MULTILINE), lines
    assert spent_cpu_s(target.service) - before_s < 15  # it takes a second


def test_tower_of_10_000_tags_harms_nobody(target: Target) -> None:
    with bounded_memory(target.service), target.neighbour.is_served():
        lines = target.push("tower", packs.tags(10_000))
        assert any(re.match(r"(ok|ng) refs/tags/tower", line) for line in lines), lines
        assert git(target.service, "ls-remote", f"{target.service.url}/alice/tower.git").returncode == 0


def test_garbage_behind_a_pack_is_not_stored(target: Target) -> None:
    sha, packed = packs.plain()
    marker = b"MARKER" * 1000
    lines = target.push("garbage", request(sha, packed + marker, options=("skip",)))
    assert any(re.match(rf"(ok|ng) {MAIN}", line) for line in lines), lines
    assert found_in(target.service.data / "repos", [marker[:100].decode()]) == []


def test_fetch_with_a_costly_filter_is_refused_at_once(target: Target) -> None:
    body = trees.push(
        trees.several(trees.bomb(9, 10, trees.file(b"a")), trees.file(b"spec", b"/x/\n")), "skip"
    )
    assert f"ok {MAIN}" in target.push("filters", body)
    sha = refs_of(target.service, "filters")[MAIN]
    spec = object_id(BLOB, b"/x/\n")
    for wanted in (f"sparse:oid={spec}", "combine:blob:none+tree:9", f"combine:sparse:oid={spec}+blob:none"):
        case = protocol.filtered(sha, wanted, f"/alice/filters.git{UPLOAD}")
        before_s = spent_cpu_s(target.service)
        check_answer(case, send(target.service, case), target.service)
        assert spent_cpu_s(target.service) - before_s < 2, wanted


# ---- what no client library sends


@pytest.mark.parametrize(("name", "parts", "expected"), CHUNKS, ids=[name for name, _, _ in CHUNKS])
def test_framing_that_cannot_be_is_refused(
    target: Target, name: str, parts: tuple[bytes, ...], expected: bytes
) -> None:
    with bounded_memory(target.service), nothing_stored(target.service, target.neighbour.folder):
        answer = raw(target.service, *parts)
        assert re.match(expected, answer), answer[:300]
        assert b"Traceback" not in answer and len(answer) < 300


def test_chunks_of_one_byte_are_taken(target: Target) -> None:
    sha, packed = packs.plain()
    body = request(sha, packed[:-1] + b"\0") + bytes(20_000)
    pieces = b"".join(b"1\r\n" + body[at : at + 1] + b"\r\n" for at in range(len(body)))
    with target.neighbour.is_served(), nothing_stored(target.service, target.neighbour.folder):
        answer = raw(target.service, CHUNKED, pieces + b"0\r\n\r\n")
    assert answer.startswith(b"200\n") and f"ng {MAIN} the pack is broken: ".encode() in answer, answer


@pytest.mark.parametrize("program", [RECEIVE, UPLOAD])
def test_terabyte_is_refused_before_it_comes(target: Target, program: str) -> None:
    answer = raw(
        target.service, b"Content-Length: 1000000000000\r\n\r\n0000", path=f"/alice/hostile.git{program}"
    )
    assert answer.startswith(b"413\n") and b" has more than 6" in answer, answer


# ---- names


@pytest.mark.parametrize("name", refs.REPOS, ids=lambda name: name[:30])
def test_name_that_no_repository_may_have_makes_nothing(target: Target, name: str) -> None:
    own = {"Authorization": authorization("alice", target.service.token)}
    with nothing_stored(target.service, target.neighbour.folder):
        for base, ask in product((f"/alice/{name}.git", f"/{name}/x.git"), ASKS):
            connection = http.client.HTTPConnection("127.0.0.1", target.service.port, timeout=PATIENCE_S)
            with closing(connection):
                kind = {"Content-Type": f"application/x-{ask[1:]}-request"}
                connection.request("GET" if "?" in ask else "POST", base + ask, FLUSH, own | kind)
                answer = connection.getresponse()
                words = answer.read().decode()
            assert answer.status in (400, 403, 404, 405), (base + ask, answer.status, words)
            assert "Traceback" not in words and answer.getheader("set-cookie") is None


def test_branches_that_do_not_fit_beside_each_other(target: Target) -> None:
    sha, packed = packs.plain()
    other, more = packs.plain(b"[on]\npush = []\n")
    assert "ok refs/heads/a" in target.push("beside", request(sha, packed, "refs/heads/a", options=("skip",)))
    assert "ok refs/heads/A" in target.push("beside", request(sha, packed, "refs/heads/A", options=("skip",)))
    case = Case(
        "",
        lambda: request(other, more, "refs/heads/a/b", options=("skip",)),
        "^ng refs/heads/a/b .",
        f"/alice/beside.git{RECEIVE}",
    )
    target.answers(case)
    assert refs_of(target.service, "beside") == {"refs/heads/a": sha, "refs/heads/A": sha}


def test_default_branch_that_nobody_protects_can_be_deleted(target: Target) -> None:
    sha, packed = packs.plain()
    assert f"ok {MAIN}" in target.push("gone", request(sha, packed, options=("skip",)))
    assert f"ok {MAIN}" in target.push("gone", command(ZEROS, old=sha) + FLUSH)
    assert refs_of(target.service, "gone") == {}


# ---- trees


def test_odd_trees_are_stored_and_built_as_they_are(target: Target) -> None:
    pushed = []
    for case in trees.fine():
        answer = send(target.service, case)
        check_answer(case, answer, target.service)
        if f"ok {MAIN}" in lines_of(answer):
            pushed.append((case, refs_of(target.service, case.path.split("/")[2].removesuffix(".git"))[MAIN]))

    def builds(case: Case, sha: str) -> list[dict[str, str]]:
        page = target.service.api(
            f"/repos/alice/{case.path.split('/')[2].removesuffix('.git')}/commits/{sha}"
        )
        return [each for each in page["builds"] if each["state"] not in ("queued", "running", "building")]

    for case, sha in pushed:
        (build,) = wait_for(lambda case=case, sha=sha: builds(case, sha))  # type: ignore[misc]
        assert build["state"] == "built", (case.name, build)


def test_submodules_are_never_fetched(target: Target) -> None:
    with socket.create_server(("127.0.0.1", 0)) as trap:
        url = f"http://127.0.0.1:{trap.getsockname()[1]}/x"
        lines = target.push("trap", trees.push(trees.modules(url), "build-only"))
        assert f"ok {MAIN}" in lines, lines
        assert any("submodule 'dep' is not fetched" in line for line in lines), lines
        trap.settimeout(0.5)
        with pytest.raises(TimeoutError):
            trap.accept()
    assert not Path("/tmp/hermes-was-here").exists()


def test_hooks_and_attributes_in_a_tree_do_nothing(target: Target, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    run = f"#!/bin/sh\ntouch {mark}\n"
    lf, crlf = b"a\nb\n$Id$\n", b"a\r\nb\r\n"
    files: dict[str, str | bytes] = {
        "Makefile": "all:\n\t@true\nrun:\n\t@cat eol.txt crlf.txt | od -An -tx1\n",
        **{f"{folder}{hook}": run for folder in ("", "hooks/") for hook in ("post-receive", "pre-receive")},
        "config": f'[core]\n\tfsmonitor = touch {mark}\n[filter "x"]\n\tsmudge = touch {mark}\n',
        ".gitattributes": "*.txt filter=x diff=x merge=x ident text eol=crlf working-tree-encoding=UTF-16\n",
        "eol.txt": lf,
        "crlf.txt": crlf,
    }  # fmt: skip
    tree = target.service.worktree({})
    tree.git("config", "core.attributesFile", "/dev/null")
    tree.write(files)
    for name, content in files.items():
        sha = tree.git("hash-object", "-w", "--no-filters", name)
        assert content
        tree.git("update-index", "--add", "--cacheinfo", f"100755,{sha},{name}")
    tree.git("commit", "-q", "-m", "tricks")
    pushed = target.service.push(tree, repo="tricks")
    assert pushed.code == 0, pushed.output
    log = target.service.read_log("runs", target.service.run_of(pushed)["id"])
    assert bytes.fromhex(log.decode()) == lf + crlf
    assert not mark.exists()
