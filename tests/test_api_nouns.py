"""The API by its nouns: runs that are searched for, functions, repos, tokens, limits; one shape of errors."""

from typing import Any

import pytest

from hermes import __version__
from tests.programs import shell
from tests.service import Pushed, Service
from web.account_answers import LimitsAnswer, TokenMade, TokensAnswer, WhoAnswer
from web.answers import ArtifactPage, ErrorAnswer
from web.function_answers import FunctionPage, FunctionVersions
from web.repo_answers import RepoAnswer, RepoPage

LEAVES = 'echo words; for n in 1 2 3; do echo $n >"$HERMES_OUTPUT_DIR/$n.txt"; done'
NAME = "nouns"


@pytest.fixture(scope="module")
def pushed(local_service: Service) -> Pushed:
    """Version 1.0.0, then 1.1.0, each ran once."""
    first = local_service.push(shell(LEAVES, 'version = "1.0.0"\n'), repo=NAME)
    assert local_service.run_of(first)["state"] == "succeeded"
    first.tree.write({"hermes.toml": 'handler = "sh main.sh"\nversion = "1.1.0"\n'}).commit("second")
    second = local_service.push(first.tree, repo=NAME)
    assert local_service.run_of(second)["state"] == "succeeded"
    return second


def ids(service: Service, query: str) -> list[int]:
    return [run["id"] for run in service.api(f"/runs?{query}")["runs"]]


def test_runs_are_searched_for(local_service: Service, pushed: Pushed) -> None:
    run, at = local_service.run_of(pushed), local_service.run_of(pushed)["created_at"]
    of_repo = ids(local_service, f"repo=alice/{NAME}")
    assert len(of_repo) == 2 and of_repo[0] == run["id"]
    for query, found in {
        f"function=alice/{NAME}": of_repo,
        f"function=alice/{NAME}:1.1.0": of_repo[:1],
        f"function=alice/{NAME}:1.0.0&state=succeeded&state=failed": of_repo[1:],
        f"commit={pushed.sha[:9].upper()}": of_repo[:1],
        f"repo=alice/{NAME}&trigger=push&user=alice&since=2h": of_repo,
        f"repo=alice/{NAME}&since={at}": of_repo[:1],
        f"repo=alice/{NAME}&until={at}": of_repo[1:],
        f"repo=alice/{NAME}&until=2020-01-01T00:00:00Z": [],
        f"repo=alice/{NAME}&state=failed": [],
        f"repo=alice/{NAME}&trigger=retry": [],
        f"repo=alice/{NAME}&user=nobody": [],
        "repo=alice/no-such-one": [],
    }.items():
        assert ids(local_service, query) == found, query


def test_a_search_goes_on_page_by_page(local_service: Service, pushed: Pushed) -> None:
    page = local_service.api(f"/runs?repo=alice/{NAME}&since=1h&limit=1")
    with local_service.client() as client:
        rest = client.get(f"{local_service.url}/{page['next'].split('/', 3)[3]}").json()
    assert len(page["runs"]) == len(rest["runs"]) == 1 and rest["next"] is None
    assert rest["runs"][0]["id"] < page["runs"][0]["id"]


def test_artifacts_logs_and_events_are_below_their_run(local_service: Service, pushed: Pushed) -> None:
    run = local_service.run_of(pushed)["id"]
    first = ArtifactPage.model_validate(local_service.api(f"/runs/{run}/artifacts?limit=2"))
    assert [each.path for each in first.artifacts] == ["1.txt", "2.txt"] and first.next
    with local_service.client() as client:
        rest = client.get(f"{local_service.url}/{first.next.split('/', 3)[3]}").json()
        assert [each["path"] for each in rest["artifacts"]] == ["3.txt"] and rest["next"] is None
        base = f"/api/v1/runs/{run}"
        assert client.get(f"{base}/artifacts/0/2.txt").content == b"2\n"
        assert client.get(f"{base}/artifacts/0/none.txt").status_code == 404
        assert client.get(f"{base}/log", headers={"Range": "bytes=0-2"}).content == b"wor"
        events = client.get(f"{base}/events").text
        assert 'data: "words\\n"' in events and "event: end" in events
        for path in (f"{base}/log", f"{base}/artifacts/0/1.txt"):
            far = client.get(path, headers={"Range": "bytes=99-"})
            assert (far.status_code, far.json()["error"]["code"]) == (416, "no_such_range")
            assert client.get(path, headers={"Range": "lines=1-2"}).status_code == 200
        build = client.get(f"/api/v1/runs/{run}").json()["build"]
        assert client.get(f"/api/v1/builds/{build}/log").status_code == 200
    with local_service.client("") as nobody:
        nobody.post("/signin", data={"token": local_service.token})
        assert nobody.get(f"{base}/log").status_code == 401, "a cookie is not looked at"


