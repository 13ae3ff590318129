"""`hermes demo`: a newcomer's first five minutes, played by a script with the real git."""

import asyncio
import base64
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from hermes.accounts import DEMO_USER as USER
from hermes.accounts import add_token, add_user, find_user
from hermes.checks import check_data_directory, check_ports
from hermes.database import Database
from hermes.errors import Unavailable
from hermes.executors import LOCAL_WARNING
from hermes.samples import FOLDER, Outcome, differences, expectation, sample_names
from hermes.schema import migrate
from hermes.settings import Settings
from hermes.states import State

_START_S = 60.0
_TOKEN_LIFE_S = 30 * 86400.0
_ENDS = {State.FAILED: "build failed", State.BUILT: "built"}
_GIT = ("git", "-c", "user.name=Demo", "-c", "user.email=demo@localhost", "-c", "init.defaultBranch=main")


def run_demo(settings: Settings, once: bool, only: tuple[str, ...]) -> int:
    """0 if every sample produced what its expect.toml says."""
    console = Console(highlight=False)
    check_data_directory(settings.data)
    check_ports(settings)
    with _service(settings) as service, tempfile.TemporaryDirectory(prefix="hermes-demo-") as scratch:
        client = _wait_until_up(settings, service, console)
        token = _make_user(settings)
        client.headers["Authorization"] = f"Bearer {token}"
        runners = client.get("/api/v1/gpus").json()["runners"]
        has_gpu = any(each["gpus"] for each in runners)
        if any(each["executor"] == "local" for each in runners):
            console.print(LOCAL_WARNING, style="bold yellow")
        console.print(f"\nThe service is up: [bold]{settings.public_url}[/]")
        rows = []
        for name in [each for each in sample_names() if not only or each in only]:
            rows.append(_try_sample(console, settings, client, token, Path(scratch), name, has_gpu))
        ok = all(row[3] for row in rows)
        if not once:
            _invite(console, settings, token)
        _show(console, rows)
        if not once:
            _serve_on(service)
    return 0 if ok else 1


@contextmanager
def _service(settings: Settings) -> Iterator["subprocess.Popen[bytes]"]:
    """`hermes up` as a child, its own lines in a file of the data directory."""
    with (settings.data / "demo.log").open("wb") as log:
        service = subprocess.Popen(
            [sys.executable, "-m", "hermes", "up"], stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield service
    finally:
        service.terminate()
        service.wait(30)


def _wait_until_up(settings: Settings, service: "subprocess.Popen[bytes]", console: Console) -> httpx.Client:
    client = httpx.Client(base_url=f"http://127.0.0.1:{settings.port}", timeout=30)
    deadline = time.monotonic() + _START_S
    with console.status("starting the service"):
        while time.monotonic() < deadline and service.poll() is None:
            try:
                health = client.get("/healthz")
                if health.status_code == 200 and health.json()["runner"]:
                    return client
            except httpx.TransportError:
                pass
            time.sleep(0.1)
    words = (settings.data / "demo.log").read_text(errors="replace")[-2000:]
    raise Unavailable(f"the service did not come up; its last words:\n{words}")


def _make_user(settings: Settings) -> str:
    async def act() -> str:
        database = Database(settings.database)
        try:
            await migrate(database)
            async with database.write() as session:
                user = await find_user(session, USER) or await add_user(session, USER)
                return await add_token(session, user, "demo", life_s=_TOKEN_LIFE_S)
        finally:
            await database.close()

    return asyncio.run(act())


def _try_sample(
    console: Console,
    settings: Settings,
    client: httpx.Client,
    token: str,
    scratch: Path,
    name: str,
    has_gpu: bool,
) -> tuple[str, str, str, bool, float]:
    """Push one sample; returns (sample, expected, got, whether it is as expected, seconds)."""
    expected = expectation(name, has_gpu=has_gpu)
    options = ["-o", "build-only"] if expected.state == "built" else []
    console.rule(f"[bold]{name}[/]")
    sha = _commit(scratch / name, name, f"http://localhost:{settings.port}/{USER}/{name}.git")
    began = time.monotonic()
    command = ["git", "push", *options, "gpu", "main"]
    console.print(f"$ {' '.join(command)}", style="bold")
    _push(scratch / name, command, token)
    took_s = time.monotonic() - began
    got = outcome(client, USER, name, sha)
    wrong = differences(expected, got)
    return name, expected.state, "; ".join(wrong) or got.state, not wrong, took_s


def _commit(folder: Path, name: str, remote: str) -> str:
    shutil.copytree(FOLDER / name, folder, ignore=shutil.ignore_patterns("expect.toml"))
    commit = ("commit", "-q", "-m", f"The sample {name}")
    for words in (("init", "-q"), ("remote", "add", "gpu", remote), ("add", "-A"), commit):
        subprocess.run([*_GIT, *words], cwd=folder, check=True)
    return subprocess.run(
        [*_GIT, "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def _push(folder: Path, command: list[str], token: str) -> None:
    """The real thing, its output passed through as it comes."""
    basic = base64.b64encode(f"{USER}:{token}".encode()).decode()
    env = os.environ | {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "http.extraHeader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {basic}",
        "GIT_TERMINAL_PROMPT": "0",
    }
    subprocess.run(command, cwd=folder, env=env, check=False, timeout=900)


def outcome(client: httpx.Client, owner: str, name: str, sha: str) -> Outcome:
    """What the API says of a commit, once nothing of it goes on any more."""
    page = _wait(lambda: client.get(f"/api/v1/repos/{owner}/{name}/commits/{sha}").json())
    if "error" in page:
        return Outcome(page["error"]["message"])
    build = page["builds"][0]
    build_log = client.get(f"/builds/{build['id']}/log").text
    if not page["runs"] or build["state"] != State.BUILT:
        return Outcome(_ENDS.get(build["state"], f"build {build['state']}"), build_log=build_log)
    run: dict[str, Any] = page["runs"][0]
    return Outcome(run["state"], run, client.get(f"/runs/{run['id']}/log").text, build_log)


def _wait(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    busy = {State.QUEUED, State.BUILDING, State.STARTING, State.RUNNING}
    while True:
        answer = ask()
        states = {each["state"] for each in (*answer.get("builds", ()), *answer.get("runs", ()))}
        if not states & busy or time.monotonic() > deadline:
            return answer
        time.sleep(0.1)


def _invite(console: Console, settings: Settings, token: str) -> None:
    console.rule("[bold]your turn[/]")
    console.print(f"Open    [bold]{settings.public_url}[/]   and sign in with this token:\n        {token}")
    host = settings.public_url.partition("://")[2]
    console.print(f"Push    git remote add gpu http://{USER}@{host}/{USER}/NAME.git && git push gpu main")
    console.print("        (password: the token)      Ctrl-C here ends the service\n")


def _show(console: Console, rows: list[tuple[str, str, str, bool, float]]) -> None:
    table = Table("sample", "expected", "got", "seconds")
    for name, expected, got, ok, seconds in rows:
        table.add_row(name, expected, f"[{'green' if ok else 'red'}]{got}[/]", f"{seconds:.1f}")
    console.print(table)


def _serve_on(service: "subprocess.Popen[bytes]") -> None:
    try:
        service.wait()
    except KeyboardInterrupt:
        print("\nstopping the service", file=sys.stderr)
