"""`hermes github`, the API and the page behind it: one webhook however often, a token that is never shown,
and for everything that is wrong the next step."""

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.access_tools import browsing, open_house, stored
from tests.person import Person, signed_in
from tests.service import Service
from tests.stand_in_forge import Forge, There, forging

TOKEN = "github_pat_never-shown-again"
EVENTS = ["push", "pull_request", "issue_comment", "release"]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The instance of these tests."""
    settings = {"HERMES_CALLBACK_NETWORKS": "127.0.0.0/8,::1", "HERMES_UPSTREAM_POLL": "0"}
    yield from open_house(tmp_path_factory.mktemp("house"), **settings)


@pytest.fixture(scope="module")
def bob(house: Service) -> str:
    """The token of another user."""
    return house.add_user("bob")


@pytest.fixture
def alice(house: Service, tmp_path: Path) -> Person:
    """At her own machine."""
    return signed_in(house, tmp_path / "alice")


@pytest.fixture
def forge() -> Iterator[Forge]:
    with forging() as one:
        one.tokens[TOKEN] = None
        yield one


@pytest.fixture
def there(forge: Forge) -> There:
    return forge.add("Octo/Pi")


def connect(alice: Person, forge: Forge, *more: str, name: str = "octo/pi", token: str = TOKEN) -> str:
    """It goes well."""
    words = ("github", "connect", name, "--url", forge.url, *more)
    return alice.ok(*words, *(("--token-file", "-") if token else ()), stdin=token.encode() or None)


def fails(alice: Person, *words: str, token: str = TOKEN) -> str:
    """What is said; nothing is on stdout."""
    done = alice.hermes("github", *words, "--token-file", "-", stdin=token.encode())
    assert done.returncode == 1 and not done.stdout, done
    said = done.stderr.decode()
    assert "Traceback" not in said and TOKEN not in said
    return said


def put(house: Service, repo: str, by: str = "", **body: Any) -> httpx.Response:
    with house.client(by or house.token) as client:
        return client.put(f"/api/v1/repos/{repo}/upstream", json=body)


def everything_kept(house: Service) -> str:
    """The database as it is on disk, and what the service has said."""
    kept = ""
    for path in house.data.glob("hermes.db*"):
        with suppress(FileNotFoundError):  # what SQLite keeps beside it comes and goes
            kept += path.read_bytes().decode("latin-1")
    return kept + house.log


def test_one_command_sets_up_all_of_it_and_again_brings_it_up_to_date(
    house: Service, alice: Person, forge: Forge, there: There
) -> None:
    said = connect(alice, forge)
    address = f"http://localhost:{house.port}/webhooks/github/alice/pi"
    assert f"alice/pi follows {forge.url}/Octo/Pi\n" in said  # as it is written there
    assert f"its webhook is made: {address}" in said and "results go back as commit statuses" in said
    (hook,) = there.hooks
    assert hook["config"]["url"] == address and hook["events"] == EVENTS and hook["name"] == "web"
    assert len(hook["config"]["secret"]) == 64
    secret = hook["config"]["secret"]
    assert house.api("/repos/alice/pi")["default_branch"] == ""  # it was made
    assert "its webhook is updated" in connect(alice, forge, "--repo", "alice/pi")
    assert "its webhook is updated" in connect(alice, forge, token="")  # with the token that is there
    assert len(there.hooks) == 1 and there.hooks[0]["config"]["secret"] == secret
    assert TOKEN not in everything_kept(house) and secret not in everything_kept(house)
    shown = house.api("/repos/alice/pi/upstream")
    assert shown["has_token"] and shown["reports"] and shown["name"] == "Octo/Pi"
    assert TOKEN not in json.dumps(shown) and secret not in json.dumps(shown)
    with closing(sqlite3.connect(house.data / "hermes.db", timeout=20)) as database:
        query = "SELECT user, detail FROM audit WHERE act = 'upstream connected' AND subject = 'alice/pi'"
        assert database.execute(query).fetchall() == [("alice", f"{forge.url}/{n}") for n in ("Octo/Pi",) * 3]


def test_what_is_followed_is_listed_and_let_go(
    house: Service, alice: Person, forge: Forge, there: There
) -> None:
    connect(alice, forge, "--repo", "alice/listed")
    assert f"alice/listed follows {forge.url}/Octo/Pi" in alice.hermes("github", "status").stdout.decode()
    rows = json.loads(alice.hermes("github", "status", "alice/listed", "--json").stdout)
    assert [row["repo"] for row in rows] == ["alice/listed"]
    said = alice.ok("github", "disconnect", "alice/listed")
    assert f"alice/listed follows {forge.url}/Octo/Pi no more; its webhook is removed at GitHub" in said
    assert not there.hooks
    done = alice.hermes("github", "status", "alice/listed")
    assert done.returncode == 1 and b"hermes github connect OWNER/REPO --repo alice/listed" in done.stderr
    with closing(sqlite3.connect(house.data / "hermes.db", timeout=20)) as database:
        assert not database.execute("SELECT count(*) FROM sealed WHERE name LIKE '%listed%'").fetchone()[0]


def test_by_hand_it_says_each_step(house: Service, alice: Person, forge: Forge, there: There) -> None:
    said = connect(alice, forge, "--by-hand", "--repo", "alice/by-hand", token="")
    assert "its webhook is to be made by hand" in said and "there is no token" in said
    assert f"Payload URL: http://localhost:{house.port}/webhooks/github/alice/by-hand" in said
    assert re.search(r"Secret: [0-9a-f]{64}\n", said) and "Content type: application/json" in said
    assert "Commit statuses" in said and "Pull requests, Pushes, Releases" in said
    assert not forge.asked("POST", "/hooks") and not there.hooks
    again = connect(alice, forge, "--by-hand", "--repo", "alice/by-hand", token="")
    secrets = re.findall(r"Secret: ([0-9a-f]{64})\n", said + again)
    assert len(set(secrets)) == 1  # what was typed there stays good


def test_what_the_token_may_not_do_is_said(house: Service, alice: Person, forge: Forge, there: There) -> None:
    there.permissions = {"admin": False, "push": True, "pull": True}
    done = alice.hermes(
        "github", "connect", "octo/pi", "--url", forge.url, "--repo", "alice/weak", "--token-file", "-",
        stdin=TOKEN.encode(),
    )  # fmt: skip
    said, noted = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == 0 and "its webhook is to be made by hand" in said and "Secret: " in said
    assert "missing: the rights of an admin of octo/pi, which webhooks need" in noted
    assert "the webhook: GitHub shows this token no such thing in Octo/Pi (404: Not Found)" in noted
    assert house.api("/repos/alice/weak/upstream")["reports"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("octo/none", "--url", "{url}"), "no such thing in octo/none (404: Not Found)\n  is the name right"),
        (("octo/pi", "--url", "{url}", "--repo", "alice"), "'alice' is no repository of this server"),
        (("octo/pi", "--url", "{url}", "--repo", "bob/pi"), "there is no repository bob/pi that you may see"),
        (("octo", "--url", "{url}"), "'octo' is no repository there\n  for example octocat/hello-world"),
        (("octo/pi", "--url", "forge"), "'forge' is no address of a forge"),
        (("octo/pi", "--kind", "gitea"), "where is this gitea?\n  for example https://forge.example.org"),
        (("octo/pi", "--url", "http://10.0.0.1"), "10.0.0.1 is not on the public internet"),
        (("octo/pi", "--url", "http://localhost:1"), "GitHub does not answer: "),
        (("octo/pi", "--url", "http://me:pw@forge"), "an address of a forge has no user and password"),
    ],
)
def test_what_is_wrong_is_said_with_the_next_step(
    house: Service, alice: Person, forge: Forge, there: There, words: tuple[str, ...], expected: str
) -> None:
    before = [each["name"] for each in house.api("/repos")["repos"]]
    said = fails(alice, "connect", *(word.format(url=forge.url) for word in words))
    assert expected in said, said
    assert [each["name"] for each in house.api("/repos")["repos"]] == before


def test_a_forge_that_did_not_answer_a_moment_ago_is_asked_again(
    house: Service, alice: Person, forge: Forge, there: There
) -> None:
    forge.fails = [503]
    assert "has a fault (503" in fails(alice, "connect", "octo/pi", "--url", forge.url)
    assert "no such thing in octo/none" in fails(alice, "connect", "octo/none", "--url", forge.url)


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("", "there is no token in it"),
        ("two words", "that is no token"),
        ("github_pat_wrong", "does not take the token (401: Bad credentials)\n  make a new one"),
    ],
)
def test_a_token_that_is_wrong(alice: Person, forge: Forge, there: There, token: str, expected: str) -> None:
    assert expected in fails(alice, "connect", "octo/pi", "--url", forge.url, token=token)


def test_only_who_may_write_connects(house: Service, forge: Forge, there: There, bob: str) -> None:
    stored(house, "alice/mine")
    wish = {"name": "octo/pi", "url": forge.url, "token": TOKEN}
    assert put(house, "alice/mine", bob, **wish).status_code == 404
    assert put(house, "alice/another", bob, **wish).status_code == 404
    assert not forge.calls  # who may not has us ask nobody
    odd = put(house, "alice/mine", name="octo/pi", token=["x" * 30])
    assert odd.status_code == 400 and "xxx" not in odd.text and "token" in odd.text
    assert put(house, "alice/mine", **wish).status_code == 200
    with house.client(bob) as client:
        assert client.get("/api/v1/repos/alice/mine/upstream").status_code == 404
        assert client.delete("/api/v1/repos/alice/mine/upstream").status_code == 404
        assert client.get("/api/v1/upstreams").json() == {"upstreams": []}


def test_another_place_has_nothing_of_the_one_before(house: Service, forge: Forge, there: There) -> None:
    forge.add("octo/other")
    made = put(house, "alice/moves", name="octo/pi", url=forge.url, token=TOKEN)
    assert made.json()["webhook"] == "made"
    secret = there.hooks[0]["config"]["secret"]
    moved = put(house, "alice/moves", name="octo/other", url=forge.url).json()
    assert (moved["has_token"], moved["reports"], moved["webhook"]) == (False, False, "by hand")
    assert moved["secret"] and moved["secret"] != secret and not there.hooks


def test_the_page_does_the_same(house: Service, forge: Forge, there: There, bob: str) -> None:
    stored(house, "alice/by-page")
    address = "/alice/by-page/settings/upstream"
    with browsing(house, bob) as client:
        assert client.get(address).status_code == 404
    with browsing(house, house.token) as client:
        assert "/alice/by-page/settings/upstream" in client.get("/alice/by-page/settings").text
        form = {"do": "connect", "name": "octo/none", "kind": "github", "url": forge.url, "token": TOKEN}
        wrong = client.post(address, data=form)
        assert wrong.status_code == 400 and 'role="alert"' in wrong.text and "octo/none" in wrong.text
        made = client.post(address, data=form | {"name": "octo/pi"})
        assert made.status_code == 200 and "its webhook is made" in made.text
        again = client.post(address, data=form | {"name": "octo/pi", "token": "", "by_hand": "on"})
        assert again.status_code == 200 and there.hooks[0]["config"]["secret"] in again.text
        for page in (wrong, made, again):
            assert TOKEN not in page.text
        assert "Follows" in client.get("/alice/by-page/settings").text
        gone = client.post(address, data={"do": "disconnect"})
        assert gone.status_code == 200 and "its webhook is removed at GitHub" in gone.text
        assert not there.hooks and client.post(address, data={"do": "what"}).status_code == 400
