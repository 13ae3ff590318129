"""`hermes admin` for access: tokens, keys, repositories; words for people, JSON for programs, git obeys."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hermes.cli.commands import hermes
from hermes.errors import UserError
from tests.access_tools import execute, may_fetch, open_house, push_again, stored
from tests.programs import git
from tests.service import Service, wait_for
from tests.ssh import Person, make_key

COMMANDS = """token list|token revoke|key|key add|key list|key remove|repo|repo list|repo show|repo protect
repo unprotect|repo public|repo private
repo default-branch|repo collaborator|repo collaborator add|repo collaborator remove
gpu|gpu list|gpu release|backup|restore|retention"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The instance of these tests; it runs while the operator works on it."""
    yield from open_house(tmp_path_factory.mktemp("house"))


@pytest.fixture(scope="module")
def bob(house: Service) -> str:
    """The token of another user."""
    return house.add_user("bob")


def use(service: Service, *words: str) -> Result:
    """The command in this process: what starting another costs, a hundred times, is left out."""
    return CliRunner().invoke(hermes, ["admin", *words], env=service.environment(), prog_name="hermes")


def admin(service: Service, *words: str) -> str:
    """What a command says; it must go well."""
    done = use(service, *words)
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout


def listed(service: Service, *words: str) -> Any:
    """The same for programs."""
    return json.loads(admin(service, *words, "--json"))


@pytest.mark.parametrize("command", re.split(r"[|\n]", COMMANDS))
def test_every_command_explains_itself(command: str) -> None:
    shown = CliRunner().invoke(hermes, ["admin", *command.split(), "--help"], prog_name="hermes")
    assert shown.exit_code == 0
    assert shown.output.startswith(f"Usage: hermes admin {command} ")
    assert "." in shown.output.split("\n\n")[1]


WRONG: list[tuple[str, str]] = [
    ("token add bob --scope write", "'write' is not one of 'all', 'push', 'read'"),
    ("token add bob --days 0", "0 is not in the range 1<=x<=36500"),
    ("token add bob --name ''", "a token needs a name of 1 to 100 characters"),
    ("token add bob --repo alice/none", "there is no repository 'alice/none'\n  hermes admin repo list"),
    ("token add bob --repo alice/known", "bob may not see alice/known, so no token of theirs may"),
    ("token add alice --repo alice/known --scope all", "a deploy token is for push or read, not for 'all'"),
    ("token list nobody", "there is no user 'nobody'\n  hermes admin user add nobody"),
    ("token revoke bob 999", "bob has no token 999\n  hermes admin token list bob"),
    ("token revoke bob first", "'first' is not a valid integer"),
    ("key add bob /dev/null", "this is not a public key of OpenSSH"),
    ("key add bob /no/such/file", "No such file or directory"),
    ("key remove bob 999", "bob has no key 999\n  hermes admin key list bob"),
    ("repo show known", "there is no repository 'known'\n  hermes admin repo list"),
    ("repo protect alice/none", "there is no repository 'alice/none'"),
    ("repo default-branch alice/known none", "there is no branch 'none'\n  push it first: git push gpu none"),
    ("repo collaborator add alice/known eve", "there is no user 'eve'"),
    ("repo collaborator add alice/known alice", "alice is the owner"),
    ("repo collaborator add alice/known bob --role admin", "'admin' is not one of 'read', 'write'"),
    ("repo collaborator remove alice/known bob", "'bob' is not a collaborator"),
]


def test_wrong_use_is_told_in_words(house: Service, bob: str) -> None:
    stored(house, "alice/known")

    for command, words in WRONG:
        done = use(house, *["" if word == "''" else word for word in command.split()])
        assert done.exit_code != 0 and done.stdout == "", command
        said = done.stderr
        if isinstance(done.exception, UserError):  # main() makes it a clear line: tests/test_cli.py
            said = f"{done.exception}\n  {done.exception.hint}"
        assert words in said, (command, said)


def test_tokens_have_a_scope_and_a_life_and_an_end(house: Service) -> None:
    tree = stored(house, "alice/scoped").tree
    secret = admin(
        house, "token", "add", "alice", "--name", "mirror", "--scope", "read", "--days", "2"
    ).strip()
    assert may_fetch(house, "alice/scoped", secret, "alice")
    assert push_again(house, tree, "alice/scoped", secret, "alice").code != 0

    def used() -> Any:
        """It, once its use is noted: not where that would keep somebody waiting for more than a moment."""
        assert may_fetch(house, "alice/scoped", secret, "alice")
        found = listed(house, "token", "list", "alice")[0]
        return found if found["last_used_at"] else None

    token = wait_for(used)
    assert (token["name"], token["scope"], token["repo"]) == ("mirror", "read", None)
    assert token["expires_at"] == pytest.approx(token["created_at"] + 2 * 86400)
    assert token["last_used_at"] >= token["created_at"]
    line = admin(house, "token", "list", "alice").splitlines()[0]
    assert re.fullmatch(r" +\d+  read     until \d{4}-\d\d-\d\d  used \d{4}-\d\d-\d\d  mirror", line)
    assert (
        admin(house, "token", "revoke", "alice", str(token["id"]))
        == f"token {token['id']} of alice revoked\n"
    )
    assert not may_fetch(house, "alice/scoped", secret, "alice")
    assert token["id"] not in [each["id"] for each in listed(house, "token", "list", "alice")]


