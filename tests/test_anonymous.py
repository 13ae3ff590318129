"""People who are not signed in: they read what is public, change nothing, and learn nothing of the rest."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.access_tools import browsing, execute, open_house
from tests.programs import shell
from tests.service import Pushed, Service, wait_for

LEAVES = shell('echo to see; echo file >"$HERMES_OUTPUT_DIR/out.txt"', "public = true\n")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The instance of these tests: one run at a time."""
    yield from open_house(tmp_path_factory.mktemp("open"), HERMES_CPUS="1")


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance that shows nothing to strangers, and has no SSH."""
    yield from open_house(tmp_path_factory.mktemp("closed"), HERMES_ANONYMOUS="none", HERMES_SSH_PORT="0")


@pytest.fixture
def stranger(house: Service) -> Iterator[httpx.Client]:
    """A browser of somebody without an account."""
    with browsing(house, "") as client:
        yield client


def addresses(service: Service, pushed: Pushed) -> dict[str, str]:
    """All that may be read of a repository."""
    run = service.run_of(pushed)
    assert run["state"] == "succeeded", run
    base = f"/{pushed.owner}/{pushed.repo}"
    found = {"repo": base, "commit": f"{base}/commit/{pushed.sha}", "run": f"/runs/{run['id']}"}
    found["build"] = f"/builds/{run['build']}"
    for kind in ("run", "build"):
        found |= {f"{kind} log": f"{found[kind]}/log", f"{kind} events": f"{found[kind]}/events"}
    for artifact in run["artifacts"]:
        found |= {"artifact": httpx.URL(artifact["url"]).path, "zip": f"{found['run']}/artifacts.zip"}
    return found


@pytest.fixture(scope="module")
def public(house: Service) -> dict[str, str]:
    """Addresses of a public repository."""
    return addresses(house, house.push(LEAVES, repo="alice/open"))


@pytest.fixture(scope="module")
def hidden(house: Service) -> dict[str, str]:
    """Addresses of a private repository."""
    files = LEAVES | {"hermes.toml": 'handler = "sh main.sh"\n'}
    return addresses(house, house.push(files, repo="alice/hidden"))


def test_what_is_public_is_read_without_an_account(stranger: httpx.Client, public: dict[str, str]) -> None:
    assert len(public) == 10
    for name, path in public.items():
        answer = stranger.get(path)
        assert answer.status_code == 200, name
    assert "to see" in stranger.get(public["run"]).text
    assert stranger.get(public["run log"]).text == "to see\n"
    assert stranger.get(public["artifact"]).text == "file\n"
    assert "event: end" in stranger.get(public["run events"]).text
    latest = stranger.get(f"{public['repo']}/latest")
    assert latest.headers["location"] == public["commit"]


def test_a_stranger_sees_no_button_and_the_way_in(
    house: Service, stranger: httpx.Client, public: dict[str, str]
) -> None:
    for name in ("repo", "commit", "run", "build"):
        text = stranger.get(public[name]).text
        assert 'method="post"' not in text and "/settings" not in text, name
        assert f'<a href="/signin?next={public[name]}">Sign in</a>' in text, name
    assert f"git clone http://localhost:{house.port}/alice/open.git<" in stranger.get(public["repo"]).text
    with browsing(house, house.add_user("carol")) as signed_in:
        assert "Run again" in signed_in.get(public["run"]).text


def test_a_stranger_changes_nothing(stranger: httpx.Client, public: dict[str, str]) -> None:
    for path in (f"{public['run']}/again", f"{public['run']}/cancel", f"{public['build']}/cancel"):
        answer = stranger.post(path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/signin")
    assert (
        stranger.post(f"{public['repo']}/settings", data={"do": "protect"}).headers["location"] == "/signin"
    )


def test_hidden_and_missing_are_the_same_to_a_stranger(
    house: Service, stranger: httpx.Client, public: dict[str, str], hidden: dict[str, str]
) -> None:
    with house.client("") as program:
        for name, path in hidden.items():
            missing = re.sub(r"/\d+", "/999999", path).replace("/hidden", "/none")
            for client in (stranger, program):
                answers = [client.get(each) for each in (path, missing)]
                seen = [(each.status_code, each.text, each.headers.get("location", "")) for each in answers]
                assert seen[0][0] in (303, 401), name
                assert seen[0] == (*seen[1][:2], seen[1][2].replace(missing, path)), name
            assert stranger.get(path).headers["location"] == f"/signin?next={path}", name


def test_the_rest_needs_an_account(house: Service, stranger: httpx.Client, public: dict[str, str]) -> None:
    for path in ("/", "/gpus", "/settings/tokens", "/settings/keys", "/alice/open/settings"):
        assert stranger.get(path).headers["location"].startswith("/signin"), path
    for path in ("/gpus", "/runs", public["run"], f"/repos{public['commit'].replace('commit', 'commits')}"):
        assert stranger.get(f"/api/v1{path}").status_code == 401, path


def test_a_wrong_token_is_not_a_stranger_and_an_old_cookie_is(house: Service, public: dict[str, str]) -> None:
    with house.client("hermes_" + "x" * 43) as program:
        assert program.get(public["run log"]).status_code == 401
    with browsing(house, house.token) as client:
        execute(house, "UPDATE token SET expires_at = 1 WHERE scope = 'session'")
        page = client.get(public["run"])
        assert page.status_code == 200 and ">Sign in</a>" in page.text
        assert client.get("/").headers["location"] == "/signin"


def test_a_waiting_run_does_not_tell_strangers_what_is_hidden(house: Service, stranger: httpx.Client) -> None:
    holder = house.push(shell("sleep 600"), "detach", repo="alice/undisclosed")
    held = wait_for(lambda: first_run(house, holder, "running"))
    waiting = house.push(shell("true", "public = true\n"), "detach", repo="alice/waits")
    run = wait_for(lambda: first_run(house, waiting, "queued"))
    with browsing(house, house.token) as owner:
        wait_for(lambda: "held by alice/undisclosed" in owner.get(f"/runs/{run['id']}").text)
    for path in (f"/runs/{run['id']}", f"/alice/waits/commit/{waiting.sha}"):
        text = stranger.get(path).text
        assert "held by alice," in text and "undisclosed" not in text
    with house.client() as client:
        assert client.post(f"/api/v1/runs/{held['id']}/cancel").status_code == 202
    house.settled(waiting)


def first_run(service: Service, pushed: Pushed, state: str) -> dict[str, Any] | None:
    """The run of a push, once it is in this state."""
    return next((run for run in service.commit_page(pushed)["runs"] if run["state"] == state), None)


def test_what_becomes_private_is_gone(house: Service, stranger: httpx.Client) -> None:
    house.push(shell("true", "public = true\n"), repo="alice/changes")
    assert stranger.get("/alice/changes").status_code == 200
    with browsing(house, house.token) as owner:
        answer = owner.post("/alice/changes/settings", data={"do": "visibility", "visibility": "private"})
        assert answer.status_code == 303
    assert stranger.get("/alice/changes").headers["location"] == "/signin?next=/alice/changes"


def test_an_instance_may_show_nothing_without_an_account(closed: Service) -> None:
    found = addresses(closed, closed.push(LEAVES, repo="alice/open"))
    with browsing(closed, "") as stranger:
        for name, path in found.items():
            assert stranger.get(path).headers["location"] == f"/signin?next={path}", name
    with browsing(closed, closed.token) as owner:
        assert all(owner.get(path).status_code == 200 for path in found.values())


def test_an_instance_without_ssh_says_so(closed: Service) -> None:
    with browsing(closed, closed.token) as owner:
        assert "This server has no SSH" in owner.get("/settings/keys").text
        closed.push(LEAVES, repo="alice/open2")
        page = owner.get("/alice/open2").text
        assert "alice@localhost" in page and "ssh://" not in page
