"""Push options: `git push -o …`. Words steer the push, `name=value` sets what the manifest left open."""

import difflib
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hermes.errors import UserError

WORDS = {
    "detach": "return as soon as the push is recorded",
    "check": "make the push exit 1 when the run does not succeed",
    "skip": "store the commits, start nothing",
    "build-only": "build, and stop there",
}
PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")  # the name of one
_ALIASES = {"ci.skip": "skip"}  # as elsewhere
_NUMBERS = {"follow": (1, 2**53), "width": (20, 1000)}  # for the stream: name=N, least and most
_OVERRIDES: dict[tuple[str, str], Callable[[str], Any]] = {
    ("run", "args"): shlex.split,
    ("run", "timeout"): str,
    ("run", "memory"): str,
    ("run", "cpus"): float,
    ("gpu", "count"): int,
    ("gpu", "memory"): str,
    ("gpu", "model"): str,
    ("gpu", "capability"): str,
    ("ranks", "repeat"): int,
}
_HELP = "options: " + ", ".join(
    [*WORDS, *(f"{a}=N" for a in _NUMBERS), *(f"{a}.{b}=…" for a, b in _OVERRIDES), "NAME=VALUE"]
)


@dataclass(frozen=True)
class PushOptions:
    """The options of one push: words, values for the manifest, parameters for `{name}` in the arguments."""

    words: frozenset[str] = frozenset()
    overrides: dict[tuple[str, str], Any] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)  # follow: a run's; width: the terminal's columns

    def __contains__(self, word: str) -> bool:
        return word in self.words


def parse_options(options: list[str]) -> PushOptions:
    """Raises UserError for an option that does not exist, with the nearest that does."""
    words: set[str] = set()
    overrides: dict[tuple[str, str], Any] = {}
    parameters: dict[str, str] = {}
    numbers: dict[str, int] = {}
    for option in options:
        name, equals, value = option.partition("=")
        table, dot, key = name.partition(".")
        if not equals:
            words.add(_known_word(option))
        elif dot:
            overrides[table, key] = _override(table, key, value)
        elif name in _NUMBERS:
            numbers[name] = _number(name, value)
        elif PARAMETER.fullmatch(name):
            parameters[name] = value
        else:
            raise UserError(f"push option {option[:80]!r} is not understood", _HELP)
    return PushOptions(frozenset(words), overrides, parameters, numbers)


def _number(name: str, value: str) -> int:
    least, most = _NUMBERS[name]
    if not (value.isascii() and value.isdecimal() and len(value) < 17 and least <= int(value) <= most):
        raise UserError(f"push option {name}={value[:80]}: must be a number from {least} to {most}")
    return int(value)


def _known_word(word: str) -> str:
    word = _ALIASES.get(word, word)
    if word in WORDS:
        return word
    near = difflib.get_close_matches(word, WORDS, n=1)
    raise UserError(
        f"unknown push option {word[:80]!r}" + (f", did you mean {near[0]!r}?" if near else ""), _HELP
    )


def _override(table: str, key: str, value: str) -> Any:
    parse = _OVERRIDES.get((table, key))
    if parse is None:
        raise UserError(f"{table}.{key} cannot be set by a push option", _HELP)
    try:
        return parse(value)
    except ValueError as error:
        raise UserError(f"push option {table}.{key}={value[:80]}: {error}") from None
