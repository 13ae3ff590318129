"""Settings by real HTTP, their effect by real git: who may do what, with which token, to which branch."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.access_tools import browsing, execute, may_fetch, open_house, push_again, secret_of, stored
from tests.programs import git
from tests.service import Service
from tests.ssh import make_key, public

HOSTILE = "<script>alert(1)</script> & {{7*7}} \"'"
AGO = r"(?:just now|\d+ [sm] ago)"
ESCAPED = "&lt;script&gt;alert(1)&lt;/script&gt; &amp; {{7*7}} &#34;&#39;"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The instance of these tests."""
    yield from open_house(tmp_path_factory.mktemp("house"))


@pytest.fixture(scope="module")
def bob(house: Service) -> str:
    """The token of another user."""
    return house.add_user("bob")


@pytest.fixture
def owner(house: Service) -> Iterator[httpx.Client]:
    """Alice at her browser."""
    with browsing(house, house.token) as client:
        yield client


def ask(client: httpx.Client, repo: str, do: str, **fields: str) -> httpx.Response:
    """Send a form of a repository's settings."""
    return client.post(f"/{repo}/settings", data={"do": do, **fields})


def saved(answer: httpx.Response) -> None:
    """It went well."""
    assert answer.status_code == 303, answer.text
    assert "/settings?done=" in answer.headers["location"]


def said(answer: httpx.Response) -> str:
    """What is wrong with a form, as its page says."""
    assert answer.status_code in (400, 404), answer.text
    return re.sub(r"<[^>]+>", " ", answer.text.partition('role="alert"')[2].partition("</p>")[0])


# ---- who may


def test_settings_are_for_the_owner_and_admins_alone(house: Service, bob: str) -> None:
    stored(house, "alice/mine")
    admin = house.admin("user", "add", "root", "--admin").stdout.strip()
    with browsing(house, admin) as client:
        assert client.get("/alice/mine/settings").status_code == 200
        saved(ask(client, "alice/mine", "set-collaborator", user="bob", role="write"))
    with browsing(house, bob) as client:
        page = client.get("/alice/mine").text
        assert set(re.findall(r"/alice/mine/settings[^\"]*", page)) == {"/alice/mine/settings/notifications"}
        assert '"/alice/mine/settings"' not in client.get("/alice/mine/settings/notifications").text
        for answer in (
            client.get("/alice/mine/settings"),
            ask(client, "alice/mine", "protect", protected="on"),
        ):
            assert answer.status_code == 404
        house.admin("repo", "collaborator", "remove", "alice/mine", "bob")
        for do in ("protect", "default-branch", "set-collaborator", "make-token", "no-such-form"):
            hidden, missing = (
                ask(client, "alice/mine", do, user="bob"),
                ask(client, "alice/none", do, user="bob"),
            )
            assert hidden.status_code == missing.status_code == 404
            assert hidden.text.replace("alice/mine", "alice/none") == missing.text
    with browsing(house, "") as nobody:
        for repo in ("alice/mine", "alice/none"):
            answer = nobody.get(f"/{repo}/settings")
            assert answer.headers["location"] == f"/signin?next=/{repo}/settings"
            assert ask(nobody, repo, "protect").headers["location"] == "/signin"


def test_forms_of_other_sites_are_refused(owner: httpx.Client) -> None:
    for path in ("/settings/keys", "/settings/tokens", "/settings/keys/1/remove", "/alice/mine/settings"):
        for header in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            assert owner.post(path, headers=header, data={"name": "x"}).status_code == 403, path


