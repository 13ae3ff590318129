"""How git talks to us: protocol versions, connections, large requests, who is asked for a password and when.

Where it makes sense the same holds for git's own server, and is looked at there as well."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.oracle import Client, Pair, Side, pair, run
from tests.service import PATIENCE_S, TRUST


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair(tmp_path_factory.mktemp("http")) as both:
        yield both


@pytest.fixture(params=["git", "hermes"])
def side(servers: Pair, request: pytest.FixtureRequest) -> Side:
    return servers.git if request.param == "git" else servers.hermes


def traced(client: Client, *words: str, packets: bool = False) -> str:
    """What git did to get there; it must have got there."""
    done = client.git(*words, env={"GIT_TRACE_PACKET" if packets else "GIT_TRACE_CURL": "1"})
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stderr


# ---- the wire


@pytest.mark.parametrize(("asked", "spoken"), [("0", ""), ("1", "version 1"), ("2", "version 2")])
def test_protocol_that_the_client_asks_for_is_spoken(
    servers: Pair, side: Side, asked: str, spoken: str
) -> None:
    trace = traced(servers.client(side), "-c", f"protocol.version={asked}", "ls-remote", packets=True)
    said = re.findall(r"git< (version \d)", trace)
    assert set(said) == ({spoken} if spoken else set())
    assert ("ls-refs" in trace) == (asked == "2")


@pytest.mark.parametrize("post_buffer", ["1k", "1m"])
def test_push_is_one_connection_without_a_second_thought(servers: Pair, side: Side, post_buffer: str) -> None:
    client = servers.client(side)
    client.write("src/noise", bytes(range(256)) * 20)
    client.commit()
    trace = traced(client, "-c", f"http.postBuffer={post_buffer}", "push", "origin", "main")
    assert len(re.findall("Connected to", trace)) == 1
    assert len(re.findall("Re-using existing connection", trace)) == (2 if post_buffer == "1k" else 1)
    assert "Expect:" not in trace
    assert ("Send header: Transfer-Encoding: chunked" in trace) == (post_buffer == "1k")


def test_clone_is_one_connection(servers: Pair, side: Side) -> None:
    client = servers.client(side)
    trace = traced(client, "clone", client.url, str(client.folder / "clone"))
    assert len(re.findall("Connected to", trace)) == 1
    assert len(re.findall("Re-using existing connection", trace)) == 2


def test_what_git_is_told_first_is_what_its_own_server_says(servers: Pair) -> None:
    """Byte for byte, and with the headers that keep proxies from remembering it."""
    answers: dict[str, list[object]] = {}
    for side in (servers.git, servers.hermes):
        url = servers.client(side).url
        headers = {"Authorization": side.env.get("GIT_CONFIG_VALUE_0", "").removeprefix("Authorization: ")}
        for program, version in (("receive-pack", "0"), ("upload-pack", "0"), ("upload-pack", "2")):
            asked = headers | {"Git-Protocol": f"version={version}"}
            address = f"{url}/info/refs?service=git-{program}"
            answer = httpx.get(address, headers=asked, timeout=PATIENCE_S, verify=TRUST)
            kept = [answer.headers[name] for name in ("content-type", "cache-control")]
            answers.setdefault(side.name, []).append((answer.status_code, *kept, answer.content))
    assert answers["hermes"] == answers["git"]


def commits(client: Client, count: int, *, tags: bool) -> None:
    """Many, newer than all others: a chain on a branch of its own, or each alone with a tag."""
    lines = []
    for number in range(1, count + 1):
        lines += ["commit refs/heads/lot", f"mark :{number}"]
        lines += [f"committer A <a@example.org> {1_760_000_000 + number} +0000", "data 1", "x", ""]
        lines += ["reset refs/heads/lot", ""] * tags
    done = client.git("fast-import", "--quiet", "--export-marks=marks", data="\n".join(lines).encode())
    assert done.returncode == 0, done.stderr
    if tags:
        marks = [line.split() for line in (client.folder / "marks").read_text().splitlines()]
        add_tags(client.folder / ".git", {f"t-{mark[1:]}": sha for mark, sha in marks})


def add_tags(repository: Path, tags: dict[str, str]) -> None:
    """Behind git's back, because 2,000 files are slow."""
    with (repository / "packed-refs").open("a") as packed:
        packed.writelines(f"{tags[name]} refs/tags/{name}\n" for name in sorted(tags))