def test_an_expired_token_is_neither_taken_nor_listed(house: Service) -> None:
    stored(house, "alice/expires")
    secret = admin(house, "token", "add", "alice", "--name", "short", "--days", "1").strip()
    assert may_fetch(house, "alice/expires", secret, "alice")
    execute(house, "UPDATE token SET expires_at = created_at - 1 WHERE name = 'short'")
    assert not may_fetch(house, "alice/expires", secret, "alice")
    assert "short" not in admin(house, "token", "list", "alice")


def test_a_deploy_token_works_only_where_it_is_for(house: Service) -> None:
    tree = stored(house, "alice/deployed").tree
    stored(house, "alice/other")
    make = ("token", "add", "alice", "--repo", "alice/deployed", "--name")
    reads, pushes = admin(house, *make, "reads").strip(), admin(house, *make, "ci", "--scope", "push").strip()
    assert may_fetch(house, "alice/deployed", reads, "anybody")
    assert push_again(house, tree, "alice/deployed", reads, "anybody").code != 0
    assert push_again(house, tree, "alice/deployed", pushes, "anybody").code == 0
    assert not may_fetch(house, "alice/other", pushes, "anybody")
    with house.client(pushes) as client:
        assert client.get("/api/v1/gpus").status_code == 401
    assert [each["repo"] for each in listed(house, "token", "list", "alice")][:2] == ["alice/deployed"] * 2
    shown = listed(house, "repo", "show", "alice/deployed")["deploy_tokens"]
    assert [(each["name"], each["scope"], each["user"]) for each in shown] == [
        ("ci", "push", "alice"),
        ("reads", "read", "alice"),
    ]
    assert re.search(
        r"deploy tokens +\d+ ci \(push, of alice, until revoked\)\n",
        admin(house, "repo", "show", "alice/deployed"),
    )


def test_keys_are_added_listed_and_removed(house: Service, bob: str, tmp_path: Path) -> None:
    stored(house, "alice/keyed")
    person = Person(house, make_key(tmp_path), "alice")
    made = admin(house, "key", "add", "alice", f"{person.key}.pub", "--name", "desk")
    fingerprint = made.split()[0]
    assert made == f"{fingerprint} (desk) signs alice in over SSH\n"

    def used() -> Any:
        """The same of a key."""
        assert person.git("ls-remote", person.url("keyed")).returncode == 0
        found = listed(house, "key", "list", "alice")[0]
        return found if found["last_used_at"] else None

    key = wait_for(used)
    assert (key["fingerprint"], key["name"]) == (fingerprint, "desk")
    line = admin(house, "key", "list", "alice")
    assert re.fullmatch(rf" +\d+  {re.escape(fingerprint)}  used \d{{4}}-\d\d-\d\d  desk\n", line)
    number = str(key["id"])
    assert "is in use already" in str(use(house, "key", "add", "bob", f"{person.key}.pub").exception)
    assert use(house, "key", "remove", "bob", number).exit_code != 0
    assert admin(house, "key", "remove", "alice", number) == f"key {number} of alice removed\n"
    assert person.git("ls-remote", person.url("keyed")).returncode != 0


def test_collaborators_and_protection_are_obeyed_by_git(house: Service, bob: str) -> None:
    tree = stored(house, "alice/team").tree
    role = ("repo", "collaborator", "add", "alice/team", "bob")
    assert admin(house, *role) == "alice/team: bob may read\n"
    assert may_fetch(house, "alice/team", bob, "bob")
    assert push_again(house, tree, "alice/team", bob, "bob").code != 0
    assert admin(house, *role, "--role", "write") == "alice/team: bob may write\n"
    assert push_again(house, tree, "alice/team", bob, "bob").code == 0
    admin(house, "repo", "protect", "alice/team")
    tree.git("commit", "-q", "--amend", "--allow-empty", "-m", "another history")
    assert "protected" in house.push(tree, repo="alice/team", refs=("+HEAD:main",)).output
    shown = admin(house, "repo", "show", "alice/team")
    assert re.search(r"^  protected +default branch and tags$", shown, re.MULTILINE)
    assert re.search(r"^  collaborators +bob \(write\)$", shown, re.MULTILINE)
    admin(house, "repo", "unprotect", "alice/team")
    assert house.push(tree, repo="alice/team", refs=("+HEAD:main",)).code == 0
    admin(house, "repo", "collaborator", "remove", "alice/team", "bob")
    assert push_again(house, tree, "alice/team", bob, "bob").code != 0
    assert listed(house, "repo", "show", "alice/team")["collaborators"] == []


def test_the_default_branch_is_what_a_clone_checks_out(house: Service, tmp_path: Path) -> None:
    tree = stored(house, "alice/trunk").tree
    house.push(tree, repo="alice/trunk", refs=("HEAD:trunk",))
    said = admin(house, "repo", "default-branch", "alice/trunk", "trunk")
    assert said == "alice/trunk: the default branch is trunk\n"
    done = git(house, "clone", "-q", f"{house.url}/alice/trunk.git", str(tmp_path / "copy"))
    assert done.returncode == 0, done.stderr
    assert git(house, "-C", str(tmp_path / "copy"), "branch", "--show-current").stdout == "trunk\n"
    found = {each["name"]: each for each in listed(house, "repo", "list")}
    assert found["alice/trunk"]["default_branch"] == "trunk"
    assert listed(house, "repo", "show", "alice/trunk")["branches"] == ["main", "trunk"]
    line = next(line for line in admin(house, "repo", "list").splitlines() if "alice/trunk" in line)
    assert re.fullmatch(r"alice/trunk +\d{4}-\d\d-\d\d  trunk", line)
