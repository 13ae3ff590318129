"""What is refused at the door: in words that help, with nothing stored, and the service stays up."""

import base64
import gzip
import os
import re
import subprocess
from collections.abc import Iterator

import httpx
import pytest
from dulwich.protocol import pkt_line

from tests.files import paths_below
from tests.programs import refs, shell
from tests.service import Pushed, Service, WorkTree, wait_for

MAKEFILE = "all:\n\t@true\nrun:\n\t@echo hello\n"
ZEROS = "0" * 40
SHA = "1" * 40
NEWEST = "report-status side-band-64k agent=test"


def is_refused(service: Service, pushed: Pushed, words: str, *, source: str = "HEAD -> main") -> None:
    """Refused with these words where git shows them, and nothing is stored."""
    assert pushed.code == 1, pushed.output
    assert f" ! [remote rejected] {source} ({words})" in pushed.lines, pushed.output
    assert refs(service, pushed.repo) == {}


# ---- the manifest

MANIFESTS: list[tuple[str, str | bytes, str]] = [
    (
        "typo",
        "name = 'pi'\nlanguage = 'cpp'\n\n[run]\ncpus = 1\n\ntiemout = '2m'\n",
        "hermes.toml:7:1: unknown key 'tiemout', did you mean 'timeout'?",
    ),
    ("no-toml", "[run]\nargs = [1,\n", "hermes.toml:3:1: not TOML: "),
    ("too-large", "#" * (10 << 20), "hermes.toml:1:1: 10485760 bytes; a manifest has at most 262144"),
    ("binary", b"\x7fELF\x00\xff\xfe", "hermes.toml:1:1: not a text file in UTF-8"),
    (
        "image",
        '[build]\nimage = "cuda-14"\n',
        "build.image = 'cuda-14': no such image here, did you mean 'cuda-13.0'?",
    ),
    ("no-gpu", "[gpu]\ncount = 1\n", "this instance has no GPU"),
    (
        "later",
        "[ranks]\nparallel = true\n",
        "hermes.toml:2:1: ranks.parallel is not supported by this version",
    ),
    (
        "schedule",
        '[on]\nschedule = "0 0 30 2 *"\n',
        "hermes.toml:2:1: on.schedule: '0 0 30 2 *' never comes: no such month has such a day",
    ),
    ("stdin", '[run]\nstdin = "data.txt"\n', "run.stdin = 'data.txt': no such file in this commit"),
]


@pytest.mark.parametrize(("name", "manifest", "words"), MANIFESTS, ids=[name for name, _, _ in MANIFESTS])
def test_bad_manifest_is_refused_with_its_place(
    service: Service, name: str, manifest: str | bytes, words: str
) -> None:
    pushed = service.push({"Makefile": MAKEFILE, "hermes.toml": manifest}, repo=f"manifest-{name}")
    shown = next(line for line in pushed.lines if line.startswith("hermes  refused  "))
    said = shown.removeprefix("hermes  refused  ")
    assert said.startswith(words)
    is_refused(service, pushed, said)


def test_hint_is_shown_below_the_reason(service: Service) -> None:
    pushed = service.push({"Makefile": MAKEFILE, "hermes.toml": '[build]\nimage = "no"'}, repo="hint")
    at = pushed.lines.index("hermes  refused  build.image = 'no': no such image here")
    assert pushed.lines[at + 1] == "hermes           it offers: cpp, cuda-13.0"


def test_mistake_in_the_ancestors_manifest_is_refused_with_its_place(service: Service) -> None:
    pushed = service.push({"Makefile": MAKEFILE, "hermes.config.json": '{\n  "languge": "cpp"}'}, repo="old")
    words = "hermes.config.json:2:4: unknown key 'languge', did you mean 'language'?"
    is_refused(service, pushed, words)


