"""Secrets from the form to the program, and nowhere else: in no log, file, page, answer or command line."""

import base64
import re
import shutil
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from docker.errors import NotFound

from hermes.executors.engine import connect
from tests.access_tools import browsing, execute, open_house
from tests.files import found_in
from tests.leftovers import containers
from tests.programs import command_lines, go_on, shell, told
from tests.service import Pushed, Service, living, wait_for
from tests.test_adoption import kill_runner

VALUE = "Zq7$tr0ng'word\"&with/odd+signs"
LINES = "first line of it\n{\nthe last line"
#: Five ways, and one in two writes; the values of these tests are in no file of the repository.
PRINTS = """
v=$API_TOKEN
echo "plain $v in a line"
printf '%s' "$v" | base64
printf 'u:%s' "$v" | base64 -w 0; echo
printf '%s' "$v" | od -An -v -tx1 | tr -d ' \\n'; echo
printf '{"token": "%s"}\\n' "$(printf '%s' "$v" | sed 's/["\\\\]/\\\\&/g')"
echo "$DEPLOY_KEY"
printf %s "${v%?????????}"; sleep 0.1; echo "${v#"${v%?????????}"}"
echo "$v" >&2
echo asked; printf Zq
"""
ANSWERS = 'echo "${v#Zq}"'  # when it is told to
PIECES = 200
PIECE = """
for i in $(seq {first} {last}); do
    printf '%s %s' $i "$begins"; sleep 0.01; echo "${{v#"$begins"}}"
done
"""
SHOWS = 'echo token=${API_TOKEN:-none}; test -z "$API_TOKEN" || echo it has ${#API_TOKEN} bytes'


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """With the local executor."""
    yield from open_house(tmp_path_factory.mktemp("local"), HERMES_TRUST="all", HERMES_CPUS="8")


