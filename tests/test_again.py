"""Run again with other values: by form and by API, with the manifest's words where something is wrong."""

import re
from typing import Any

import pytest

from hermes.again import Wrong, change, grid_of, parse_parameters
from hermes.gpu import Gpu, GpuWant
from hermes.images import BaseImage
from hermes.plan import Instance, Plan
from tests.programs import shell
from tests.service import Service, wait_for
from tests.test_pages import signed_in

PLAN = Plan(
    name="pi",
    language="cpp",
    image="cpp",
    reference="cpp:1",
    build_timeout_s=900,
    args=["{n}"],
    timeout_s=60,
    cpus=1,
    memory_bytes=64 << 20,
    ranks=[{"n": "1"}, {"n": "1"}, {"n": "2"}, {"n": "2"}],
)
HERE = Instance(
    {"cpp": BaseImage(reference="cpp:1", languages=["cpp"])},
    max_timeout_s=3600,
    gpus=(Gpu("GPU-1", 0, "H200", 140 << 30, "9.0"),),
    cpus=8,
    memory_bytes=16 << 30,
)
PROGRAM = shell(
    'echo "$@ in $WORD"\n',
    '[run]\nargs = ["{n}"]\ncpus = 0.5\nmemory = "64M"\nenv = { WORD = "here", API_TOKEN = "hush" }\n'
    "[gpu]\ncount = 0\n[ranks]\nmatrix = { n = [1, 2] }\n",
)


@pytest.fixture(scope="module")
def run(service: Service) -> dict[str, Any]:
    """Of two ranks."""
    return service.run_of(service.push(PROGRAM, repo="again"))


def test_all_that_is_wrong_is_said_at_once() -> None:
    values = {"run.timeout": "9h", "run.cpus": 99, "run.memory": "much", "ranks.repeat": 9999, "gpu.count": 2}
    with pytest.raises(Wrong) as caught:
        change(PLAN, values, HERE, {"run.env": "cannot be read"})
    assert set(caught.value.problems) == {"run.env", *values}
    assert "HERMES_MAX_TIMEOUT" in caught.value.hint


def test_a_plan_with_other_values_keeps_the_rest() -> None:
    made = change(PLAN, {"run.args": ["x"], "gpu.count": "1", "ranks.repeat": "3"}, HERE)
    assert (made.args, made.gpu, made.cpus, made.reference) == (["x"], GpuWant(count=1), 1, "cpp:1")
    assert made.ranks == [{"n": "1"}] * 3 + [{"n": "2"}] * 3
    assert change(PLAN, {}, HERE) == PLAN


def test_ranks_are_sets_of_parameters_and_how_often() -> None:
    assert grid_of(PLAN).repeat == 2 and grid_of(PLAN).parameters == [{"n": "1"}, {"n": "2"}]
    uneven = PLAN.model_copy(update={"ranks": [{"n": "1"}, {"n": "1"}, {"n": "2"}]})
    assert grid_of(uneven).repeat == 1 and len(grid_of(uneven).parameters) == 3
    assert parse_parameters(['n=1 name="two words"', "n=2"]) == [{"n": "1", "name": "two words"}, {"n": "2"}]
    for line in ("n", "1=2", 'n="', "a-b=1"):
        with pytest.raises(Wrong, match="line 1"):
            parse_parameters([line])


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("run.timeout", "2x", "is not a duration; write for example 90s, 15m or 1h30m"),
        ("run.timeout", "2h", "this instance allows 1 h at most"),
        ("run.cpus", "many", "run.cpus: input should be a valid number"),
        ("run.cpus", "9", "run.cpus = 9: this instance has 8"),
        ("run.memory", "64", "greater than or equal to 1048576"),
        ("run.env", {"PATH": "/"}, "PATH is set by Hermes and cannot be changed here"),
        ("gpu.count", "-1", "gpu.count: input should be greater than or equal to 0"),
        ("gpu.count", "2", "impossible on this instance"),
        ("ranks.repeat", "0", "greater than or equal to 1"),
        ("ranks.repeat", "9000", "more than 10000 ranks"),
        ("ranks.parameters", [], "at least one"),
        ("ranks.parameters", [{"a-b": "1"}], "names are letters, digits and _"),
        ("build.image", "cuda", "cannot be changed for one run"),
    ],
)
def test_what_is_wrong_is_said_at_its_key(key: str, value: object, words: str) -> None:
    with pytest.raises(Wrong) as caught:
        change(PLAN, {key: value}, HERE)
    assert list(caught.value.problems) == [key]
    assert words in caught.value.problems[key]