@pytest.mark.parametrize("mode", ["160000", "120000"])
def test_manifest_that_is_a_submodule_or_a_link_is_refused_in_words(service: Service, mode: str) -> None:
    tree = service.worktree({"Makefile": MAKEFILE})
    target = SHA if mode == "160000" else tree.git("hash-object", "-w", "Makefile")
    tree.git("update-index", "--add", "--cacheinfo", f"{mode},{target},hermes.toml")
    tree.git("commit", "-q", "-m", "a manifest that is none")
    pushed = service.push(tree, repo=f"manifest-{mode}")
    is_refused(service, pushed, "hermes.toml:1:1: must be a plain file, not a link or a submodule")


# ---- the tree


def test_commit_without_makefile_is_refused(service: Service) -> None:
    pushed = service.push({"main.cpp": "int main() {}"}, repo="no-makefile")
    is_refused(service, pushed, "there is no Makefile at the top of this commit")
    assert any("`git push -o skip` only stores commits" in line for line in pushed.lines)


def test_empty_commit_is_refused(service: Service) -> None:
    is_refused(service, service.push({}, repo="empty"), "there is no Makefile at the top of this commit")


def test_path_that_is_too_deep_is_refused(service: Service) -> None:
    path = "/".join(["d"] * 70) + "/file"
    pushed = service.push({"Makefile": MAKEFILE, path: "x"}, repo="deep")
    first = "/".join(["d"] * 65)  # the first folder of it beyond the bound
    is_refused(service, pushed, f"the path '{first}' is too long or too deep")


def test_path_with_a_line_end_is_refused(service: Service) -> None:
    pushed = service.push({"Makefile": MAKEFILE, "a\nb": "x"}, repo="control")
    is_refused(service, pushed, r"the path 'a\nb' has control characters")


def test_tree_that_would_write_outside_is_refused_by_git(service: Service) -> None:
    tree = service.worktree({"Makefile": MAKEFILE})
    blob = tree.git("hash-object", "-w", "Makefile")
    raw = b"100644 ..\0" + bytes.fromhex(blob)
    made = subprocess.run(
        ["git", "hash-object", "-w", "-t", "tree", "--literally", "--stdin"],
        cwd=tree.folder,
        input=raw,
        capture_output=True,
        check=True,
    )
    commit = tree.git("commit-tree", "-m", "evil", made.stdout.decode().strip())
    pushed = service.push(tree, "skip", repo="evil-tree", refs=(f"{commit}:refs/heads/main",))
    assert pushed.code == 1 and "hasDotdot" in pushed.output, pushed.output
    assert refs(service, "evil-tree") == {}


def test_branch_that_is_not_a_commit_is_refused(service: Service) -> None:
    tree = service.worktree({"Makefile": MAKEFILE})
    blob = tree.git("hash-object", "-w", "Makefile")
    pushed = service.push(tree, repo="blob", refs=(f"{blob}:refs/heads/main",))
    is_refused(service, pushed, f"{blob[:7]} is not a commit", source=f"{blob} -> main")


def test_link_that_leaves_the_tree_is_refused_with_its_path(service: Service) -> None:
    tree = service.worktree({"Makefile": MAKEFILE})
    (tree.folder / "sub").mkdir()
    (tree.folder / "sub" / "evil").symlink_to("../../etc/passwd")
    tree.commit()
    is_refused(service, service.push(tree), "'sub/evil' is a link that leaves the repository")


def test_submodule_is_left_out_with_a_warning(service: Service) -> None:
    tree = service.worktree({"Makefile": MAKEFILE})
    tree.git("update-index", "--add", "--cacheinfo", f"160000,{SHA},lib/dep")
    tree.git("commit", "-q", "-m", "a submodule")
    pushed = service.push(tree)
    assert pushed.code == 0
    words = "hermes: submodule 'lib/dep' is not fetched; commit its files if the build needs them"
    assert words in pushed.lines, pushed.output
    assert "hello" in pushed.lines


# ---- the refs


def test_more_than_16_refs_are_refused_together(service: Service) -> None:
    names = tuple(f"HEAD:b{number}" for number in range(17))
    pushed = service.push({"Makefile": MAKEFILE}, repo="many", refs=names)
    is_refused(service, pushed, "17 refs in one push; at most 16", source="HEAD -> b0")
    assert "hermes           push them in parts, or raise HERMES_PUSH_REFS" in pushed.lines