@pytest.fixture(scope="module")
def docker(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    env = {"HERMES_EXECUTOR": "docker", "HERMES_CPUS": "8", "HERMES_POLL": "1s"}
    with living(Service(tmp_path_factory.mktemp("docker"), env)) as one:
        yield one


def put(house: Service, where: str, name: str, value: str, *branches: str, token: str = "") -> httpx.Response:
    """`where`: owner/name, or `user`."""
    path = "user" if where == "user" else f"repos/{where}"
    with house.client(token or house.token) as client:
        body = {"value": value, "branches": list(branches)}
        return client.put(f"/api/v1/{path}/secrets/{name}", json=body)


def make(house: Service, where: str, name: str, value: str, *branches: str, token: str = "") -> None:
    answer = put(house, where, name, value, *branches, token=token)
    assert answer.status_code == 201, answer.text


def log_of(house: Service, pushed: Pushed) -> str:
    return house.read_log("runs", house.run_of(pushed)["id"]).decode()


def again(house: Service, run_id: int, token: str = "") -> str:
    """The log of the same run once more."""
    with house.client(token or house.token) as client:
        answer = client.post(f"/api/v1/runs/{run_id}/again")
    assert answer.status_code == 201, answer.text
    fresh = answer.json()["id"]
    wait_for(lambda: house.api(f"/runs/{fresh}")["state"] in ("succeeded", "failed", "lost"))
    return house.read_log("runs", fresh).decode()


def stored(house: Service, repo: str, files: dict[str, str | bytes]) -> Pushed:
    """A repository whose main branch is pushed, and nothing started."""
    pushed = house.push(files, "skip", repo=repo)
    assert pushed.code == 0, pushed.output
    return pushed


# ---- masked


@pytest.mark.parametrize("where", ["docker", "local"])
def test_a_program_prints_its_secret_and_only_stars_are_seen(
    where: str, request: pytest.FixtureRequest
) -> None:
    house: Service = request.getfixturevalue(where)
    script, files = told(PRINTS, ANSWERS)
    files["Makefile"] = 'all:\n\t@echo "built with $${API_TOKEN:-nothing}"\n'
    tree = stored(house, "alice/prints", files).tree
    make(house, "alice/prints", "API_TOKEN", VALUE)
    make(house, "alice/prints", "DEPLOY_KEY", LINES)
    tree.commit("prints")
    pushed = house.push(tree, "detach", repo="alice/prints")
    running = wait_for(
        lambda: [run for run in house.commit_page(pushed)["runs"] if run["state"] == "running"]
    )
    wait_for(lambda: b"Zq" in house.read_log("runs", running[0]["id"]))  # a prompt is seen
    assert not any(VALUE in words for words in command_lines().values())
    encoded = base64.b64encode(VALUE.encode()).decode()[:20]
    assert found_in(house.data, [VALUE, VALUE[2:], LINES.splitlines()[0], encoded]) == []
    go_on(script)
    log = log_of(house, pushed)
    assert VALUE[2:] not in log and "line of it" not in log and "last line" not in log
    masked = ["plain *** in a line", "dTp***M=", '{"token": "***"}', "asked", "Zq***"]
    lines = log.splitlines()  # that of stderr comes when it likes
    assert [line for line in lines if line != "***"] == masked and lines.count("***") == 5, log
    build = house.settled(pushed)["builds"][0]["id"]
    assert b"built with nothing" in house.read_log("builds", build)


def test_a_runner_that_is_killed_does_not_unmask_what_its_program_prints(docker: Service) -> None:
    most = PIECES - 10  # it goes on to its end when its runner has been killed
    before = "v=$API_TOKEN; begins=${v%?????????}" + PIECE.format(first=1, last=most)
    script, files = told(before, PIECE.format(first=most + 1, last=PIECES))
    tree = stored(docker, "alice/adopted", files).tree
    make(docker, "alice/adopted", "API_TOKEN", VALUE)
    tree.commit("runs")
    pushed = docker.push(tree, "detach", repo="alice/adopted")
    running = wait_for(
        lambda: [run for run in docker.commit_page(pushed)["runs"] if run["state"] == "running"]
    )
    wait_for(lambda: len(docker.read_log("runs", running[0]["id"])) > 100)
    kill_runner(docker)
    go_on(script)
    assert log_of(docker, pushed) == "".join(f"{number} ***\n" for number in range(1, PIECES + 1))
    run = docker.run_of(pushed)
    assert [(rank["attempt"], rank["state"]) for rank in docker.api(f"/runs/{run['id']}")["ranks"]] == [
        (1, "succeeded")
    ]


def test_labels_and_command_of_a_container_have_no_secret(docker: Service) -> None:
    """Its variables have: for root, who asks the engine (docs/secrets.md says so)."""
    tree = stored(docker, "alice/inspected", shell("sleep 600")).tree
    make(docker, "alice/inspected", "API_TOKEN", VALUE)
    tree.commit("runs")
    pushed = docker.push(tree, "detach", repo="alice/inspected")
    run = wait_for(lambda: [run for run in docker.commit_page(pushed)["runs"] if run["state"] == "running"])[
        0
    ]
    api: Any = connect(10)
    found = []
    with closing(api):
        for each in containers(docker):
            with suppress(NotFound):  # one of a run that has just ended
                found.append(api.inspect_container(each))
    mine = [each for each in found if f"API_TOKEN={VALUE}" in each["Config"]["Env"]]
    assert len(mine) == 1
    mine[0]["Config"]["Env"] = []
    assert VALUE not in str(mine[0])
    with docker.client() as client:
        client.post(f"/api/v1/runs/{run['id']}/cancel")


# ---- which runs


def test_only_runs_of_what_was_pushed_to_its_branches_get_a_secret(local: Service) -> None:
    tree = stored(local, "alice/branches", shell(SHOWS, '[run]\nenv = { API_TOKEN = "manifest" }\n')).tree
    make(local, "alice/branches", "API_TOKEN", VALUE)
    tree.commit("on a feature branch")
    feature = local.push(tree, repo="alice/branches", refs=("HEAD:feature",))
    assert log_of(local, feature).startswith("token=manifest\n")
    run = local.run_of(feature)["id"]
    assert "token=manifest" in again(local, run)
    tagged = local.push(tree, repo="alice/branches", refs=("HEAD:refs/tags/v1",))
    assert "token=***" not in log_of(local, tagged)
    merged = local.push(tree, repo="alice/branches", refs=("HEAD:main",))
    assert log_of(local, merged) == f"token=***\nit has {len(VALUE)} bytes\n"
    assert "token=***" in again(local, run)  # the same commit is on main now
    assert put(local, "alice/branches", "API_TOKEN", VALUE, "release/*", "next").status_code == 200
    tree.commit("elsewhere")
    seen = [
        log_of(local, local.push(tree, repo="alice/branches", refs=(f"HEAD:{branch}",)))[:9]
        for branch in ("main", "next", "release/1.0", "releases")
    ]
    assert seen == ["token=man", "token=***", "token=***", "token=man"]


def test_only_who_may_write_gets_secrets_into_a_run(local: Service) -> None:
    """A stranger may run a public repository's runs again, with other values: without its secrets."""
    bob = local.add_user("bob")
    local.admin("user", "add", "carol")
    tree = stored(local, "alice/public", shell(SHOWS)).tree
    local.admin("repo", "public", "alice/public", "--yes")
    local.admin("repo", "collaborator", "add", "alice/public", "carol", "--role", "write")
    carol = local.admin("token", "add", "carol").stdout.strip()
    make(local, "alice/public", "API_TOKEN", VALUE)
    tree.commit("by carol")
    pushed = local.push(tree, repo="alice/public", token=carol, user="carol")
    assert "token=***" in log_of(local, pushed)
    run = local.run_of(pushed)["id"]
    assert "token=none" in again(local, run, bob)
    assert "token=***" in again(local, run, carol)
    local.admin("repo", "collaborator", "remove", "alice/public", "carol")
    assert "token=none" in again(local, run, carol)
    with browsing(local, carol) as reader, browsing(local, local.token) as owner:
        for client, is_seen in ((reader, False), (owner, True)):
            page = client.get(f"/runs/{run}").text
            assert ('API_TOKEN</code></dt><dd class="dim">secret, hidden' in page) is is_seen


def test_secrets_of_a_user_go_to_runs_that_they_push_to_repositories_of_their_own(local: Service) -> None:
    dave = local.add_user("dave")
    make(local, "user", "API_TOKEN", VALUE, token=dave)
    tree = local.worktree(shell(SHOWS))
    mine = local.push(tree, repo="dave/mine", token=dave, user="dave")
    with local.client(dave) as client:
        run = client.get(f"/api/v1/repos/dave/mine/commits/{mine.sha}").json()["runs"][0]["id"]
        text = client.get(f"/runs/{run}/log").text
    assert text == f"token=***\nit has {len(VALUE)} bytes\n"
    stored(local, "alice/shared", shell(SHOWS))
    local.admin("repo", "collaborator", "add", "alice/shared", "dave", "--role", "write")
    theirs = local.push(tree, repo="alice/shared", token=dave, user="dave", refs=("+HEAD:main",))
    assert log_of(local, theirs) == "token=none\n"
    make(local, "dave/mine", "API_TOKEN", "another and shorter", token=dave)
    tree.commit("more")
    pushed = local.push(tree, repo="dave/mine", token=dave, user="dave")
    assert "it has 19 bytes" in pushed.output
    with local.client(dave) as client:
        client.delete("/api/v1/repos/dave/mine/secrets/API_TOKEN")
        run = client.get(f"/api/v1/repos/dave/mine/commits/{pushed.sha}").json()["runs"][0]["id"]
        execute(
            local, "UPDATE push SET user_id = 1 WHERE new_sha = ?", pushed.sha
        )  # as if alice had pushed it
        fresh = client.post(f"/api/v1/runs/{run}/again").json()["id"]
        wait_for(lambda: client.get(f"/api/v1/runs/{fresh}").json()["state"] == "succeeded")
        assert client.get(f"/runs/{fresh}/log").text == "token=none\n"


# ---- who sees what


def test_names_are_for_who_may_change_settings_and_values_for_nobody(local: Service) -> None:
    eve, reader, writer = (local.add_user(name) for name in ("eve", "reader", "writer"))
    stored(local, "alice/listed", shell("true", "public = true\n"))
    for name, role in (("reader", "read"), ("writer", "write")):
        local.admin("repo", "collaborator", "add", "alice/listed", name, "--role", role)
    make(local, "alice/listed", "API_TOKEN", VALUE, "main")
    for token in (eve, reader, writer):
        with local.client(token) as client, browsing(local, token) as browser:
            for path in ("", "/API_TOKEN"):
                assert client.get(f"/api/v1/repos/alice/listed/secrets{path}").status_code == 404
            assert client.delete("/api/v1/repos/alice/listed/secrets/API_TOKEN").status_code == 404
            assert browser.get("/alice/listed/settings").status_code == 404
            assert client.get("/api/v1/user/secrets").json() == {"secrets": []}
        assert put(local, "alice/listed", "API_TOKEN", VALUE, token=token).status_code == 404
    with local.client() as client, browsing(local, local.token) as owner:
        listed = client.get("/api/v1/repos/alice/listed/secrets")
        one = client.get("/api/v1/repos/alice/listed/secrets/API_TOKEN")
        page = owner.get("/alice/listed/settings?secret=API_TOKEN")
        row = one.json()
        assert (row["name"], row["branches"], row["user"], row["last_used_at"]) == (
            "API_TOKEN",
            ["main"],
            "alice",
            None,
        )
        assert listed.json() == {"secrets": [row]} and ">API_TOKEN</code>" in page.text
        assert not any(VALUE in answer.text for answer in (listed, one, page))
        assert client.delete("/api/v1/repos/alice/listed/secrets/API_TOKEN").status_code == 204
        assert client.get("/api/v1/repos/alice/listed/secrets/API_TOKEN").status_code == 404


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("lower", VALUE, "cannot be the name of a secret"),
        ("HERMES_URL", VALUE, "means something to Hermes"),
        ("LD_PRELOAD", VALUE, "means something to Hermes"),
        ("PATH", VALUE, "means something to Hermes"),
        ("CUDA_VISIBLE_DEVICES", VALUE, "means something to Hermes"),
        ("SHORT", "1234567", "no line of 8 bytes"),
        ("SHORT", "a\nbb\nccc\ndddd", "no line of 8 bytes"),
        ("LONG", "x" * 20_000, "16384 are the most"),
        ("NUL", f"{VALUE}\0", "holds a NUL"),
    ],
)
def test_what_cannot_be_a_secret_is_refused_and_not_repeated(
    local: Service, name: str, value: str, words: str
) -> None:
    answer = put(local, "user", name, value)
    assert answer.status_code == 400 and words in answer.text and value not in answer.text
    form = {"do": "set-secret", "name": name, "value": value}
    with browsing(local, local.token) as client:
        page = client.post("/settings/secrets", data=form)
    assert page.status_code == 400 and words in page.text and value not in page.text


