"""The API by real HTTP: what programs may count on."""

from datetime import datetime
from typing import Any

import pytest

from hermes.machine_answers import GpusAnswer
from tests.programs import shell
from tests.service import Pushed, Service, wait_for
from web.answers import CommitAnswer, ErrorAnswer, RunAnswer, RunPage

FAILS = shell("echo begun\nexit 3\n")
SLEEPS = shell("echo begun\nsleep 600\n")


@pytest.fixture(scope="module")
def failed(service: Service) -> Pushed:
    """A push whose run ended with exit code 3."""
    return service.push(FAILS, repo="api")


def test_a_run_has_all_fields(service: Service, failed: Pushed) -> None:
    run = service.run_of(failed)
    assert RunAnswer.model_validate(run)
    assert run["state"] == "failed"
    assert run["exit_code"] == 3
    assert run["reason"] == "exit code 3"
    assert (run["trigger"], run["user"]) == ("push", service.user)
    assert (run["repo"], run["commit"]) == (f"{failed.owner}/{failed.repo}", failed.sha)
    assert run["created_at"] <= run["started_at"] <= run["ended_at"]
    assert datetime.fromisoformat(run["created"]).timestamp() == int(run["created_at"])
    assert [rank["number"] for rank in run["ranks"]] == [0]
    assert run["summary"]["wall_s"] >= 0
    assert run["url"].endswith(f"/runs/{run['id']}")
    assert service.read_log("runs", run["id"]) == b"begun\n"


def test_a_commit_has_its_pushes_builds_and_runs(service: Service, failed: Pushed) -> None:
    page = service.settled(failed)
    assert CommitAnswer.model_validate(page)
    assert page["sha"] == failed.sha
    assert page["state"] == "failed"
    assert page["subject"] == failed.tree.git("log", "-1", "--format=%s")
    assert [push["ref"] for push in page["pushes"]] == ["refs/heads/main"]
    assert page["builds"][0]["state"] == "built"
    short = service.api(f"/repos/{failed.owner}/{failed.repo}/commits/{failed.sha[:8]}")
    assert short["sha"] == failed.sha


def test_a_build_is_found_by_its_number(service: Service, failed: Pushed) -> None:
    run = service.run_of(failed)
    build = service.api(f"/builds/{run['build']}")
    assert (build["id"], build["state"], build["commit"]) == (run["build"], "built", failed.sha)


def test_runs_come_in_pages(service: Service, failed: Pushed) -> None:
    service.run_of(failed)
    with service.client() as client:
        first = client.post(f"/api/v1/runs/{service.run_of(failed)['id']}/again")
        assert first.status_code == 201
        answer = client.get("/api/v1/runs", params={"limit": 1}).json()
        assert RunPage.model_validate(answer)
        assert len(answer["runs"]) == 1
        newest = answer["runs"][0]["id"]
        older = client.get("/api/v1/runs", params={"limit": 1, "before": newest}).json()
        assert older["runs"][0]["id"] < newest
        for junk in ("x", "-1", "0", "9" * 40):
            refused = client.get("/api/v1/runs", params={"limit": junk, "before": junk})
            assert refused.status_code == 400, junk
    wait_for(lambda: service.api(f"/runs/{first.json()['id']}")["state"] == "failed")


def test_run_again_uses_the_same_image(service: Service, failed: Pushed) -> None:
    old = service.run_of(failed)
    with service.client() as client:
        answer = client.post(f"/api/v1/runs/{old['id']}/again")
    assert answer.status_code == 201
    fresh = answer.json()
    assert (fresh["trigger"], fresh["build"]) == ("retry", old["build"])
    assert fresh["id"] > old["id"]
    assert wait_for(lambda: service.api(f"/runs/{fresh['id']}")["exit_code"]) == 3


def test_cancel_ends_a_run(service: Service) -> None:
    pushed = service.push(SLEEPS, "detach")
    run = wait_for(lambda: service.commit_page(pushed)["runs"])[0]
    wait_for(lambda: service.api(f"/runs/{run['id']}")["state"] == "running")
    with service.client() as client:
        assert client.post(f"/api/v1/runs/{run['id']}/cancel").status_code == 202
        ended = service.run_of(pushed)
        assert ended["state"] == "cancelled"
        assert ended["reason"] == f"cancelled by {service.user}"
        again = client.post(f"/api/v1/runs/{run['id']}/cancel")  # it is over: nothing changes
    assert (again.status_code, again.json()["state"]) == (202, "cancelled")


def test_the_instance_says_who_holds_what(service: Service) -> None:
    answer = service.api("/gpus")
    assert GpusAnswer.model_validate(answer)
    assert answer["runners"][0]["alive"] is True
    assert answer["runners"][0]["cpus"] == 8


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/runs/999999999", 404, "not_found"),
        ("GET", "/api/v1/runs/x", 404, "not_found"),
        ("GET", "/api/v1/builds/" + "9" * 40, 404, "not_found"),
        ("GET", "/api/v1/repos/no/such/commits/abcdefg", 404, "not_found"),
        ("GET", "/api/v1/nothing", 404, "not_found"),
        ("POST", "/api/v1/runs/999999999/cancel", 404, "not_found"),
        ("POST", "/api/v1/runs/999999999/again", 404, "not_found"),
        ("DELETE", "/api/v1/runs/1", 405, "method_not_allowed"),
    ],
)
def test_errors_have_one_shape(service: Service, method: str, path: str, status: int, code: str) -> None:
    with service.client() as client:
        answer = client.request(method, path)
    assert answer.status_code == status
    assert ErrorAnswer.model_validate(answer.json()).error.code == code


@pytest.mark.parametrize(
    "header", [None, "Bearer", "Bearer wrong", "Basic YWxpY2U6eA==", "Bearer hermes_" + "x" * 500]
)
def test_without_a_valid_token_there_is_nothing(service: Service, header: str | None) -> None:
    headers: dict[str, Any] = {"Authorization": header} if header else {}
    with service.client("") as client:
        for path in ("/api/v1/runs/1", "/api/v1/runs", "/api/v1/gpus", "/api/v1/repos/a/b/commits/abcdefg"):
            answer = client.get(path, headers=headers)
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"] == "Bearer"
            assert ErrorAnswer.model_validate(answer.json()).error.code == "unauthorized"


def test_the_schema_of_the_manifest_is_there_for_editors(service: Service) -> None:
    with service.client("") as nobody:
        schema = nobody.get("/api/v1/manifest.schema.json").json()
    assert {"build", "run", "gpu", "ranks", "on", "handler"} <= set(schema["properties"])
    run = schema["$defs"]["RunPart"]["properties"]
    assert "string" in run["timeout"]["type"] and "string" in run["memory"]["type"]
    assert schema["additionalProperties"] is False
