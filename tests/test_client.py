"""`hermes.client`: what a program may count on, waiting and not; its words are those of the API."""

import inspect
import io
import json
import os
import runpy
import struct
import typing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from hermes import machine_answers
from hermes.client import (
    AsyncClient,
    Client,
    Event,
    Frame,
    Invocation,
    Output,
    answers,
    errors,
    instance_answers,
    notification_answers,
)
from hermes.client.body import Body
from hermes.client.calls import address_of
from hermes.client.errors import BrokenOff, Forbidden, Missing, NoServer, OtherServer, Unauthorized
from hermes.client.frames import FrameReader
from hermes.client.invocation import function_path
from tests.programs import shell
from tests.service import Service
from tests.stand_in import answering
from web import account_answers, function_answers, repo_answers
from web import answers as web_answers
from web import notification_answers as web_notifications

ROOT = Path(__file__).parent.parent
PROGRAM = """case "$1" in
cat) cat;;
file) cat $HERMES_INPUT_DIR/*;;
both) echo out; echo err >&2; echo hi > $HERMES_OUTPUT_DIR/a.txt; exit 7;;
esac
"""


@pytest.fixture(scope="module")
def function(service: Service) -> str:
    pushed = service.push(shell(PROGRAM, 'version = "1.0.0"\n'), repo="lib")
    assert service.settled(pushed)["state"] == "succeeded", pushed.output
    return "alice/lib:1.0.0"


def test_asynchronous_is_what_the_script_makes_of_the_other() -> None:
    script = runpy.run_path(str(ROOT / "scripts/async-client"))
    for name, (other, _) in script["FILES"].items():
        there = (ROOT / "hermes/client" / other).read_text()
        assert script["written"](name) == there, f"run scripts/async-client ({other})"


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_every_method_says_what_it_does(kind: type) -> None:
    assert all(
        getattr(kind, name).__doc__
        for name, each in inspect.getmembers(kind)
        if callable(each) and not name.startswith("_")
    )


SAME: dict[Any, type[BaseModel]] = {
    answers.Removal: web_answers.RemovalAnswer,
    answers.Artifact: web_answers.ArtifactAnswer,
    answers.Metric: web_answers.MetricAnswer,
    answers.Rank: web_answers.RankAnswer,
    answers.Run: web_answers.RunAnswer,
    answers.Build: web_answers.BuildAnswer,
    answers.Token: account_answers.TokenAnswer,
    answers.User: account_answers.WhoAnswer,
    answers.Version: account_answers.VersionAnswer,
    answers.LastRun: function_answers.LastRunAnswer,
    answers.GpuWant: function_answers.GpuWantAnswer,
    answers.FunctionVersion: function_answers.VersionOfFunction,
    answers.Function: function_answers.FunctionAnswer,
    answers.Versions: function_answers.FunctionVersions,
    answers.Deleted: function_answers.DeletedAnswer,
    instance_answers.TokenMade: account_answers.TokenMade,
    instance_answers.Account: account_answers.UserAnswer,
    instance_answers.Repo: repo_answers.RepoAnswer,
    instance_answers.Limit: account_answers.LimitAnswer,
    instance_answers.Image: account_answers.ImageAnswer,
    notification_answers.Notification: web_notifications.NotificationAnswer,
    notification_answers.NotificationMade: web_notifications.NotificationMade,
    notification_answers.NoticeAttempt: web_notifications.AttemptAnswer,
    instance_answers.Holder: machine_answers.HolderAnswer,
    instance_answers.Quarantine: machine_answers.QuarantineAnswer,
    instance_answers.GpuUse: machine_answers.GpuUseAnswer,
    instance_answers.Gpu: machine_answers.GpuAnswer,
    instance_answers.Machine: machine_answers.MachineAnswer,
    instance_answers.Waiting: machine_answers.WaitingAnswer,
    instance_answers.Gpus: machine_answers.GpusAnswer,
}


@pytest.mark.parametrize("ours", SAME, ids=lambda each: str(each.__name__))
def test_answers_have_the_fields_of_the_api(ours: type) -> None:
    model: type[BaseModel] = SAME[ours]
    assert set(typing.get_type_hints(ours)) == set(model.model_fields)