def test_the_body_that_is_none_is_refused_and_not_repeated(local: Service) -> None:
    with local.client() as client:
        for body in (
            b"{",
            b'{"value": 7}',
            b'{"valeu": "Zq7-secret"}',
            b'{"value": "Zq7-secret", "branches": "x"}',
        ):
            answer = client.put("/api/v1/user/secrets/API_TOKEN", content=body)
            assert answer.status_code == 400 and "Zq7" not in answer.text, answer.text
    assert put(local, "user", "API_TOKEN", VALUE, "not a branch").status_code == 400
    assert put(local, "user", "API_TOKEN", VALUE, *("main",) * 21).status_code == 400


def test_forms_set_replace_and_remove_and_the_audit_log_has_no_value(local: Service) -> None:
    stored(local, "alice/formed", shell("true"))
    root = local.admin("user", "add", "--admin", "root").stdout.strip()
    with browsing(local, local.token) as client:
        for where in ("/alice/formed/settings", "/settings/secrets"):
            form = {
                "do": "set-secret",
                "name": "FORM_KEY",
                "lines": "line one of it\r\nline two",
                "branches": "main, x/*",
            }
            for _ in range(2):
                assert client.post(where, data=form).status_code == 303
            assert client.post(where, data=form | {"value": VALUE}).status_code == 400
            page = client.get(f"{where}?secret=FORM_KEY").text
            assert "<code>x/*</code>" in page and 'value="main x/*"' in page and "line one" not in page
        assert client.post("/settings/secrets", data={"do": "no-such"}).status_code == 400
        for where in ("/alice/formed/settings", "/settings/secrets"):
            form = {"do": "remove-secret", "name": "FORM_KEY"}
            assert client.post(where, data=form).status_code == 303
            assert client.post(where, data=form).status_code == 404
    with browsing(local, root) as admin:
        audit = admin.get("/admin/audit?who=alice&act=secret+set").text
        assert "FORM_KEY" in audit and "alice/formed" in audit and "line one" not in audit
        assert "FORM_KEY" in admin.get("/admin/audit?who=alice&act=secret+removed").text