def test_functions_have_versions(local_service: Service, pushed: Pushed) -> None:
    found = FunctionPage.model_validate(local_service.api(f"/functions?owner=alice&q={NAME}")).functions
    assert [(each.name, each.versions, each.runs) for each in found] == [(f"alice/{NAME}", 2, 2)]
    assert found[0].newest.commit == pushed.sha and found[0].may_invoke and not found[0].public
    assert found[0].last_run and found[0].last_run.state == "succeeded"
    all_of_it = FunctionVersions.model_validate(local_service.api(f"/functions/alice/{NAME}"))
    assert [each.address for each in all_of_it.versions] == [f"alice/{NAME}:1.1.0", f"alice/{NAME}:1.0.0"]
    assert [each.runs for each in all_of_it.versions] == [1, 1]
    one = FunctionVersions.model_validate(local_service.api(f"/functions/alice/{NAME}:1.0.0"))
    assert [each.version for each in one.versions] == ["1.0.0"]
    with local_service.client() as client:
        near = client.get(f"/api/v1/functions/alice/{NAME[:-1]}").json()["error"]
    assert f"alice/{NAME}" in near["hint"]


def test_a_later_commit_of_a_version_is_invoked_by_its_commit(local_service: Service, pushed: Pushed) -> None:
    repo = "twice"
    first = local_service.push(shell("true", 'version = "1.0.0"\n'), "build-only", repo=repo)
    second_sha = first.tree.write({"more.txt": "words\n"}).commit("later")
    local_service.settled(local_service.push(first.tree, "build-only", repo=repo))
    versions = local_service.api(f"/functions/alice/{repo}")["versions"]
    assert [each["address"] for each in versions] == [
        f"alice/{repo}@{second_sha[:12]}",
        f"alice/{repo}:1.0.0",
    ]


def test_a_deleted_function_leaves_its_history(local_service: Service) -> None:
    pushed = local_service.push(shell("true", 'version = "1.0.0"\n'), repo="going")
    run = local_service.run_of(pushed)
    with local_service.client() as client:
        assert client.delete("/api/v1/functions/alice/going:2.0.0").status_code == 404
        gone = client.delete("/api/v1/functions/alice/going")
        assert (gone.status_code, gone.json()["builds"]) == (200, [run["build"]])
        assert client.get("/api/v1/functions/alice/going").status_code == 404
        assert client.post("/api/v1/functions/alice/going/runs").status_code == 403
        assert client.get(f"/api/v1/runs/{run['id']}").status_code == 200
        assert client.get(f"/api/v1/runs/{run['id']}/log").status_code == 200
    assert "alice/going" not in [each["name"] for each in local_service.api("/functions")["functions"]]
    again = local_service.push(pushed.tree, refs=("HEAD:refs/heads/other",), repo="going")
    assert again.code == 0 and local_service.api("/functions/alice/going")["versions"]


def test_repos_are_listed_and_changed(local_service: Service, pushed: Pushed) -> None:
    names: list[str] = []
    page: dict[str, Any] = local_service.api("/repos?owner=alice&limit=1")
    with local_service.client() as client:
        while True:
            names += [each.name for each in RepoPage.model_validate(page).repos]
            if page["next"] is None:
                break
            page = client.get(f"{local_service.url}/{page['next'].split('/', 3)[3]}").json()
        assert f"alice/{NAME}" in names and len(set(names)) == len(names)
        address = f"/api/v1/repos/alice/{NAME}"
        changed = client.patch(address, json={"protected": True})
        assert RepoAnswer.model_validate(changed.json()).protected
        assert client.patch(address, json={"default_branch": "no-such"}).status_code == 404
        assert client.patch(address, json={"protected": 1}).status_code == 400
        typo = client.patch(address, json={"protect": True}).json()["error"]["message"]
        assert "did you mean 'protected'" in typo
        assert client.patch(address, json={"protected": False}).json()["default_branch"] == "main"