def test_a_collaborator_may_what_the_role_says(house: Service, bob: str, owner: httpx.Client) -> None:
    tree = stored(house, "alice/shared").tree
    assert not may_fetch(house, "alice/shared", bob, "bob")
    saved(ask(owner, "alice/shared", "set-collaborator", user="bob", role="read"))
    assert may_fetch(house, "alice/shared", bob, "bob")
    refused = push_again(house, tree, "alice/shared", bob, "bob")
    assert refused.code != 0 and "you may read alice/shared, but not push to it" in refused.output
    saved(ask(owner, "alice/shared", "set-collaborator", user="bob", role="write"))
    assert push_again(house, tree, "alice/shared", bob, "bob").code == 0
    saved(ask(owner, "alice/shared", "remove-collaborator", user="bob"))
    refused = push_again(house, tree, "alice/shared", bob, "bob")
    assert refused.code != 0 and "there is no repository alice/shared" in refused.output
    assert not may_fetch(house, "alice/shared", bob, "bob")


# ---- tokens


def test_a_token_may_what_its_scope_says(house: Service, owner: httpx.Client) -> None:
    tree = stored(house, "alice/scopes").tree
    reads, pushes = (
        secret_of(owner.post("/settings/tokens", data={"name": scope, "scope": scope}))
        for scope in ("read", "push")
    )
    assert may_fetch(house, "alice/scopes", reads, "alice")
    refused = push_again(house, tree, "alice/scopes", reads, "alice")
    assert refused.code != 0 and "this token is only for fetching" in refused.output
    assert push_again(house, tree, "alice/scopes", pushes, "alice").code == 0
    for secret in (reads, pushes):
        with house.client(secret) as client:
            assert client.get("/api/v1/gpus").status_code == 401
            assert client.post("/signin", data={"token": secret}).status_code == 401


def test_a_token_ends_when_its_time_is_over(house: Service, owner: httpx.Client) -> None:
    stored(house, "alice/times")
    secret = secret_of(owner.post("/settings/tokens", data={"name": "for a month", "life": "30"}))
    assert may_fetch(house, "alice/times", secret, "alice")
    page = owner.get("/settings/tokens").text
    assert re.search(rf"for a month.*?everything you may do.*?{AGO}.*?{AGO}.*?\d{{4}}-\d\d-\d\d", page, re.S)
    execute(house, "UPDATE token SET expires_at = created_at - 1 WHERE name = 'for a month'")
    assert not may_fetch(house, "alice/times", secret, "alice")
    assert "for a month" not in owner.get("/settings/tokens").text


def test_a_deploy_token_opens_one_repository_to_git_and_nothing_else(
    house: Service, owner: httpx.Client
) -> None:
    tree = stored(house, "alice/deployed").tree
    stored(house, "alice/other")
    make = {"repo": "alice/deployed", "do": "make-token", "life": "90"}
    pushes = secret_of(ask(owner, **make, name="cluster", scope="push"))
    reads = secret_of(ask(owner, **make, name="mirror", scope="read"))
    for user in ("alice", "any-name", "x"):
        assert may_fetch(house, "alice/deployed", reads, user)
        assert not may_fetch(house, "alice/other", reads, user)
        assert push_again(house, tree, "alice/deployed", pushes, user).code == 0
    assert push_again(house, tree, "alice/deployed", reads, "x").code != 0
    assert push_again(house, tree, "alice/other", pushes, "x").code != 0
    assert push_again(house, tree, "alice/not-there-yet", pushes, "alice").code != 0
    with house.client(pushes) as client:
        assert client.get("/api/v1/gpus").status_code == 401
        assert client.post("/signin", data={"token": pushes}).status_code == 401
    page = owner.get("/alice/deployed/settings").text
    assert pushes not in page and "cluster" in page and "cluster" not in owner.get("/settings/tokens").text
    number = re.findall(r'name="token" value="(\d+)"', page)[1]
    assert ask(owner, "alice/other", "revoke-token", token=number).status_code == 404
    saved(ask(owner, "alice/deployed", "revoke-token", token=number))
    assert not may_fetch(house, "alice/deployed", pushes, "x")
    assert may_fetch(house, "alice/deployed", reads, "x")


# ---- keys