def test_a_program_invokes_and_looks(service: Service, function: str) -> None:
    with Client(service.url, service.token) as client:
        frames = list(client.invoke(Invocation(function, args=["both"])))
        assert isinstance(frames[0], Event) and isinstance(frames[-1], Event)
        assert (frames[0].name, frames[-1].name) == ("run", "end")
        assert {(f.stream, f.data) for f in frames if isinstance(f, Output)} == {(1, b"out\n"), (2, b"err\n")}
        number = frames[0].data["run"]["id"]
        run = client.run(number)
        assert (run["state"], run["exit_code"]) == ("failed", 7)
        assert (
            b"".join(client.result(number)) == b"out\n"
            and b"".join(client.result(number, offset=2)) == b"t\n"
        )
        assert sorted(b"".join(client.log(number, follow=True)).split()) == [b"err", b"out"]
        (file,) = client.artifacts(number)
        assert b"".join(client.artifact(number, file)) == b"hi\n"
        assert next(client.runs(function=function))["id"] == number
        assert client.versions("alice/lib")["versions"][0]["address"] == function
        assert client.build(run["build"])["state"] == "built"
        assert client.start(Invocation(function, args=["both"]), wait_s=100)["exit_code"] == 7
        assert client.user()["name"] == "alice" and client.version()["api"] == 1
        assert client.get("/limits")["limits"] == client.limits()


def test_a_program_asks_the_instance_and_manages_its_tokens(service: Service, function: str) -> None:
    with Client(service.url, service.token) as client:
        assert "cpp" in [image["name"] for image in client.images()]
        assert [machine["alive"] for machine in client.gpus()["runners"]] == [True]
        assert "alice/lib" in [repo["name"] for repo in client.repos("alice")]
        assert client.repo("alice/lib")["default_branch"] == "main"
        with pytest.raises(Missing):
            next(client.users())
        made = client.make_token("from a program", expires_in="1d")
        with Client(service.url, made["token"]) as other:
            assert other.user()["token"]["name"] == "from a program"
        assert made["id"] in [token["id"] for token in client.tokens()]
        client.revoke_token(made["id"])
        with Client(service.url, made["token"]) as other, pytest.raises(Unauthorized):
            other.user()
        with pytest.raises(Missing):
            client.repo("alice/not-here")


@pytest.mark.parametrize("repo", ["", "alice/lib"])
def test_a_program_says_who_is_told(service: Service, function: str, repo: str) -> None:
    with Client(service.url, service.token) as client:
        made = client.add_notification("webhook", "https://nobody.invalid/key", repo, branches=["main"])
        assert made["secret"] and made["shown"] == "https://nobody.invalid/…"
        number = made["id"]
        assert number in [each["id"] for each in client.notifications(repo)]
        tried = client.test_notification(number, repo)
        assert "nobody.invalid" in tried["error"] and tried["status"] is None
        assert [each["id"] for each in client.notification_attempts(number, repo)] == [tried["id"]]
        with pytest.raises(Forbidden, match="that was a test"):
            client.notify_again(number, tried["id"], repo)
        paused = client.change_notification(number, repo, events="all", paused=True)
        assert (paused["events"], paused["branches"], bool(paused["paused_at"])) == ("all", ["main"], True)
        assert client.change_notification(number, repo, branches=[])["branches"] == []
        assert client.notification(number, repo)["error"] == tried["error"]
        client.remove_notification(number, repo)
        with pytest.raises(Missing):
            client.notification(number, repo)


def test_an_admin_lists_accounts(service: Service) -> None:
    token = service.hermes("admin", "user", "add", "client-admin", "--admin").stdout.strip()
    with Client(service.url, token) as client:
        accounts = {account["name"]: account for account in client.users()}
    assert accounts["client-admin"]["is_admin"] and "alice" in accounts


async def test_an_asynchronous_program_asks_the_same(service: Service, function: str) -> None:
    async with AsyncClient(service.url, service.token) as client:
        assert "alice/lib" in [each["name"] async for each in client.repos("alice")]
        assert (await client.limits())[0]["name"] and (await client.images())[0]["name"]
        made = await client.make_token("awaited")
        await client.revoke_token(made["id"])
        told = await client.add_notification("webhook", "https://nobody.invalid/", events="failures")
        tried = await client.test_notification(told["id"])
        assert [tried] == await client.notification_attempts(told["id"])
        assert told["id"] in [each["id"] for each in await client.notifications()]
        assert (await client.change_notification(told["id"], paused=True))["paused_at"]
        await client.remove_notification(told["id"])


