"""The sample repositories and what each must produce (`expect.toml`): the demo and the end-to-end tests."""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "sample-repos"


@dataclass(frozen=True)
class Expectation:
    """What a sample must produce; sample-repos/README.md explains the keys."""

    state: str
    exit_code: int | None = None
    signal: str = ""
    reason: str = ""
    log: list[str] = field(default_factory=list)
    build_log: list[str] = field(default_factory=list)
    artifacts: list[str] = field(default_factory=list)
    needs_gpu: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of a push, as the API and the raw logs tell it."""

    state: str
    run: dict[str, Any] = field(default_factory=dict)
    log: str = ""
    build_log: str = ""


def sample_names() -> list[str]:
    """All samples, in the order of their names."""
    return sorted(path.parent.name for path in FOLDER.glob("*/expect.toml"))


def expectation(name: str, *, has_gpu: bool) -> Expectation:
    """What the sample must produce on this instance."""
    expected = Expectation(**tomllib.loads((FOLDER / name / "expect.toml").read_text()))
    return Expectation(state="built", needs_gpu=True) if expected.needs_gpu and not has_gpu else expected


def differences(expected: Expectation, got: Outcome) -> list[str]:
    """In words, what is not as expected; empty if all is."""
    wrong = []
    if got.state != expected.state:
        wrong.append(f"state {got.state} instead of {expected.state}")
    for key in ("exit_code", "signal"):
        wanted = getattr(expected, key)
        if wanted not in (None, "") and got.run.get(key) != wanted:
            wrong.append(f"{key} {got.run.get(key)} instead of {wanted}")
    if expected.reason not in str(got.run.get("reason", "")):
        wrong.append(f"reason {got.run.get('reason')!r} lacks {expected.reason!r}")
    for text, patterns, what in (
        (got.log, expected.log, "log"),
        (got.build_log, expected.build_log, "build log"),
    ):
        wrong += [f"{what} lacks /{p}/" for p in patterns if not re.search(p, text, re.MULTILINE)]
    there = {artifact["path"] for artifact in got.run.get("artifacts", [])}
    return wrong + [f"no artifact {path}" for path in expected.artifacts if path not in there]