def test_one_bad_ref_refuses_the_push_and_the_others_are_told(service: Service) -> None:
    pushed = service.push({"Makefile": MAKEFILE}, repo="mixed", refs=("HEAD:good", "HEAD:refs/notes/x"))
    is_refused(service, pushed, "another ref of this push was refused", source="HEAD -> good")


ODD = [
    ("refs/notes/x", "'refs/notes/x' is not a branch or a tag"),
    ("refs/pull/1/head", "'refs/pull/1/head' is not a branch or a tag"),
    ("refs/heads/-x", "ref name '-x' is not accepted here"),
    ("refs/heads/a'b", 'ref name "a\'b" is not accepted here'),
    ("refs/heads/$(id)", "ref name '$(id)' is not accepted here"),
    ("refs/heads/ü", "ref name 'ü' is not accepted here"),
    (f"refs/tags/{'x' * 201}", f"ref name '{'x' * 80}' is not accepted here"),
]


@pytest.mark.parametrize(("ref", "words"), ODD, ids=[ref[:20] for ref, _ in ODD])
def test_odd_ref_name_is_refused(service: Service, ref: str, words: str) -> None:
    pushed = service.push({"Makefile": MAKEFILE}, repo="odd-refs", refs=(f"HEAD:{ref}",))
    assert pushed.code == 1
    assert f"hermes  refused  {words}" in pushed.lines, pushed.output
    assert refs(service, "odd-refs") == {}


def test_branch_below_a_branch_is_refused_and_the_first_stays(service: Service) -> None:
    first = service.push({"Makefile": MAKEFILE}, "skip", repo="below")
    second = service.push(first.tree, "skip", repo="below", refs=("HEAD:main/sub",))
    assert second.code == 1 and "[remote rejected] HEAD -> main/sub" in second.output
    assert refs(service, "below") == {"refs/heads/main": first.sha}


