"""Who may fetch and push: strangers, guessers, and those who push too much."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.programs import git, refs, shell
from tests.race_tools import ZEROS, body, post_at_once
from tests.service import PATIENCE_S, TRUST, Service

STORED = "[on]\npush = []\n"
FILES: dict[str, str | bytes] = {"hermes.toml": STORED, "Makefile": "all:\n"}
ADVERTISED = "info/refs?service=git-upload-pack"


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance with small bounds on what people do."""
    env = {
        "HERMES_EXECUTOR": "local",
        "HERMES_REDIS_URL": "none",
        "HERMES_LOGIN_FAILURES": "4",
        "HERMES_PUSH_RATE": "12",
        "HERMES_REPO_REFS": "5",
        "HERMES_ANONYMOUS": "none",
        "HERMES_PROXIES": "127.0.0.1",
    }
    one = Service(tmp_path_factory.mktemp("strict"), env)
    one.token = one.add_user(one.user)
    one.start()
    yield one
    assert one.stop() == 0, one.log[-3000:]
    assert "Traceback" not in one.log


def ask(service: Service, path: str, name: str = "", secret: str = "") -> httpx.Response:
    """What git asks first, as somebody or nobody."""
    auth = (name, secret) if secret else None
    return httpx.get(f"{service.url}/{path}", auth=auth, timeout=PATIENCE_S, verify=TRUST)


def public_repo(service: Service, name: str) -> str:
    """Pushed so that its manifest makes it public; returns its path."""
    pushed = service.push(shell("true", "public = true"), repo=name)
    assert "succeeded" in pushed.output, pushed.output
    return f"{service.user}/{name}.git"


def test_a_stranger_can_clone_what_is_public_and_not_push_to_it(service: Service, tmp_path: Path) -> None:
    path = public_repo(service, "opened")
    url = f"{service.url}/{path}"
    done = git(service, "-c", "http.extraHeader=", "clone", "-q", url, str(tmp_path / "copy"))
    assert done.returncode == 0, done.stderr
    pushed = ask(service, f"{path[:-4]}.git/info/refs?service=git-receive-pack")
    assert pushed.status_code == 401
    assert pushed.headers["www-authenticate"].startswith("Basic ")


def test_a_stranger_cannot_tell_a_hidden_repo_from_one_that_is_not_there(service: Service) -> None:
    service.push(shell("true", STORED), repo="hidden")
    answers = [ask(service, f"alice/{name}.git/{ADVERTISED}") for name in ("hidden", "nothing")]
    assert {(each.status_code, each.text) for each in answers} == {(401, answers[0].text)}
    assert {tuple(sorted(set(each.headers) - {"date"})) for each in answers} == {
        tuple(sorted(set(answers[0].headers) - {"date"}))
    }


def test_a_user_cannot_tell_them_apart_either(service: Service, bob: str) -> None:
    service.push(shell("true", STORED), repo="hidden2")
    answers = [ask(service, f"alice/{name}.git/{ADVERTISED}", "bob", bob) for name in ("hidden2", "nothing2")]
    assert [each.status_code for each in answers] == [404, 404]
    assert answers[0].text.replace("hidden2", "X") == answers[1].text.replace("nothing2", "X")


def test_an_instance_may_show_nothing_to_strangers(strict: Service) -> None:
    public_repo(strict, "open")
    assert ask(strict, f"alice/open.git/{ADVERTISED}").status_code == 401
    assert ask(strict, f"alice/open.git/{ADVERTISED}", "alice", strict.token).status_code == 200


def test_a_guesser_is_told_to_wait_and_a_right_token_still_passes(strict: Service) -> None:
    codes = [ask(strict, f"alice/x.git/{ADVERTISED}", "alice", f"hermes_{n}").status_code for n in range(8)]
    assert codes[:3] == [401] * 3
    assert codes[-1] == 429
    last = ask(strict, f"alice/x.git/{ADVERTISED}", "alice", "hermes_no")
    assert 0 < int(last.headers["retry-after"]) <= 301
    assert last.text.startswith("too many failed sign-ins\ntry again in ")
    strict.push(FILES, repo="known")
    assert ask(strict, f"alice/known.git/{ADVERTISED}", "alice", strict.token).status_code == 200


def test_a_guesser_who_moves_within_a_network_of_ipv6_stays_the_same(strict: Service) -> None:
    def guess(address: str, number: int) -> int:
        """As a reverse proxy hands it on, for a user of its own."""
        with strict.client(f"hermes_moved{number}") as client:
            return client.get("/api/v1/runs", headers={"X-Forwarded-For": address}).status_code

    assert [guess(f"2001:db8:7:8::{n:x}", n) for n in range(1, 6)] == [401, 401, 401, 429, 429]
    assert guess("2001:db8:7:9::1", 6) == 401


def test_pages_and_api_count_the_same_failures(strict: Service) -> None:
    for number in range(6):
        with strict.client(f"hermes_guess{number}") as client:
            api = client.get("/api/v1/runs")
        with strict.client("") as browser:
            form = browser.post("/signin", data={"token": f"hermes_guess{number}"})
    assert (api.status_code, form.status_code) == (429, 429)
    assert api.json()["error"]["code"] == "too_many"
    assert int(api.headers["retry-after"]) and int(form.headers["retry-after"])
    assert "too many failed sign-ins: try again in" in form.text


def test_a_repo_has_only_so_many_refs(strict: Service) -> None:
    four = tuple(f"HEAD:b{number}" for number in range(4))
    tree = strict.push(FILES, repo="many", refs=four).tree
    more = strict.push(tree, repo="many", refs=("HEAD:b5", "HEAD:b6"))
    assert more.code != 0
    assert "the repository has 4 branches and tags; at most 5" in more.output
    assert strict.push(tree, repo="many", refs=("HEAD:b0", "HEAD:b5")).code == 0
    assert len(refs(strict, "many")) == 5


def test_who_pushes_too_often_is_told_to_wait(strict: Service) -> None:
    token = strict.add_user("eager")
    eager, repo = replace(strict, user="eager", token=token), "eager/often"
    first = eager.push(FILES, repo=repo)
    assert first.code == 0
    more = [body(first.tree, ZEROS, first.sha, f"refs/heads/b{number}") for number in range(11)]
    answers = post_at_once(eager, "often", more)  # within a minute, also on a slow machine
    assert [each.status_code for each in answers] == [200] * 11
    assert not [each for each in answers if b"pushes in a minute" in each.content]
    first.tree.commit("one too many")
    refused = eager.push(first.tree, repo=repo)
    assert refused.code != 0
    assert "more than 12 pushes in a minute" in refused.output
    assert "hermes           try again in" in refused.output