def test_a_repository_has_32_secrets_at_most(local: Service) -> None:
    frank = local.add_user("frank")
    for number in range(32):
        make(local, "user", f"KEY_{number}", VALUE, token=frank)
    assert put(local, "user", "ONE_MORE", VALUE, token=frank).status_code == 403
    assert put(local, "user", "KEY_3", VALUE, token=frank).status_code == 200


# ---- the operator's


def test_an_operator_sets_them_from_files_and_rotates_the_key(local: Service, tmp_path: Path) -> None:
    tree = stored(local, "alice/operated", shell(SHOWS)).tree
    file = tmp_path / "value"
    file.write_text(f"{VALUE}\n\n")
    said = local.admin("secret", "set", "alice/operated", "API_TOKEN", str(file)).stdout
    assert "is made" in said and VALUE not in said
    file.write_bytes(b"\xff\xfe")
    assert local.admin("secret", "set", "alice", "OTHER", str(file), check=False).returncode != 0
    key = local.data / "secret_key"
    assert key.stat().st_mode & 0o777 == 0o600
    first = key.read_bytes()
    for _ in range(3):
        assert "encrypted with a new key" in local.admin("secret", "rotate-key").stdout
    assert len(key.read_bytes().split()) == 2 and first.strip() not in key.read_bytes()
    assert re.search(
        r"ok       secrets .*all read with the key in", local.hermes("doctor", check=False).stdout
    )
    tree.commit("after it")
    assert "token=***" in log_of(local, local.push(tree, repo="alice/operated"))
    listed = local.admin("secret", "list", "alice/operated").stdout
    assert re.search(r"API_TOKEN .* by alice, used 2\d{3}-.*the default branch", listed), listed
    assert '"name": "API_TOKEN"' in local.admin("secret", "list", "alice/operated", "--json").stdout
    local.admin("secret", "remove", "alice/operated", "API_TOKEN")
    tree.commit("without it")
    assert "token=none" in log_of(local, local.push(tree, repo="alice/operated"))