# ---- the limits of an instance


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance with narrow limits."""
    env = {"HERMES_EXECUTOR": "local", "HERMES_REDIS_URL": "none", "HERMES_TREE_FILES": "50"}
    env |= {
        "HERMES_TREE_SIZE": "1M",
        "HERMES_PUSH_SIZE": "2M",
        "HERMES_MAX_TIMEOUT": "1h",
        "HERMES_CPUS": "2",
    }
    one = Service(tmp_path_factory.mktemp("small"), env)
    one.token = one.add_user(one.user)
    one.start()
    yield one
    assert one.stop() == 0
    assert "Traceback" not in one.log, one.log


def test_too_many_files_are_refused(small: Service) -> None:
    files: dict[str, str | bytes] = {f"f{number}": "x" for number in range(60)}
    is_refused(small, small.push(files, repo="files"), "the commit has more than 50 files")


def test_too_large_a_tree_is_refused_before_it_is_unpacked(small: Service) -> None:
    pushed = small.push({"Makefile": MAKEFILE, "zeros": bytes(20 << 20)}, repo="tree")  # 20 KB on the wire
    words = "the files of the commit are more than 1.0 MiB together (reached at 'zeros')"
    is_refused(small, pushed, words)


@pytest.mark.parametrize("size", [(5 << 20) // 2, 6 << 20])
def test_too_large_a_push_is_refused(small: Service, size: int) -> None:
    pushed = small.push({"Makefile": MAKEFILE, "noise": os.urandom(size)}, "skip", repo=f"push-{size}")
    assert pushed.code != 0
    assert "hermes  refused  the push has more than 2.0 MiB" in pushed.output
    assert refs(small, pushed.repo) == {}


def test_longer_timeout_than_the_operator_allows_is_refused(small: Service) -> None:
    pushed = small.push(shell("true", '[run]\ntimeout = "2h"'), repo="long")
    is_refused(small, pushed, "run.timeout = 2 h: this instance allows 1 h at most")


def test_more_cpus_than_there_are_is_refused(small: Service) -> None:
    is_refused(
        small, small.push(shell("true", "[run]\ncpus = 3"), repo="cpus"), "run.cpus = 3: this instance has 2"
    )


# ---- bodies that no git sends


def post(
    service: Service, body: bytes, path: str = "/alice/hostile.git/git-receive-pack", **headers: str
) -> httpx.Response:
    """One raw request, as alice."""
    service_type = path.rpartition("/")[2]
    basic = base64.b64encode(f"alice:{service.token}".encode()).decode()
    own = {"Authorization": f"Basic {basic}", "Content-Type": f"application/x-{service_type}-request"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with service.client("") as client:
        return client.post(path, content=body, headers=own | named)


def command(old: str = ZEROS, new: str = SHA, ref: str = "refs/heads/main", can: str = NEWEST) -> bytes:
    return pkt_line(f"{old} {new} {ref}\0{can}\n".encode())


def a_pack(tree: WorkTree) -> bytes:
    """All objects of a commit, as git would send them."""
    done = subprocess.run(
        ["git", "pack-objects", "--revs", "--stdout", "-q"],
        cwd=tree.folder,
        input=b"HEAD\n",
        capture_output=True,
        check=True,
    )
    return done.stdout


FLUSH = b"0000"
BROKEN_HEADS: list[tuple[str, bytes]] = [
    ("nothing", b""),
    ("one byte", b"0"),
    ("words", b"GET / HTTP/1.1\r\n\r\n"),
    ("binary", bytes(range(256)) * 64),
    ("minus", b"-001" + FLUSH),
    ("spaces", b"  10" + b"x" * 12 + FLUSH),
    ("impossible length", b"0001" + FLUSH),
    ("length 3", b"0003" + FLUSH),
    ("huge length", b"ffff" + b"x" * 65535),
    ("cut in a line", command()[:-9]),
    ("cut before the flush", command()),
    ("no command", pkt_line(b"hello\n") + FLUSH),
    ("empty command", pkt_line(b"") + FLUSH),
    ("short sha", pkt_line(b"0 1 refs/heads/main\0" + NEWEST.encode()) + FLUSH),
    ("sha-256", command("0" * 64, "1" * 64) + FLUSH),
    ("certificate", pkt_line(b"push-cert\0" + NEWEST.encode()) + FLUSH),
    ("options cut", command(can=NEWEST + " push-options") + FLUSH + b"0009chec"),
    ("5 MB of commands", command() * 40_000 + FLUSH),
    ("5 MB of options", command(can=NEWEST + " push-options") + FLUSH + pkt_line(b"a=" + b"b" * 60_000) * 90),
]  # fmt: skip


@pytest.mark.parametrize(("name", "body"), BROKEN_HEADS, ids=[name for name, _ in BROKEN_HEADS])
def test_body_that_is_no_push_gets_a_4xx(service: Service, name: str, body: bytes) -> None:
    answer = post(service, body)
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.content[:300])
    assert len(answer.text) < 500


def says_no(answer: httpx.Response) -> bool:
    """4xx, or git's own way to say that a ref did not move."""
    if answer.status_code != 200:
        return 400 <= answer.status_code < 500
    return b"ng refs/" in answer.content and b"ok refs/" not in answer.content