async def test_the_same_without_waiting(service: Service, function: str, tmp_path: Path) -> None:
    data = os.urandom(600_000)
    (tmp_path / "data").write_bytes(data)
    async with AsyncClient(service.url, service.token) as client:
        with (tmp_path / "data").open("rb") as file:
            stdin = Body(file, size=len(data))
            got = await output(client, Invocation(function, args=["cat"], stdin=stdin))
        assert got == data
        inputs = {"deep/data.bin": Body(io.BytesIO(data))}
        many = Invocation(
            function, args=["cat", *["x" * 3000] * 3], inputs=inputs, stdin=Body(io.BytesIO(b"and this"))
        )
        assert await output(client, many) == b"and this"
        assert (await client.user())["name"] == "alice"
        assert [run["id"] async for run in client.runs(2, function=function)]
        with pytest.raises(Missing):
            await client.run(999_999_999)


async def output(client: AsyncClient, invocation: Invocation) -> bytes:
    frames = [frame async for frame in client.invoke(invocation)]
    return b"".join(frame.data for frame in frames if isinstance(frame, Output) and frame.stream == 1)


def test_errors_carry_what_the_api_says(service: Service) -> None:
    with Client(service.url, service.token) as client:
        with pytest.raises(Missing) as missing:
            next(client.invoke(Invocation("alice/nothing-like-it")))
        assert (missing.value.code, missing.value.status) == ("not_found", 404) and missing.value.hint
        with pytest.raises(errors.ApiError) as wrong:
            list(client.runs(state="flying"))
        assert wrong.value.status == 400 and "state" in str(wrong.value)
    with Client(service.url, "hermes_no") as stranger, pytest.raises(Unauthorized):
        stranger.user()
    with Client("http://127.0.0.1:9") as nobody, pytest.raises(NoServer):
        nobody.user()


def test_an_answer_that_ends_too_early_is_broken_off() -> None:
    first = frame(3, 0, json.dumps({"event": "run", "run": {"id": 1}}).encode())
    with answering(200, first, {}) as url, Client(url, "t") as client:
        frames = client.invoke(Invocation("a/b"))
        assert isinstance(next(frames), Event)
        with pytest.raises(BrokenOff):
            next(frames)


def frame(kind: int, rank: int, data: bytes) -> bytes:
    return struct.pack(">II", kind << 24 | rank, len(data)) + data


@given(
    st.lists(st.tuples(st.sampled_from([1, 2]), st.integers(0, 9999), st.binary(max_size=40)), max_size=8),
    st.lists(st.integers(1, 30), min_size=1),
)
def test_frames_are_whole_however_they_come(said: list[tuple[int, int, bytes]], cuts: list[int]) -> None:
    data = b"".join(frame(*each) for each in said)
    reader, found, at = FrameReader(), list[Frame](), 0
    while at < len(data):
        size = cuts[at % len(cuts)]
        found += reader.feed(data[at : at + size])
        at += size
    assert found == [Output(stream, content, rank) for stream, rank, content in said]


@pytest.mark.parametrize("junk", [b"HTTP/1.1 200 OK\r\n", b"\x01\0\0\0\xff\xff\xff\xff", b"\0" * 8])
def test_what_is_no_frame_is_told(junk: bytes) -> None:
    with pytest.raises(OtherServer):
        list(FrameReader().feed(junk))


def test_addresses_and_names_are_read_as_people_write_them() -> None:
    assert address_of(" HTTP://User:x@GPU.lab:8000/ ") == "http://gpu.lab:8000"
    assert address_of("https://gpu.lab/hermes/") == "https://gpu.lab/hermes"
    assert function_path("a/b@feature/x y") == "/functions/a/b@feature%2Fx%20y"
    assert function_path("a/b:1.0.0") == "/functions/a/b:1.0.0"
    for junk in ("", "a", "a/", "/b"):
        with pytest.raises(errors.ClientError):
            function_path(junk)