@pytest.mark.parametrize("tags", [False, True], ids=["a long history", "2,000 tags"])
def test_client_that_has_a_lot_says_so_in_gzip_and_is_answered(servers: Pair, side: Side, tags: bool) -> None:
    client = servers.client(side)
    news = client.copy("news")
    commits(client, 2000, tags=tags)
    new = news.commit("news")
    news.do("push -q origin main")
    trace = traced(client, "fetch", "origin", "main")
    assert "Send header: Content-Encoding: gzip" in trace
    assert client.do("rev-parse FETCH_HEAD") == new


def test_server_that_has_2000_tags_is_cloned(servers: Pair, side: Side) -> None:
    client = servers.client(side)
    sha = client.do("rev-parse main")
    add_tags(side.bare(client.repo), {f"{'long-name-' * 9}{number}": sha for number in range(2000)})
    clone = client.clone("-c", "http.postBuffer=65536")
    assert len(clone.refs("refs/tags")) == 2001


def test_ten_clones_at_once_are_all_whole(servers: Pair, side: Side) -> None:
    client = servers.client(side)
    with ThreadPoolExecutor(10) as pool:
        clones = list(pool.map(lambda number: client.clone(into=f"at-once-{number}"), range(10)))
    assert {clone.do("rev-parse HEAD") for clone in clones} == {client.do("rev-parse main")}
    assert {clone.do("fsck --strict --full") for clone in clones} == {""}


def test_empty_repository_is_cloned_with_its_branch(servers: Pair, side: Side) -> None:
    client = servers.client(side, published=False)
    client.do("tag 'odd' main", "ls-remote ." if side is servers.git else "push -q origin :refs/heads/none")
    clone = client.git("-c", "init.defaultBranch=other", "clone", client.url, "new")
    assert clone.returncode == 0
    assert "warning: You appear to have cloned an empty repository." in clone.stderr
    assert (client.folder / "new/.git/HEAD").read_text() == "ref: refs/heads/main\n"


def test_missing_repository_is_not_found(servers: Pair, side: Side) -> None:
    client = servers.client(side)
    missing = client.git("ls-remote", side.url("none"))
    assert missing.returncode == 128
    assert missing.stderr.splitlines()[-1] == f"fatal: repository '{side.url('none')}/' not found"


@pytest.mark.parametrize("end", ["", "/", ".git/"])
def test_address_may_be_that_of_the_page(servers: Pair, side: Side, end: str) -> None:
    client = servers.client(side)
    sha = client.commit()
    client.do(f"remote set-url origin {client.url.removesuffix('.git')}{end}", "push -q origin main", "fetch")
    assert side.refs(client.repo)["refs/heads/main"] == sha


# ---- ours: credentials


def ask(client: Client, url: str, *words: str, answers: tuple[str, str]) -> tuple[int, str, list[str]]:
    """Git with nothing but somebody who answers its questions: exit code, words, questions."""
    script, log = client.folder / "askpass", client.folder / "asked"
    log.write_text("")
    name, secret = answers
    script.write_text(
        f'#!/bin/sh\necho "$1" >>{log}\ncase $1 in User*) echo {name};; *) echo {secret};; esac\n'
    )
    script.chmod(0o755)
    done = run("git", *words, url, *(["main"] if words[0] == "push" else []), cwd=client.folder,
               env={"GIT_ASKPASS": str(script)})  # fmt: skip
    return done.returncode, done.stderr, log.read_text().splitlines()


@pytest.fixture
def alice(servers: Pair) -> Client:
    """Somebody with a repository, and with something new for it."""
    client = servers.client(servers.hermes)
    client.write("src/noise", bytes(range(256)) * 20)
    client.commit()
    return client


def token(servers: Pair) -> str:
    assert servers.hermes.service is not None
    return servers.hermes.service.token


