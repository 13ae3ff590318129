"""One soak from its start to the verdict: an instance, its people, what strikes it, and the oracle."""

import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.files import paths_below
from tests.leftovers import leftovers, processes
from tests.promises import verdict
from tests.service import Service, wait_for
from tests.soak.faults import Faults
from tests.soak.people import Person, Story

NAMES = ("alice", "bob", "carol")
_LEASE_S = 8.0
_LINE_S = 5.0
_MOST_LIVE = 60
_CALM_S = 400.0  # until the last run has ended and what was left is swept
Say = Callable[[str], None]


@dataclass
class Scene:
    """All of it, by one seed: the same dice fall, though threads meet at other moments."""

    data: Path
    seed: int
    executor: str
    story: Story = field(default_factory=Story)

    def __post_init__(self) -> None:
        env = {
            "HERMES_EXECUTOR": self.executor,
            "HERMES_TRUST": "all",
            "HERMES_LEASE": f"{_LEASE_S:.0f}s",
            "HERMES_POLL": "1s",
            "HERMES_CPUS": "8",
            "HERMES_MAINTENANCE": "5s",
            "HERMES_FAULTPOINT": "file",
            "HERMES_STOP": "leave",
            "HERMES_WARM_TIME": "30s",  # in the end nothing is left
        }
        self.service = Service(self.data, env)

    def play(self, seconds: float, say: Say) -> list[str]:
        """What is broken in the end, in words; none of it is what everybody wants to read."""
        say(f"soak of {seconds:.0f} s, SEED={self.seed}, {self.executor} executor, {os.cpu_count()} CPUs")
        self.service.token = self.service.add_user(NAMES[0])
        tokens = [self.service.token, *(self.service.add_user(name) for name in NAMES[1:])]
        self.service.start()
        try:
            ended = threading.Event()
            people = [self._person(name, token, ended) for name, token in zip(NAMES, tokens, strict=True)]
            for person in people:
                person.prepare()
            faults = Faults(self.service, ended, random.Random(self.seed), _LEASE_S)
            threads = [threading.Thread(target=faults.strike, name="faults")]
            threads += [
                threading.Thread(target=person.repeat, args=(deed,), name=f"{person.name} {deed.__name__}")
                for person in people
                for deed in (person.push, person.call, person.cancel, person.watch)
            ]
            for thread in threads:
                thread.start()
            self._tell(seconds, say, faults)
            ended.set()
            for thread in threads:
                thread.join(_CALM_S)
            self._calm_down(say)
            return self._judge()
        finally:
            self._end()

    def _person(self, name: str, token: str, ended: threading.Event) -> Person:
        dice = random.Random(f"{self.seed} {name}")
        return Person(self.service, name, token, self.story, ended, dice)

    def _tell(self, seconds: float, say: Say, faults: Faults) -> None:
        began = time.monotonic()
        say("     s  pushes  taken  calls  watched  cancelled  runs ended  live  faults")
        while (gone := time.monotonic() - began) < seconds:
            time.sleep(min(_LINE_S, seconds - gone))
            ends, live = self._runs()
            story = self.story
            story.is_crowded = live > _MOST_LIVE
            taken = sum(each.pushed.code == 0 for each in story.told)
            say(
                f"{time.monotonic() - began:6.0f}  {len(story.told):6}  {taken:5}  {len(story.called):5}"
                f"  {len(story.watched):7}  {story.cancelled:9}  {ends:10}  {live:4}"
                f"  {sum(faults.counts.values()):6}"
            )
        say("faults: " + ", ".join(f"{name} {count}" for name, count in sorted(faults.counts.items())))

    def _runs(self) -> tuple[int, int]:
        with suppress(sqlite3.Error), closing(self._database()) as rows:
            live = rows.execute("SELECT count(*) FROM run WHERE state IN ('queued', 'starting', 'running')")
            found = int(live.fetchone()[0])
            return int(rows.execute("SELECT count(*) FROM run").fetchone()[0]) - found, found
        return 0, 0

    def _database(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.data / 'hermes.db'}?mode=ro", uri=True, timeout=10)

    def _calm_down(self, say: Say) -> None:
        """No fault strikes any more: everything has to come to its end by itself."""
        (self.data / "faultpoints" / "now").unlink(missing_ok=True)
        say("no more faults; waiting until everything has ended")
        with suppress(AssertionError):  # the oracle says what has not
            wait_for(self.service.answers)
            wait_for(self._is_settled, _CALM_S)
            wait_for(lambda: not any(leftovers(self.service).values()), _CALM_S)
        with closing(self._database()) as rows:
            states = rows.execute("SELECT state, count(*) FROM run GROUP BY 1 ORDER BY 1").fetchall()
        say("runs: " + ", ".join(f"{state} {count}" for state, count in states))

    def _is_settled(self) -> bool:
        with closing(self._database()) as rows:
            half = rows.execute("SELECT count(*) FROM push WHERE state = 'received'").fetchone()[0]
            builds = rows.execute(
                "SELECT count(*) FROM build WHERE state IN ('queued', 'building')"
            ).fetchone()[0]
        return not (half or builds or self._runs()[1])

    def _judge(self) -> list[str]:
        for path in paths_below(self.data / "artifacts"):  # in two days what nobody owns is gone
            os.utime(path, (time.time() - 2 * 86400,) * 2)
        self.service.admin("retention", "--now")
        found = verdict(self.service, self.story.told, self.story.called, self.story.watched)
        with closing(self._database()) as rows:
            made = rows.execute("SELECT count(*) FROM run WHERE trigger = 'api'").fetchone()[0]
        if made > self.story.asked:
            found.append(f"{self.story.asked} calls have made {made} runs")
        return found + self.story.surprises

    def _end(self) -> None:
        process = self.service.process
        if process is not None and process.poll() is None:
            process.terminate()
            with suppress(Exception):
                process.wait(60)
        if left := processes(self.service):
            self.story.surprises.append(f"processes left: {left}")