def broken_packs(tree: WorkTree) -> dict[str, bytes]:
    pack = a_pack(tree)
    head = command(new=tree.git("rev-parse", "HEAD")) + FLUSH
    flipped = bytearray(pack)
    flipped[len(pack) // 2] ^= 0xFF
    return {
        "no pack": head,
        "no pack, many zeros": head + bytes(100_000),
        "pack cut in its header": head + pack[:6],
        "pack cut in the middle": head + pack[: len(pack) // 2],
        "pack without its checksum": head + pack[:-20],
        "wrong checksum": head + pack[:-1] + bytes([pack[-1] ^ 1]),
        "a byte flipped": head + bytes(flipped),
        "more objects promised": head + pack[:8] + b"\xff\xff\xff\xff" + pack[12:],
        "commit that is not in the pack": command(new="2" * 40) + FLUSH + pack,
        "old sha that is not there": command(old="3" * 40, new=tree.git("rev-parse", "HEAD")) + FLUSH + pack,
        "the same ref twice": command(new=tree.git("rev-parse", "HEAD")) * 2 + FLUSH + pack,
    }


def test_pack_that_is_broken_is_refused_and_nothing_is_stored(service: Service) -> None:
    tree = service.worktree({"Makefile": MAKEFILE, "data": os.urandom(5000)})
    for name, body in broken_packs(tree).items():
        answer = post(service, body)
        assert says_no(answer), (name, answer.status_code, answer.content[:500])
    assert refs(service, "hostile") == {}


def test_client_without_sideband_is_answered_in_plain_pkt_lines(service: Service) -> None:
    answer = post(service, command(new="2" * 40, can="report-status") + FLUSH)
    assert answer.status_code == 200
    assert re.search(rb"ng refs/heads/main ", answer.content)


HEADERS: list[tuple[str, bytes, dict[str, str]]] = [
    ("wrong type", command() + FLUSH, {"Content_Type": "text/plain"}),
    ("form", b"a=b", {"Content_Type": "application/x-www-form-urlencoded"}),
    ("gzip that is none", command() + FLUSH, {"Content_Encoding": "gzip"}),
    ("gzip cut", gzip.compress(command() + FLUSH)[:20], {"Content_Encoding": "gzip"}),
    ("no credentials", command() + FLUSH, {"Authorization": ""}),
    ("broken credentials", command() + FLUSH, {"Authorization": "Basic \x7f!!"}),
    ("endless credentials", command() + FLUSH, {"Authorization": "Basic " + "A" * 50_000}),
]


@pytest.mark.parametrize(("name", "body", "headers"), HEADERS, ids=[name for name, _, _ in HEADERS])
def test_headers_that_do_not_fit_get_a_4xx(
    service: Service, name: str, body: bytes, headers: dict[str, str]
) -> None:
    answer = post(service, body, **headers)
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.content[:300])


def test_gzip_bomb_is_cut_off(small: Service) -> None:
    tree = small.worktree({"Makefile": MAKEFILE})
    head = command(new=tree.git("rev-parse", "HEAD")) + FLUSH
    bomb = gzip.compress(head + a_pack(tree)[:12] + bytes(100 << 20), compresslevel=1)
    answer = post(small, bomb, Content_Encoding="gzip")
    assert says_no(answer), answer.content[:300]
    assert refs(small, "hostile") == {}


@pytest.mark.parametrize(
    "body", [b"", b"garbage", FLUSH, b"0001", pkt_line(b"want " + SHA.encode()) + FLUSH + b"0009done\n"]
)
def test_fetch_that_is_none_leaves_the_service_up(service: Service, body: bytes) -> None:
    service.push({"Makefile": MAKEFILE}, "skip", repo="fetched")
    answer = post(service, body, "/alice/fetched.git/git-upload-pack", Git_Protocol="version=2")
    assert answer.status_code < 500
    assert service.push({"Makefile": MAKEFILE}, "skip").code == 0


def test_paths_of_the_dumb_protocol_are_not_there(service: Service) -> None:
    service.push({"Makefile": MAKEFILE}, "skip", repo="dumb")
    with service.client() as client:
        assert client.get("/alice/dumb.git/HEAD").status_code in (401, 404)
        assert client.get("/alice/dumb.git/git-receive-pack").status_code == 405
        assert client.get("/alice/dumb.git/info/refs?service=git-evil").status_code in (400, 401)
        assert client.get("/alice/dumb.git/%2e%2e/%2e%2e/hermes.db").status_code in (401, 404)


def test_after_all_of_this_a_push_works_and_no_rubbish_lies_about(service: Service) -> None:
    assert service.push({"Makefile": MAKEFILE}, repo="after").code == 0
    assert "Traceback" not in service.log
    rubbish = ("tmp_objdir", "incoming-")
    names = service.data / "repos"
    wait_for(lambda: not [path for path in paths_below(names) if any(word in path.name for word in rubbish)])
