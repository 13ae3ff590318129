"""Behind nginx and Caddy as docs/proxies configures them: streams are live, large pushes pass."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path

import httpx
import pytest

from hermes.settings import Settings, variable
from tests.programs import arrivals, begin_push, end_of, git, refs, shell, without_bubblewrap
from tests.proxies import DOCUMENTED, IDLE_S, Caddy, Fronted, Nginx
from tests.service import PATIENCE_S, living, wait_for
from tests.strace import straced
from tests.test_sse import events_of

LOCAL = {"HERMES_EXECUTOR": "local", "HERMES_REDIS_URL": "none", "HERMES_POLL": "1", "HERMES_CPUS": "8"}
STRICT = {"HERMES_LOGIN_FAILURES": "3"}


def patient(seen: Path) -> dict[str, str | bytes]:
    """A program that goes on only when its first line was seen: it comes live, or the run times out."""
    wait = f"until [ -e {seen} ]; do sleep 0.1; done"
    return shell(f"echo first; {wait}; echo last", '[run]\ntimeout = "2m"')


@pytest.fixture(scope="module", params=[Nginx, Caddy], ids=["nginx", "caddy"])
def front(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fronted]:
    """An instance behind a proxy."""
    kind: type[Fronted] = request.param
    path = without_bubblewrap(tmp_path_factory.mktemp("path") / "bin")  # programs wait for a file of ours
    with living(kind(tmp_path_factory.mktemp("behind") / "hermes", LOCAL | STRICT | path)) as one:
        one.start_proxy()
        yield one
        one.stop_proxy()


@pytest.fixture(scope="module")
def silent(front: Fronted) -> "Iterator[subprocess.Popen[str]]":
    """A push whose run says nothing for longer than the proxy waits; it goes on while other tests run."""
    tree = front.worktree(shell(f"echo first; sleep {IDLE_S + 4}; echo last"), "silent")
    with begin_push(front, tree, "silent") as client:
        yield client
        client.kill()


def test_lines_arrive_while_the_run_goes_on(
    front: Fronted, silent: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    views = {"live1": replace(front, http="HTTP/1.1"), "live2": front}

    def push(repo: str) -> list[str]:
        lines = []
        with begin_push(views[repo], front.worktree(patient(tmp_path / repo), repo), repo) as client:
            for _, line in arrivals(client):
                lines.append(line)
                if line == "first":
                    (tmp_path / repo).touch()
        return lines

    with ThreadPoolExecutor(len(views)) as pool:
        seen = dict(zip(views, pool.map(push, views), strict=True))
    for repo, lines in seen.items():
        assert "last" in lines, lines
        assert any(re.match(r"hermes  run \d+ +succeeded in", line) for line in lines), lines
        assert any(f"{front.front}/alice/{repo}/" in line for line in lines), lines


@pytest.mark.parametrize(("version", "size_mib"), [("HTTP/1.1", 30), ("HTTP/2", 8)])
def test_large_pushes_go_in_and_out(front: Fronted, tmp_path: Path, version: str, size_mib: int) -> None:
    """Far more than `http.postBuffer` (1 MiB), so git does not know the length when it begins."""
    view, repo = replace(front, http=version), "large" + version[-1]
    pushed = view.push({"large.bin": os.urandom(size_mib << 20)}, "skip", repo=repo)
    assert pushed.code == 0, pushed.output
    done = git(view, "clone", "-q", f"{view.front}/alice/{repo}.git", str(tmp_path / "clone"))
    assert done.returncode == 0, done.stderr
    came, sent = (tree / "large.bin" for tree in (tmp_path / "clone", pushed.tree.folder))
    assert came.read_bytes() == sent.read_bytes()


@contextmanager
def slow_to_go_on(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Whoever of it has written something is held for a moment before it does the next thing."""
    held = ("-f", "-o", "/dev/null", "-e", "trace=write", "-e", "inject=write:delay_exit=20000")
    with straced(process.pid, *held):
        yield


def test_an_answer_that_begins_at_once_comes_whole(front: Fronted, tmp_path: Path) -> None:
    """Before the proxy has found out that the request, which it has passed on, is at its end."""
    view = replace(front, http="HTTP/1.1")
    pushed = view.push({"noise.bin": os.urandom(1 << 20)}, "skip", repo="at-once")
    assert pushed.code == 0 and front.proxy is not None, pushed.output
    with slow_to_go_on(front.proxy):
        done = git(view, "clone", "-q", f"{view.front}/alice/at-once.git", str(tmp_path / "clone"))
    assert done.returncode == 0, done.stderr
    came, sent = (tree / "noise.bin" for tree in (tmp_path / "clone", pushed.tree.folder))
    assert came.read_bytes() == sent.read_bytes()


