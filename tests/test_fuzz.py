"""Requests, packs and trees by chance: refused in words, or stored whole. The same ones each time here;
`make fuzz` takes others, for as long as HERMES_FUZZ_S says."""

import asyncio
import gzip
import os
import tarfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from dulwich.protocol import pkt_line
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from gitserver.body import Body, read_body
from gitserver.head import read_head
from gitserver.protocol import BadProtocol, PushHead, parse_head
from hermes.errors import Refused, TooLarge, UserError
from hermes.hold import keep_all
from hermes.objects import Objects, open_objects
from hermes.options import parse_options
from hermes.paths import Paths
from hermes.tree import Entry, TreeLimits, export_tar, list_tree
from tests.files import paths_below
from tests.hostile import mutations, trees
from tests.hostile.stored import Stored
from tests.hostile.writer import FLUSH, MAIN
from tests.service import Service

USUAL_S = 25  # all of them together, on two cores with other things to do
FUZZ_S = float(os.environ.get("HERMES_FUZZ_S", "0"))
LIMITS = {
    "HERMES_EXECUTOR": "local",
    "HERMES_REDIS_URL": "none",
    "HERMES_PUSH_SIZE": "8M",
    "HERMES_PUSH_RATE": "1000000",
    "HERMES_MAINTENANCE": "10h",
}


def as_git_shows(entry: Entry) -> str:
    """A line of `git ls-tree -l`."""
    kind, size = ("commit", "-") if entry.is_submodule else ("blob", str(entry.size_bytes))
    return f"{entry.mode:06o} {kind} {entry.sha} {size:>7}\t{entry.path}"


def check_export(objects: Objects, entries: dict[str, Entry], target: Path) -> None:
    """The tar has the same files, and nothing else; unless a link leaves the tree."""
    try:
        modules = export_tar(objects, entries, target, 0)
    except Refused as error:
        assert "is a link that leaves the repository" in str(error)
        return
    with tarfile.open(target, encoding="utf-8", errors="surrogateescape") as tar:
        found = {each.name: each for each in tar if not each.isdir()}
    kept = {path: entry for path, entry in entries.items() if not entry.is_submodule}
    assert set(found) == set(kept) and set(modules) == set(entries) - set(kept)
    assert all(entry.is_link or found[path].size == entry.size_bytes for path, entry in kept.items())


def budget(examples: int) -> Callable[[Any], Any]:
    """So many of them in the usual time, more in more."""
    return settings(
        max_examples=max(int(examples * (FUZZ_S or USUAL_S) / USUAL_S), 10),
        derandomize=not FUZZ_S,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


# ---- the head of a push

IDS = st.text("0123456789abcdef", min_size=40, max_size=40)
NAMES = st.text(st.characters(exclude_characters="\0\n", exclude_categories=["Cs"]), min_size=1, max_size=60)
MEANT = ("push-options", "object-format=sha256")  # hypothesis also draws the words of our own source
WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20).filter(
    lambda word: word not in MEANT
)


@st.composite
def heads(draw: st.DrawFn) -> tuple[bytes, list[tuple[str, str, str]], list[str]]:
    """A head as a client sends it, and what is in it."""
    commands = draw(st.lists(st.tuples(IDS, IDS, NAMES), min_size=1, max_size=5))
    options = draw(st.lists(NAMES, max_size=4))
    can = [*draw(st.lists(WORDS, max_size=4)), "report-status", *(["push-options"] if options else [])]
    lines = [" ".join(each).encode() for each in commands]
    lines[0] += b"\0" + " ".join(can).encode()
    body = b"".join(map(pkt_line, lines)) + FLUSH
    if options:
        body += b"".join(pkt_line(each.encode()) for each in options) + FLUSH
    return body, commands, options


def parsed(data: bytes) -> PushHead | str | None:
    """What comes of it; nothing else may."""
    try:
        return parse_head(data)
    except BadProtocol as error:
        assert 0 < len(str(error)) < 100
        return str(error)


@budget(1000)
@given(st.one_of(st.binary(max_size=300), mutations.lines()), st.binary(max_size=50))
def test_any_bytes_are_a_head_or_none(data: bytes, more: bytes) -> None:
    head = parsed(data)
    if isinstance(head, PushHead):
        assert head.size_bytes <= len(data)
        assert parsed(data[: head.size_bytes] + more) == head  # it does not look at what follows
    elif isinstance(head, str):
        assert parsed(data + more) == head


@budget(600)
@given(heads(), st.binary(max_size=50), st.data())
def test_head_is_read_as_it_was_written(
    made: tuple[bytes, list[tuple[str, str, str]], list[str]], more: bytes, data: st.DataObject
) -> None:
    body, commands, options = made
    head = parse_head(body + more)
    assert head is not None and head.size_bytes == len(body)
    assert [(each.old_sha, each.new_sha, each.ref) for each in head.commands] == commands
    assert list(head.options) == options
    cut = data.draw(st.integers(0, len(body) - 1))
    assert parse_head(body[:cut]) is None