def test_a_key_belongs_to_who_added_it(house: Service, bob: str, owner: httpx.Client, tmp_path: Path) -> None:
    line = public(make_key(tmp_path))
    assert owner.post("/settings/keys", data={"key": line, "name": "desk"}).status_code == 303
    page = owner.get("/settings/keys").text
    number = re.findall(r"/settings/keys/(\d+)/remove", page)[0]
    with browsing(house, bob) as other:
        assert other.post(f"/settings/keys/{number}/remove").status_code == 404
        assert "desk" not in other.get("/settings/keys").text
        assert "is in use already" in said(other.post("/settings/keys", data={"key": line}))
    assert "desk" in owner.get("/settings/keys").text
    assert owner.post(f"/settings/keys/{number}/remove").status_code == 303
    assert "desk" not in owner.get("/settings/keys").text


def test_what_is_no_public_key_is_refused_and_never_shown(owner: httpx.Client, tmp_path: Path) -> None:
    private = make_key(tmp_path).read_text()
    wrong = {
        private: "this is a private key: it must never leave your machine",
        "ssh-ed25519 AAAA": "this is not a public key of OpenSSH",
        "é\0": "this is not a public key of OpenSSH",
        public(
            make_key(tmp_path, "-t", "rsa", "-b", "1024", name="weak")
        ): "an RSA key needs at least 2048 bits",
    }
    for text, words in wrong.items():
        answer = owner.post("/settings/keys", data={"key": text, "name": "kept as typed"})
        assert words in said(answer)
        assert 'value="kept as typed"' in answer.text
        assert private.splitlines()[1] not in answer.text


def test_the_page_shows_how_to_clone_and_the_key_of_the_server(house: Service, owner: httpx.Client) -> None:
    page = owner.get("/settings/keys").text
    assert f"git clone ssh://git@localhost:{house.ssh_port}/alice/my-project.git" in page
    host_key = str(house.data / "ssh_host_ed25519_key.pub")
    listed = git(house, "-c", "alias.keygen=!ssh-keygen", "keygen", "-lf", host_key).stdout
    assert listed.split()[1] in page
    stored(house, "alice/addresses")
    page = owner.get("/alice/addresses").text
    assert f"git remote add gpu http://alice@localhost:{house.port}/alice/addresses.git" in page
    assert f"git remote add gpu ssh://git@localhost:{house.ssh_port}/alice/addresses.git" in page


# ---- what is protected, what is checked out


def test_protection_refuses_force_and_delete_and_is_lifted_again(house: Service, owner: httpx.Client) -> None:
    pushed = stored(house, "alice/guarded")
    tree = pushed.tree
    tree.git("tag", "v1")
    assert house.push(tree, repo="alice/guarded", refs=("v1",)).code == 0
    saved(ask(owner, "alice/guarded", "protect", protected="on"))
    assert push_again(house, tree, "alice/guarded", house.token, "alice").code == 0
    assert house.push(tree, repo="alice/guarded", refs=("HEAD:side", "HEAD:refs/tags/v2")).code == 0
    tree.git("commit", "-q", "--amend", "--allow-empty", "-m", "another history")
    forbidden = [("+HEAD:main",), (":main",), ("+HEAD:refs/tags/v1",), (":refs/tags/v1",)]
    for refs in forbidden:
        refused = house.push(tree, repo="alice/guarded", refs=refs)
        assert refused.code != 0 and "protected" in refused.output, refs
    assert house.push(tree, repo="alice/guarded", refs=("+HEAD:side",)).code == 0
    saved(ask(owner, "alice/guarded", "protect"))
    for refs in forbidden:
        allowed = house.push(tree, repo="alice/guarded", refs=refs)
        assert allowed.code == 0, (refs, allowed.output)


