"""The people of a soak: each does one thing again and again until it is told to end, as people do it."""

import random
import re
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.programs import shell
from tests.promises import Called, Told, Watched
from tests.service import Pushed, Service, WorkTree, remote_words
from tests.test_sse import events_of

_PATIENCE_S = 240.0  # also a crowded machine has started a killed service again by then
_TRY_AGAIN_S = 1.0
_PAGES = ("/", "/queue", "/gpus", "/functions", "/healthz")


@dataclass
class Story:
    """What happened, as those who were there know it. Appending is all that threads do."""

    told: list[Told] = field(default_factory=list)
    called: list[Called] = field(default_factory=list)
    watched: list[Watched] = field(default_factory=list)
    asked: int = 0  # calls with a key of their own
    cancelled: int = 0
    is_crowded: bool = False  # nobody asks for more while so many wait, or an hour's work is left in the end
    surprises: list[str] = field(default_factory=list)


@dataclass
class Person:
    """One user with a repository, a function and a will of their own."""

    service: Service
    name: str
    token: str
    story: Story
    ended: threading.Event
    dice: random.Random
    _trees: dict[str, WorkTree] = field(default_factory=dict)

    @property
    def function(self) -> str:
        """What this person has pushed before the faults begin."""
        return f"{self.name}/echo"

    def prepare(self) -> None:
        """A function to call."""
        pushed = self.service.push(
            shell("cat; echo $1"), repo=self.function, token=self.token, user=self.name
        )
        assert pushed.code == 0, pushed.output
        self.story.told.append(Told(pushed, b"\n"))

    def repeat(self, deed: Callable[[], None]) -> None:
        """Until the end; what nobody should meet is written down."""
        while not self.ended.is_set():
            if self.story.is_crowded and deed in (self.push, self.call):
                self.ended.wait(_TRY_AGAIN_S)
                continue
            try:
                deed()
            except httpx.TransportError:
                self.ended.wait(_TRY_AGAIN_S)
            except Exception as error:
                self.story.surprises.append(f"{self.name}: {type(error).__name__}: {error}")
                self.ended.wait(_TRY_AGAIN_S)
            self.ended.wait(self.dice.uniform(0.1, 1.0))

    def push(self) -> None:
        """A new commit, until it is taken; now and then the laptop is closed amid it."""
        repo = f"{self.name}/work-{self.dice.randrange(3)}"
        lines, mark = self.dice.choice((5, 40, 400)), self.dice.randrange(10**9)
        program = (
            f"i=0; while [ $i -lt {lines} ]; do echo {mark} $i; i=$((i+1));\n"
            "[ $((i % 10)) -ne 0 ] || sleep 0.1; done\n"
            f'echo {mark} > "$HERMES_OUTPUT_DIR/mark.txt"\n'
        )
        says = "".join(f"{mark} {number}\n" for number in range(lines)).encode()
        tree = self._trees.setdefault(
            repo, self.service.worktree({"README": "soak\n"}, repo.replace("/", "-"))
        )
        tree.write(shell(program))
        sha = tree.commit(f"mark {mark}")
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            code, words = self._push_once(tree, repo)
            self.story.told.append(Told(Pushed(code, words, sha, self.name, repo.split("/")[1], tree), says))
            if code == 0:
                return
            time.sleep(_TRY_AGAIN_S)
        self.story.surprises.append(f"{repo}: nobody took {sha[:7]} for {_PATIENCE_S:.0f} s: {words[-300:]}")

    def _push_once(self, tree: WorkTree, repo: str) -> tuple[int, str]:
        options = self.dice.choice(((), ("detach",), ("detach",)))
        command, env = self.service.push_command(repo, *options, token=self.token, user=self.name)
        with subprocess.Popen(
            command, cwd=tree.folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as client:
            patience_s = self.dice.uniform(0.05, 2.0) if self.dice.random() < 0.2 else 240.0
            try:
                _, words = client.communicate(timeout=patience_s)
            except subprocess.TimeoutExpired:
                client.kill()
                _, words = client.communicate()
        return client.returncode, remote_words(words.decode(errors="replace"))

    def call(self) -> None:
        """The function, with a key, until an answer comes."""
        self.story.asked += 1
        key, word = (
            f"{self.name}-{self.story.asked}-{self.dice.randrange(10**9)}",
            str(self.dice.randrange(10**9)),
        )
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            with suppress(httpx.TransportError), self.service.client(self.token) as client:
                answer = client.post(
                    f"/api/v1/functions/{self.function}/runs?arg={word}",
                    content=f"{word}\n".encode(),
                    headers={"Idempotency-Key": key},
                )
                if answer.status_code in (200, 202):
                    says = f"{word}\n{word}\n".encode()
                    self.story.called.append(Called(int(answer.json()["id"]), says))
                    return
                if answer.status_code not in (429, 503):
                    raise AssertionError(f"a call was answered {answer.status_code}: {answer.text[:300]}")
            time.sleep(_TRY_AGAIN_S)
        self.story.surprises.append(f"{self.name}: nobody took the call {key} for {_PATIENCE_S:.0f} s")

    def cancel(self) -> None:
        """One of this person's runs that is not over."""
        self.ended.wait(self.dice.uniform(2.0, 6.0))
        live = [run for run in self._runs() if run["state"] in ("queued", "starting", "running")]
        if live:
            with self.service.client(self.token) as client:
                client.post(f"/api/v1/runs/{self.dice.choice(live)['id']}/cancel")
            self.story.cancelled += 1

    def watch(self) -> None:
        """The log of a run, from where the line was cut each time, to its end; and some pages."""
        with self.service.client(self.token) as client:
            page = client.get(self.dice.choice(_PAGES))
        if page.status_code >= 500 and page.status_code != 503:
            raise AssertionError(f"{page.url} was answered {page.status_code}")
        runs = self._runs()
        if not runs:
            return
        watched = Watched(int(self.dice.choice(runs)["id"]))
        self.story.watched.append(watched)
        deadline = time.monotonic() + _PATIENCE_S
        while not watched.has_ended and time.monotonic() < deadline and not self.ended.is_set():
            with suppress(httpx.TransportError):
                self._follow(watched)

    def _follow(self, watched: Watched) -> None:
        headers = {"Last-Event-ID": watched.last} if watched.last else {}
        with (
            self.service.client(self.token) as client,
            client.stream("GET", f"/runs/{watched.run_id}/events", headers=headers, timeout=20) as answer,
        ):
            if answer.status_code != 200:
                self.ended.wait(_TRY_AGAIN_S)
                return
            for event in events_of(answer):
                if event.name == "log" and (found := re.fullmatch(r"(\d+)\.(\d+)", event.id)):
                    data = event.data.encode()
                    watched.pieces.append((int(found[1]), int(found[2]) - len(data), data))
                    watched.last = event.id
                watched.has_ended |= event.name == "end"
                if self.ended.is_set():
                    break

    def _runs(self) -> list[dict[str, Any]]:
        with self.service.client(self.token) as client:
            answer = client.get("/api/v1/runs")
        found: list[dict[str, Any]] = answer.json()["runs"] if answer.status_code == 200 else []
        return found