@pytest.mark.parametrize("post_buffer", ["1k", "1m"])
def test_push_asks_once_for_name_and_token(servers: Pair, alice: Client, post_buffer: str) -> None:
    alice.do(f"config http.postBuffer {post_buffer}")
    code, words, asked = ask(alice, alice.url, "push", answers=("alice", token(servers)))
    origin = alice.url.partition("/alice")[0]
    assert (code, asked) == (
        0,
        [f"Username for '{origin}': ", f"Password for '{origin.replace('//', '//alice@')}': "],
    )
    assert token(servers) not in words


def test_name_in_the_address_is_not_asked_for(servers: Pair, alice: Client) -> None:
    named = alice.url.replace("//", "//alice@")
    code, _, asked = ask(alice, named, "ls-remote", answers=("nobody", token(servers)))
    assert code == 0
    assert [each.partition(" for ")[0] for each in asked] == ["Password"]


def test_wrong_token_fails_after_one_question(alice: Client) -> None:
    code, words, asked = ask(alice, alice.url, "ls-remote", answers=("alice", "hermes_wrong"))
    assert (code, len(asked)) == (128, 2)
    assert f"fatal: Authentication failed for '{alice.url}/'" in words


@pytest.mark.parametrize("right", [True, False])
def test_credential_helper_keeps_what_works_and_forgets_what_does_not(
    servers: Pair, alice: Client, right: bool
) -> None:
    helper, log = alice.folder / "helper", alice.folder / "helped"
    secret = token(servers) if right else "hermes_revoked"
    helper.write_text(
        f"#!/bin/sh\necho $1 >>{log}\n"
        f'[ "$1" = get ] && printf "username=alice\\npassword={secret}\\n"\ncat >/dev/null\n'
    )
    helper.chmod(0o755)
    done = run("git", "-c", f"credential.helper={helper}", "push", "origin", "main", cwd=alice.folder)
    assert done.returncode == (0 if right else 128), done.stderr
    assert log.read_text().split() == ["get", "store" if right else "erase"]


def test_public_repository_is_cloned_without_a_question_and_pushed_to_with_one(
    servers: Pair, alice: Client
) -> None:
    alice.do("push -q -o skip origin main")
    assert servers.hermes.service is not None
    servers.hermes.service.admin("repo", "public", "--yes", f"alice/{alice.repo}")
    code, words, asked = ask(alice, alice.url, "clone", answers=("alice", "wrong"))
    assert (code, asked) == (0, []), words
    alice.write("hermes.toml", "[on]\npush = []\n")
    alice.commit("more")
    code, words, asked = ask(alice, alice.url, "push", answers=("alice", token(servers)))
    assert (code, len(asked)) == (0, 2), words


# ---- ours: what is not spoken


@pytest.mark.parametrize(
    "path",
    [
        "info/refs",
        "HEAD",
        "objects/info/packs",
        "objects/info/alternates",
        "info/refs?service=git-upload-archive",
    ],
)
def test_dumb_protocol_is_refused(servers: Pair, alice: Client, path: str) -> None:
    who = ("alice", token(servers))
    answer = httpx.get(f"{alice.url}/{path}", auth=who, timeout=PATIENCE_S, verify=TRUST)
    assert 400 <= answer.status_code < 500
    if path.startswith("info/refs"):
        assert answer.text == "only git's smart protocol is spoken here\nuse a git of this century\n"


def test_client_that_speaks_only_the_dumb_protocol_is_told_so(alice: Client) -> None:
    done = alice.git("fetch", "origin", env={"GIT_SMART_HTTP": "0"})
    assert done.returncode == 128
    assert "remote: only git's smart protocol is spoken here" in done.stderr


def test_repository_that_lost_its_objects_fails_in_words_and_the_service_goes_on(
    servers: Pair, side: Side
) -> None:
    client = servers.client(side)
    for pack in Path(side.bare(client.repo), "objects/pack").iterdir():
        pack.unlink()
    done = client.git("clone", client.url, "lost")
    assert done.returncode == 128, done.stderr
    assert "fatal: " in done.stderr
    assert servers.client(side).git("ls-remote").returncode == 0
