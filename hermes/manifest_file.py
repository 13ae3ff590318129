"""Reads a manifest file; every error says file, line, column, what is allowed and the nearest known key."""

import difflib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hermes.errors import ManifestError
from hermes.manifest import NOT_YET, RULES, AncestorManifest, Manifest, from_ancestor

MAX_BYTES = 256 << 10
Place = tuple[int, int]
M = TypeVar("M", bound=BaseModel)


def read_manifest(name: str, data: bytes, overrides: Mapping[tuple[str, str], Any] | None = None) -> Manifest:
    """The manifest in the file `name`; `overrides` are values from push options, {(table, key): value}.

    Raises ManifestError."""
    if len(data) > MAX_BYTES:
        raise ManifestError(f"{len(data)} bytes; a manifest has at most {MAX_BYTES}", f"{name}:1:1")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ManifestError("not a text file in UTF-8", f"{name}:{line}:1") from None
    if name.endswith(".json"):
        old = _validate(AncestorManifest, _parse_json(name, text), name, text)
        manifest = from_ancestor(old)
        return _validate(
            Manifest, _overridden(manifest.model_dump(exclude_unset=True), overrides), name, text
        )
    manifest = _validate(Manifest, _overridden(_parse_toml(name, text), overrides), name, text)
    _refuse_not_yet(manifest, name, text)
    return manifest


def _overridden(raw: dict[str, Any], overrides: Mapping[tuple[str, str], Any] | None) -> dict[str, Any]:
    for (table, key), value in (overrides or {}).items():
        part = raw.setdefault(table, {})
        if isinstance(part, dict):
            part[key] = value
    return raw


def _parse_toml(name: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        line, column = (match[1], match[2]) if match else (text.count("\n") + 1, 1)
        words = _mid_sentence(re.sub(r" \(at .*\)$", "", str(error)))
        raise ManifestError(f"not TOML: {words}", f"{name}:{line}:{column}") from None
    except RecursionError:
        raise ManifestError("nested too deeply", f"{name}:1:1") from None


def _parse_json(name: str, text: str) -> dict[str, Any]:
    try:
        raw = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"{name}:{error.lineno}:{error.colno}"
        raise ManifestError(f"not JSON: {_mid_sentence(error.msg)}", where) from None
    except RecursionError:
        raise ManifestError("nested too deeply", f"{name}:1:1") from None
    if not isinstance(raw, dict):
        raise ManifestError("must be an object: { … }", f"{name}:1:1")
    return raw


def _validate(model: type[M], raw: dict[str, Any], name: str, text: str) -> M:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        first = min(error.errors(), key=lambda each: (_place_of(text, each), each["type"] == "missing"))
        line, column = _place_of(text, first)
        more = error.error_count() - 1
        words = explain(model, first) + (f" (and {more} more)" if more else "")
        raise ManifestError(words, f"{name}:{line}:{column}") from None


def _refuse_not_yet(manifest: Manifest, name: str, text: str) -> None:
    for (table, key), default in NOT_YET.items():
        if getattr(getattr(manifest, table), key) != default:
            line, column = _locate(text, (table, key))
            raise ManifestError(
                f"{table}.{key} is not supported by this version", f"{name}:{line}:{column}", "leave it out"
            )


def explain(model: type[BaseModel], error: ErrorDetails) -> str:
    """What is wrong with a value, in the words of the manifest."""
    path = [str(part) for part in error["loc"] if isinstance(part, str) and "[" not in part]
    key = ".".join(path)
    if error["type"] == "extra_forbidden":  # the last one is somebody's own word, whatever is in it
        return _unknown_key(model, [*path, last] if "[" in (last := str(error["loc"][-1])) else path)
    if error["type"] == "literal_error":
        return f"{key} = {error['input']!r}: must be one of {error['ctx']['expected']}"
    if error["type"] == "string_pattern_mismatch":
        return f"{key} = {error['input']!r}: {RULES.get(path[-1], 'not in the expected form')}"
    words = error["msg"].removeprefix("Value error, ")
    return f"{key}: {_mid_sentence(words)}" if key else words


def _mid_sentence(words: str) -> str:
    """Without the capital of a sentence's start, but `PATH` stays `PATH`."""
    return words[:1].lower() + words[1:] if words[1:2].islower() else words


def _unknown_key(model: type[BaseModel], path: Sequence[str]) -> str:
    known = _keys(model, path[:-1])
    near = difflib.get_close_matches(path[-1], known, n=1, cutoff=0.6)
    if near:
        return f"unknown key {path[-1]!r}, did you mean {near[0]!r}?"
    elsewhere = [t for t in _keys(model, ()) if path[-1] in _keys(model, (t,))]
    if elsewhere:
        return f"unknown key {path[-1]!r} here; it belongs into [{elsewhere[0]}]"
    return f"unknown key {path[-1]!r}; known here: {', '.join(known)}"


def _keys(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    for part in path:
        field = model.model_fields.get(part)
        inner = None if field is None else field.annotation
        inner = next(iter(get_args(inner)), inner)  # of a list: what is in it
        if not isinstance(inner, type) or not issubclass(inner, BaseModel):
            return []
        model = inner
    return list(model.model_fields)


_HEADER = re.compile(r"^\s*\[\[?\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")


def _place_of(text: str, error: ErrorDetails) -> Place:
    """Of what is wrong; in a list of tables the value itself, since keys may be there several times."""
    line, column = _locate(text, error["loc"])
    value, is_of_list = error["input"], any(isinstance(part, int) for part in error["loc"][:-1])
    if not isinstance(value, str) or not is_of_list or error["type"] == "extra_forbidden":
        return line, column
    start = sum(map(len, text.splitlines(keepends=True)[: line - 1])) + column - 1
    found = re.compile(rf"""(["']){re.escape(value)}\1""").search(text, start)
    if found is None:
        return line, column
    before = text[: found.start()]
    return before.count("\n") + 1, found.start() - before.rfind("\n")


def _locate(text: str, loc: Sequence[str | int]) -> Place:
    """Line and column (from 1) of the key that `loc` leads to; of the nearest parent if it is not written."""
    path = [part for part in loc if isinstance(part, str) and "[" not in part]
    while path:
        if place := _find_key(text, path):
            return place
        path = path[:-1]
    return 1, 1


def _find_key(text: str, path: Sequence[str]) -> Place | None:
    key = re.compile(rf"""(?:^|[\s{{,.])["']?({re.escape(path[-1])})["']?\s*[=:.]""")
    table: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = [part.strip(" \"'") for part in header[1].split(".")]
            if table == list(path):
                return number, line.index("[") + 1
        elif (table == list(path[:-1]) or path[0] in line) and (match := key.search(line)):
            return number, match.start(1) + 1
    return None