def test_tokens_are_made_shown_once_and_revoked(local_service: Service) -> None:
    with local_service.client() as client:
        me = WhoAnswer.model_validate(client.get("/api/v1/user").json())
        assert (me.name, me.is_admin, me.token.scope) == ("alice", False, "all")
        made = TokenMade.model_validate(
            client.post("/api/v1/tokens", json={"name": "ci", "expires_in": "90d"}).json()
        )
        assert made.expires_at and made.expires_at - made.created_at == pytest.approx(90 * 86400)
        with local_service.client(made.token) as other:
            assert other.get("/api/v1/user").json()["token"]["id"] == made.id
            known = TokensAnswer.model_validate(other.get("/api/v1/tokens").json()).tokens
            assert {made.id, me.token.id} <= {each.id for each in known}
            assert other.delete(f"/api/v1/tokens/{made.id}").status_code == 204
            assert other.get("/api/v1/user").status_code == 401
        assert client.delete(f"/api/v1/tokens/{made.id}").status_code == 404
        assert client.post("/api/v1/tokens", json={"name": "x", "scope": "pull"}).status_code == 400


def test_the_limits_in_force_are_told(local_service: Service) -> None:
    found = {each.name: each for each in LimitsAnswer.model_validate(local_service.api("/limits")).limits}
    assert {"time", "memory", "log", "concurrent", "runs_per_minute", "code", "parameters", "result"} <= set(
        found
    )
    assert (found["time"].default, found["time"].most, found["time"].unit) == (3600, 86400, "s")
    assert found["time"].setting == "HERMES_MAX_TIMEOUT"
    assert found["cpus"].most == 8 and found["gpus"].most == 0 and found["concurrent"].most is None
    assert found["runs_per_minute"].most == 600


@pytest.mark.parametrize(
    ("method", "path", "status", "more"),
    [
        ("GET", "/api/v1/nothing", 404, {}),
        ("GET", "/api/v1/runs/", 404, {}),
        ("GET", "/api/v2/runs", 404, {}),
        ("GET", "/api/nothing/latest", 404, {}),
        ("PUT", "/api/v1/runs", 405, {}),
        ("DELETE", "/api/v1/runs/1", 405, {}),
        ("GET", "/api/v1/functions/alice/pi/runs", 405, {}),
        ("GET", "/api/v1/runs?stat=failed", 400, {}),
        ("GET", "/api/v1/runs?state=fail", 400, {}),
        ("GET", "/api/v1/runs?since=yesterday", 400, {}),
        ("GET", "/api/v1/runs?limit=1&limit=2", 400, {}),
        ("GET", "/api/v1/runs?user=%00", 400, {}),
        ("GET", "/api/v1/users", 404, {}),
        ("POST", "/api/v1/tokens", 400, {"content": b"{"}),
        ("POST", "/api/v1/tokens", 400, {"content": b"[]"}),
        ("POST", "/api/v1/tokens", 400, {"content": b'{"name": "\\ud800"}'}),
        ("POST", "/api/v1/tokens", 400, {"json": {"name": "x", "expires_in": 0}}),
        ("POST", "/api/v1/tokens", 415, {"data": {"name": "x"}}),
        ("POST", "/api/v1/tokens", 413, {"content": b" " * (1 << 20) + b"{}"}),
    ],
)
def test_errors_have_one_shape(
    local_service: Service, method: str, path: str, status: int, more: Any
) -> None:
    with local_service.client() as client:
        answer = client.request(method, path, **more)
    assert answer.status_code == status, answer.text
    assert ErrorAnswer.model_validate(answer.json()).error.message
    assert answer.headers["x-hermes-version"] == __version__
    if status == 405:
        assert "GET" in answer.headers["allow"] or "POST" in answer.headers["allow"]


def test_the_version_is_told_to_everybody(local_service: Service) -> None:
    with local_service.client("") as nobody:
        answer = nobody.get("/api/v1/version")
        assert answer.json() == {"version": __version__, "api": 1}
        assert nobody.get("/api/v1/user").headers["x-hermes-version"] == __version__