@budget(400)
@given(mutations.changed(heads().map(lambda made: made[0])), st.lists(st.integers(1, 50), max_size=20))
def test_mutated_head_means_the_same_in_any_pieces(body: bytes, sizes: list[int]) -> None:
    whole = parsed(body)

    async def pieces() -> AsyncIterator[bytes]:
        at = 0
        for size in [*sizes, len(body)]:
            if body[at : at + size]:
                yield body[at : at + size]
            at += size

    async def read() -> PushHead | str:
        try:
            return await read_head(Body(pieces(), 60))
        except BadProtocol as error:
            return str(error)

    found = asyncio.run(read())
    if isinstance(whole, PushHead):
        assert found == whole
    else:
        assert isinstance(found, str)


# ---- the body of a request


def read_all(body: bytes, sizes: list[int], limit: int, zipped: bool) -> bytes:
    """What the server makes of a body that comes in pieces. Raises UserError."""
    cuts = [0]
    for size in sizes:
        cuts.append(min(cuts[-1] + size, len(body)))
    chunks = [body[a:b] for a, b in zip(cuts, [*cuts[1:], len(body)], strict=True)]
    messages = [{"type": "http.request", "body": each, "more_body": True} for each in chunks]
    messages.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> Message:
        return messages.pop(0)

    headers = [(b"content-encoding", b"gzip")] if zipped else []

    async def read() -> bytes:
        read = b""
        async for part in read_body(Request({"type": "http", "headers": headers}, receive), limit, "push"):
            read += part
            assert len(read) <= limit and len(part) <= max(1 << 20, len(body))
        return read

    return asyncio.run(read())


SIZES = st.lists(st.integers(0, 200), max_size=8)


@budget(300)
@given(st.binary(max_size=2000), st.integers(1, 200), SIZES, st.integers(0, 9), st.booleans())
def test_body_is_inflated_up_to_its_limit(
    data: bytes, times: int, sizes: list[int], level: int, zipped: bool
) -> None:
    whole = data * times
    body = gzip.compress(whole, level) if zipped else whole
    assert read_all(body, sizes, len(whole), zipped) == whole
    if whole:
        with pytest.raises(TooLarge):
            read_all(body, sizes, len(whole) - 1, zipped)


@budget(300)
@given(mutations.changed(st.binary(max_size=2000).map(gzip.compress)), SIZES)
def test_broken_gzip_is_words(body: bytes, sizes: list[int]) -> None:
    with suppress(UserError):
        read_all(body, sizes, 5000, zipped=True)


# ---- push options

TABLES = st.sampled_from(["run", "gpu", "ranks", "build", "", "on"])
KEYS = st.sampled_from(
    [*("args", "timeout", "memory", "cpus", "count", "model", "capability"), "repeat", "follow", "width", "x"]
)
OPTIONS = st.one_of(
    st.text(max_size=300),
    st.builds(lambda table, key, value: f"{table}.{key}={value}", TABLES, KEYS, st.text(max_size=300)),
    st.builds(lambda key, value: f"{key}={value}", KEYS, st.text(max_size=50)),
    st.builds(lambda key, value: f"run.{key}={value}", KEYS, st.text("-+0123456789.eE_nifa ", max_size=400)),
)


@budget(1000)
@given(st.lists(OPTIONS, max_size=4))
def test_any_option_is_taken_or_refused_in_words(options: list[str]) -> None:
    with suppress(UserError):
        parse_options(options)


# ---- the real server


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    """A repository of an instance with narrow limits."""
    service = Service(tmp_path_factory.mktemp("fuzz"), LIMITS)
    service.token = service.add_user(service.user)
    service.start()
    with keep_all(Paths(service.data), lambda: None):  # git looks at it while many packs could be joined
        yield Stored(service)
    assert service.stop() == 0
    assert "Traceback" not in service.log, service.log[service.log.index("Traceback") - 500 :][:4000]
    leftovers = [path for path in paths_below(service.data / "repos") if "incoming" in path.name]
    assert leftovers == []


@budget(180)
@given(body=mutations.pushes())
def test_mutated_push_is_refused_or_stored_whole(stored: Stored, body: bytes) -> None:
    with stored.after(body):
        pass


@budget(90)
@given(fill=mutations.random_trees())
def test_random_tree_is_refused_or_listed_as_git_does(
    stored: Stored, fill: trees.Fill, tmp_path_factory: pytest.TempPathFactory
) -> None:
    body = trees.push(fill, "detach", manifest=b"[on]\npush = []\n")
    with stored.after(body) as refs:
        if not refs:
            return
        listed = stored.git("ls-tree", "-r", "-l", "-z", "--full-tree", MAIN).split("\0")[:-1]
        with open_objects(stored.bare) as objects:
            entries = list_tree(objects, refs[MAIN], TreeLimits(20_000, 1 << 28))
            assert [as_git_shows(each) for each in entries.values()] == listed
            check_export(objects, entries, tmp_path_factory.mktemp("tar") / "tree.tar")