def test_a_page_follows_a_run(front: Fronted, tmp_path: Path) -> None:
    pushed = front.push(patient(tmp_path / "seen"), "detach")
    run = wait_for(lambda: front.commit_page(pushed)["runs"])[0]
    path, last = f"/runs/{run['id']}/events", None
    with front.browser(token=front.token) as client, client.stream("GET", path) as answer:
        assert answer.status_code == 200
        for last in events_of(answer):
            if last.name == "log" and "first" in last.data:
                (tmp_path / "seen").touch()
    assert last is not None and (last.name, last.data["state"]) == ("end", "succeeded"), last


def test_a_client_that_leaves_is_noticed(front: Fronted, tmp_path: Path) -> None:
    before = front.log.count("push detached")
    with begin_push(front, front.worktree(patient(tmp_path / "seen")), "leaves") as client:
        next(line for _, line in arrivals(client) if line == "first")
        os.killpg(client.pid, signal.SIGKILL)
    wait_for(lambda: front.log.count("push detached") > before)
    (tmp_path / "seen").touch()


def test_a_browser_signs_in_and_stays_on_https(front: Fronted) -> None:
    with front.browser() as client:
        there = client.get("/gpus/")  # without the slash it is a page
        assert there.headers["location"] == f"{front.front}/gpus"
        other = client.post("/signin", data={"token": front.token}, headers={"Origin": "https://evil.org"})
        assert other.status_code == 403
        here = client.post("/signin", data={"token": front.token}, headers={"Origin": front.front})
        assert here.status_code == 303, here.text
        assert "secure" in here.headers["set-cookie"].lower()
        assert client.get("/").status_code == 200
    plain = httpx.get(f"http://localhost:{front.plain_port}/alice", timeout=PATIENCE_S, trust_env=False)
    assert plain.status_code in (301, 308) and plain.headers["location"].startswith("https://localhost")


def knocks(client: httpx.Client, count: int, **headers: str) -> list[int]:
    """The answers to wrong tokens."""
    path = "/alice/live2.git/info/refs?service=git-receive-pack"
    users = (f"u{time.monotonic_ns()}" for _ in range(count))
    return [
        client.get(path, auth=(user, "hermes_wrong"), headers=headers or None).status_code for user in users
    ]


def test_addresses_are_those_of_people_and_only_the_proxy_is_believed(front: Fronted) -> None:
    with front.browser("127.0.0.2") as one, front.browser("127.0.0.3") as other:
        assert knocks(one, 4) == [401, 401, 429, 429]
        assert knocks(other, 1) == [401], "all that come through the proxy are one address"
        assert knocks(one, 1, **{"X-Forwarded-For": "10.1.1.1"}) == [429], "an address that was claimed"
    way = httpx.HTTPTransport(local_address="127.0.0.4")
    claims = [{"X-Forwarded-For": f"10.2.2.{n}", "X-Forwarded-Proto": "https"} for n in range(4)]
    with httpx.Client(base_url=front.url, timeout=PATIENCE_S, transport=way) as past:
        assert [knocks(past, 1, **claim)[0] for claim in claims] == [401, 401, 429, 429]
        assert past.get("/gpus/", headers=claims[0]).headers["location"].startswith("http://")


def test_silence_longer_than_the_proxy_waits_ends_nothing(
    front: Fronted, silent: "subprocess.Popen[str]"
) -> None:
    code, words = end_of(silent)
    assert code == 0, words
    assert re.search(r"^first\n(?:.*\n)*?last\nhermes  run \d+ +succeeded in", words, re.MULTILINE), words


def test_a_restart_is_told_and_the_proxy_goes_on(front: Fronted, tmp_path: Path) -> None:
    tree = front.worktree(patient(tmp_path / "seen"))
    client = begin_push(front, tree, "restart")
    next(line for _, line in arrivals(client) if line == "first")
    assert front.stop() == 0
    code, words = end_of(client)
    assert code == 0 and "the service restarts; all goes on" in words, words
    away = git(front, "ls-remote", f"{front.front}/alice/restart.git")
    assert away.returncode != 0 and "502" in away.stderr, away.stderr
    (tmp_path / "seen").touch()
    front.start()
    assert front.push(tree, "skip", repo="restart", refs=("HEAD:again",)).code == 0
    assert set(refs(front, "restart")) == {"refs/heads/main", "refs/heads/again"}


@pytest.mark.parametrize("name", ["nginx.conf", "Caddyfile"])
def test_every_line_of_a_documented_file_is_explained(name: str) -> None:
    text = (DOCUMENTED / "README.md").read_text()
    assert f"]({name})" in text, "no link"
    lines = (line.split() for line in (DOCUMENTED / name).read_text().splitlines())
    words = {line[0].rstrip(";") for line in lines if line and not line[0].startswith(("#", "}"))}
    assert not {word for word in words if f"`{word}" not in text}


def test_the_text_about_proxies_names_what_there_is() -> None:
    text = (DOCUMENTED / "README.md").read_text()
    assert set(re.findall(r"HERMES_[A-Z_]+", text)) <= {variable(each.name) for each in fields(Settings)}
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert links and all((DOCUMENTED / link).exists() for link in links)