def test_the_form_makes_a_run_with_other_values(service: Service, run: dict[str, Any]) -> None:
    with signed_in(service, service.token) as client:
        page = client.get(f"/runs/{run['id']}/again").text
        assert 'value="0.5"' in page and "n=1\nn=2</textarea>" in page
        assert "hush" not in page and "WORD=here" in page
        env = re.findall(r'name="run.env"[^>]*>\n([^<]*)<', page)[0].replace("here", "there")
        values = {"run.args": "a 'b c' {n}", "run.env": env, "ranks.parameters": "n=7", "ranks.repeat": "2"}
        answer = client.post(f"/runs/{run['id']}/again", data=values)
    assert answer.status_code == 303, answer.text
    fresh = wait_for(lambda: ended(service, answer.headers["location"]))
    assert [rank["parameters"] for rank in fresh["ranks"]] == [{"n": "7"}, {"n": "7"}]
    assert (fresh["build"], fresh["trigger"], fresh["state"]) == (run["build"], "retry", "succeeded")
    assert service.read_log("runs", fresh["id"]) == b"a b c 7 in there\n"


def ended(service: Service, path: str) -> dict[str, Any] | None:
    found = service.api(path)
    return found if found["ended_at"] else None


def test_the_form_says_what_is_wrong_where_it_was_typed(service: Service, run: dict[str, Any]) -> None:
    values = {"run.timeout": "soon <b>", "run.cpus": "many", "run.args": "ok"}
    with signed_in(service, service.token) as client:
        before = client.get("/api/v1/runs", headers={"Authorization": f"Bearer {service.token}"}).json()
        answer = client.post(f"/runs/{run['id']}/again", data=values)
        after = client.get("/api/v1/runs", headers={"Authorization": f"Bearer {service.token}"}).json()
    assert answer.status_code == 400
    assert before["runs"][0]["id"] == after["runs"][0]["id"]
    for key, words in (("run.timeout", "is not a duration"), ("run.cpus", "should be a valid number")):
        problem = re.findall(f'id="{key}-wrong">([^<]*)<', answer.text)
        assert problem and words in problem[0]
    assert 'id="run.args-wrong"' not in answer.text and "2 values have to be changed" in answer.text
    assert "soon &lt;b&gt;" in answer.text and "soon <b>" not in answer.text


def test_the_api_takes_the_same(service: Service, run: dict[str, Any]) -> None:
    address = f"/api/v1/runs/{run['id']}/again"
    asked = {"run": {"args": "one two"}, "ranks": {"parameters": [{"n": "5"}], "repeat": 1}}
    with service.client() as client:
        made = client.post(address, json=asked)
        wrong = client.post(address, json={"run": {"memory": "much"}, "gpu": {"colour": "red"}})
        assert client.post(address, content=b"{").status_code == 400
        assert client.post(address, json={"run": 5}).status_code == 400
        same = client.post(address)
    assert made.status_code == 201 and len(made.json()["ranks"]) == 1
    assert same.status_code == 201 and len(same.json()["ranks"]) == 2
    error = wrong.json()["error"]
    assert wrong.status_code == 400 and error["code"] == "bad_request"
    assert "gpu.colour cannot be changed" in error["message"] and "run.memory: 'much'" in error["message"]


def test_who_may_only_look_or_not_even_that(service: Service, bob: str, run: dict[str, Any]) -> None:
    address = f"/runs/{run['id']}/again"
    with signed_in(service, bob) as other:
        for answer in (other.get(address), other.post(address, data={"run.args": "x"})):
            assert answer.status_code == 404
    with service.client(bob) as other:
        assert other.post(f"/api/v1{address}", json={"run": {"cpus": 1}}).status_code == 404
    with service.client("") as nobody:
        assert nobody.get(address).headers["location"] == f"/signin?next={address}"
        assert nobody.post(f"/api/v1{address}", json={}).status_code == 401


def test_a_reader_looks_and_in_public_everybody_runs_again(service: Service, bob: str) -> None:
    private = service.run_of(service.push(PROGRAM, repo="again-read"))
    opened = PROGRAM | {"hermes.toml": f"public = true\n{PROGRAM['hermes.toml']!s}"}
    public = service.run_of(service.push(opened, repo="again-open"))
    service.admin("repo", "collaborator", "add", "alice/again-read", "bob")
    with signed_in(service, bob) as reader:
        assert reader.get(f"/runs/{private['id']}").status_code == 200
        for answer in (
            reader.get(f"/runs/{private['id']}/again"),
            reader.post(f"/runs/{private['id']}/again", data={"run.args": "x"}),
        ):
            assert answer.status_code == 403 and "ask alice to make you a collaborator" in answer.text
        assert reader.get(f"/runs/{public['id']}/again").status_code == 200
        made = reader.post(f"/runs/{public['id']}/again", data={"ranks.repeat": "2"})
        assert made.status_code == 303
    fresh = service.api(made.headers["location"])
    assert (fresh["user"], len(fresh["ranks"])) == ("bob", 4)
