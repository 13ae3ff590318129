"""A bad-input program: a folder `<verdict>/<case>/` beside this file, and what it must lead to.

`expect.toml` has the keys of the samples' (sample-repos/README.md) but for the state, which the folder's name
tells; `artifacts` is the whole list. `kept_only`: matches each artifact that was kept. `executors`: where the
case makes sense; `docker` alone unless it says so."""

import re
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hermes.samples import Expectation, Outcome, differences
from hermes.states import State

FOLDER = Path(__file__).parent
VERDICTS = (State.SUCCEEDED, State.FAILED, State.TIMED_OUT)
_SHARED = "denied.h"
_ALSO = ("artifacts", "kept_only", "executors")


@dataclass(frozen=True)
class Program:
    """One case."""

    folder: Path

    def __str__(self) -> str:
        return f"{self.folder.parent.name}/{self.folder.name}"

    @cached_property
    def _table(self) -> dict[str, Any]:
        file = self.folder / "expect.toml"
        return tomllib.loads(file.read_text()) if file.exists() else {}

    @property
    def executors(self) -> list[str]:
        """Where it is pushed to."""
        return list(self._table.get("executors", ["docker"]))

    def files(self) -> dict[str, str | bytes]:
        """The repository."""
        own = {each.name: each.read_bytes() for each in self.folder.iterdir() if each.name != "expect.toml"}
        return {_SHARED: (FOLDER / _SHARED).read_bytes(), **own}

    def differences(self, run: dict[str, Any], log: str, kept: dict[str, str]) -> list[str]:
        """In words, what is not as expected of a run, its log and its artifacts (path and content)."""
        common = {key: value for key, value in self._table.items() if key not in _ALSO}
        expected = Expectation(state=self.folder.parent.name, **common)
        wrong = differences(expected, Outcome(run["state"], run, log))
        wanted = self._table.get("artifacts")
        if wanted is not None and not _same(wanted, list(kept)):
            wrong.append(f"artifacts {sorted(kept)} instead of {sorted(wanted)}")
        pattern = self._table.get("kept_only", "")
        strange = {path: text for path, text in kept.items() if not re.search(pattern, text)}
        return wrong + [f"{path} holds {text[:80]!r}" for path, text in strange.items()]


def _same(wanted: list[str], there: list[str]) -> bool:
    """`a | b`: one of the two, as of two names of one file."""
    return len(wanted) == len(there) and all(set(each.split(" | ")) & set(there) for each in wanted)


def programs(executor: str) -> list[Program]:
    """All cases of an executor, by name."""
    every = [Program(file.parent) for file in sorted(FOLDER.glob("*/*/hermes.toml"))]
    return [program for program in every if executor in program.executors]