def test_without_its_key_the_service_starts_and_says_what_is_missing(local: Service, tmp_path: Path) -> None:
    tree = stored(local, "alice/keyless", shell(SHOWS)).tree
    make(local, "alice/keyless", "API_TOKEN", VALUE)
    key = local.data / "secret_key"
    shutil.move(key, tmp_path / "key")
    assert local.stop() == 0
    local.start()
    assert put(local, "user", "ANOTHER", VALUE).status_code == 503
    assert not key.exists()  # a new one would hide that the old one is lost
    key.write_text("nonsense\n")
    assert re.search(
        r"problem  secrets .*it holds no key of ours", local.hermes("doctor", check=False).stdout
    )
    tree.commit("waits for the key")
    pushed = local.push(tree, "detach", repo="alice/keyless")

    def reason() -> str:
        ranks = local.api(f"/runs/{local.commit_page(pushed)['runs'][0]['id']}")["ranks"]
        return str(ranks[0]["reason"])

    words = wait_for(reason)
    assert "the operator has to put the key file back" in words and str(key) in words
    shutil.move(tmp_path / "key", key)
    assert "token=***" in log_of(local, pushed)


def test_a_key_that_is_another_one_is_told_by_the_name_of_the_secret(local: Service) -> None:
    """After three tries the run is lost, with the reason."""
    tree = stored(local, "alice/wrong", shell(SHOWS)).tree
    make(local, "alice/wrong", "API_TOKEN", VALUE)
    execute(local, "UPDATE secret SET ciphertext = 'gAAAAA' WHERE name = 'API_TOKEN'")
    tree.commit("cannot be read")
    run = local.run_of(local.push(tree, "detach", repo="alice/wrong"))
    assert run["state"] == "lost" and run["reason"].startswith(
        "secret API_TOKEN cannot be read with the key in"
    )