def test_a_clone_checks_out_the_default_branch(house: Service, owner: httpx.Client, tmp_path: Path) -> None:
    tree = stored(house, "alice/branched").tree
    tree.commit("on the side")
    house.push(tree, repo="alice/branched", refs=("HEAD:side/way",))
    offered = re.findall(r"<option (selected)?>([^<]+)", owner.get("/alice/branched/settings").text)
    assert offered[:2] == [("selected", "main"), ("", "side/way")]
    saved(ask(owner, "alice/branched", "default-branch", branch="side/way"))
    done = git(house, "clone", "-q", f"{house.url}/alice/branched.git", str(tmp_path / "copy"))
    assert done.returncode == 0, done.stderr
    assert git(house, "-C", str(tmp_path / "copy"), "branch", "--show-current").stdout == "side/way\n"
    for branch in ("", "none", "../x", "refs/heads/main"):
        assert "there is no branch" in said(ask(owner, "alice/branched", "default-branch", branch=branch))


# ---- wrong and hostile words

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"do": "set-collaborator", "user": "eve", "role": "read"}, "there is no user 'eve'"),
    ({"do": "set-collaborator", "user": "alice", "role": "read"}, "alice is the owner"),
    ({"do": "set-collaborator", "user": "bob", "role": "admin"}, "a collaborator's role is read or write"),
    ({"do": "set-collaborator", "user": HOSTILE, "role": "read"}, "cannot be the name of a user"),
    ({"do": "set-collaborator", "user": "a\0b"}, "cannot be the name of a user"),
    ({"do": "set-collaborator"}, "cannot be the name of a user"),
    ({"do": "remove-collaborator", "user": "bob"}, "'bob' is not a collaborator"),
    ({"do": "make-token", "name": "", "scope": "read"}, "a token needs a name of 1 to 100 characters"),
    ({"do": "make-token", "name": "x", "scope": "all"}, "a deploy token is for push or read, not for"),
    ({"do": "make-token", "name": "x", "scope": "session"}, "a deploy token is for push or read, not for"),
    ({"do": "make-token", "name": "x", "life": "1e9"}, "a token lives as long as one of the list"),
    ({"do": "revoke-token", "token": "99999"}, "there is no such deploy token of this repository"),
]


@pytest.mark.parametrize(("fields", "words"), WRONG, ids=[str(number) for number in range(len(WRONG))])
def test_a_wrong_form_is_told_where_it_stands(
    house: Service, bob: str, owner: httpx.Client, fields: dict[str, str], words: str
) -> None:
    if owner.get("/alice/wrong").status_code == 404:
        stored(house, "alice/wrong")
    answer = owner.post("/alice/wrong/settings", data=fields)
    assert words.replace("'", "&#39;") in said(answer)
    assert "<script>" not in answer.text
    assert owner.post("/alice/wrong/settings", data={"do": "no-such"}).status_code == 400


def test_a_token_of_the_own_page_has_a_known_scope_and_life(owner: httpx.Client) -> None:
    for fields in ({"scope": "session"}, {"scope": "admin"}, {"life": "-1"}, {"life": "31"}):
        assert owner.post("/settings/tokens", data={"name": "x", **fields}).status_code == 400


def test_strangers_words_are_shown_literally(house: Service, owner: httpx.Client, tmp_path: Path) -> None:
    stored(house, "alice/hostile")
    line = public(make_key(tmp_path))
    assert owner.post("/settings/keys", data={"key": line, "name": HOSTILE}).status_code == 303
    secret_of(owner.post("/settings/tokens", data={"name": HOSTILE}))
    secret_of(ask(owner, "alice/hostile", "make-token", name=HOSTILE))
    again = owner.post("/settings/tokens", data={"name": HOSTILE, "scope": HOSTILE})
    pages = [
        owner.get(path).text for path in ("/settings/keys", "/settings/tokens", "/alice/hostile/settings")
    ]
    for text in (*pages, again.text):
        assert ESCAPED in text and "<script>alert" not in text
        assert not re.search(r"<[^>]+\s(style|on\w+)=", text)
