"""Secrets in streams of bytes: whatever the pieces, the same bytes stay, without any form of a secret."""

import base64
import itertools
import json
import shlex
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes.executors.masked import masked
from hermes.masking import STARS, Masker
from hermes.secret_forms import LEAST_BYTES, forms_of

#: Few letters, so that secrets overlap, repeat and begin within each other; a line, an accent, and `*` not.
VALUES = st.lists(st.text("ab\né", min_size=8, max_size=20), min_size=1, max_size=3)
CUTS = st.lists(st.integers(0, 400), max_size=12)
ODD = "p4ss \"w0rd'\\ +/?&é~"
KEY = "-----BEGIN KEY-----\n" + "\n".join(base64.b64encode(bytes([n] * 48)).decode() for n in range(1, 9))


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[str], bytes]:
    """Secrets, and output that has them whole, begun, broken off and encoded."""
    values = draw(VALUES)
    pieces = [form for value in values for form in sorted(forms_of([value]))] or [b"x"]
    begun = st.builds(lambda form, size: form[:size], st.sampled_from(pieces), st.integers(1, 30))
    other = st.binary(max_size=6).filter(lambda data: b"*" not in data)
    parts = draw(st.lists(st.one_of(begun, st.sampled_from(pieces), other), max_size=12))
    return values, b"".join(parts)


def expected(values: list[str], data: bytes) -> bytes:
    """Each byte by itself: whether a secret has it; what overlaps is one."""
    found = []
    for form in forms_of(values):
        at = data.find(form)
        while at >= 0:
            found.append((at, at + len(form)))
            at = data.find(form, at + 1)
    parts, done = [], 0
    for start, end in sorted(found):
        if start >= done:
            parts += [data[done:start], STARS]
        done = max(done, end)
    return b"".join([*parts, data[done:]])


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


@given(streams(), CUTS)
@settings(max_examples=150)
def test_every_split_of_a_stream_gives_the_same_bytes(
    stream: tuple[list[str], bytes], cuts: list[int]
) -> None:
    values, data = stream
    masker = Masker(values)
    shown = b"".join(masker.feed(piece) for piece in pieces(data, cuts)) + masker.end()
    assert shown == expected(values, data)
    assert not any(form in shown for form in forms_of(values))


@given(streams(), CUTS)
@settings(max_examples=150)
def test_a_pause_anywhere_shows_no_secret(stream: tuple[list[str], bytes], cuts: list[int]) -> None:
    """It may show where one begins: three bytes of it."""
    values, data = stream
    masker, shown = Masker(values), b""
    for piece in pieces(data, cuts):
        shown += masker.feed(piece) + masker.rest()
    shown += masker.end()
    assert not any(form in shown for form in forms_of(values))
    assert len(shown) >= len(expected(values, data))


@given(streams(), CUTS)
@settings(max_examples=100)
def test_nothing_is_held_that_is_not_the_beginning_of_a_secret(
    stream: tuple[list[str], bytes], cuts: list[int]
) -> None:
    values, data = stream
    forms, masker, fed = forms_of(values), Masker(values), b""
    for piece in pieces(data, cuts):
        masker.feed(piece)
        fed += piece
        held = masker._held
        assert fed.endswith(held)
        assert not held or any(form.startswith(held) and form != held for form in forms)


@pytest.mark.parametrize(
    "printed",
    [
        ODD,
        json.dumps({"token": ODD}),
        json.dumps([ODD], ensure_ascii=False),
        repr(["'", ODD]),
        f"set -x: {shlex.quote(ODD)}",
        "'" + ODD.replace("'", "'\\''") + "'",
        "p4ss\\ \\\"w0rd\\'\\\\\\ +/\\?\\&é\\~",
        f"?q={quote(ODD, safe='')}&r={quote(ODD)}&s={quote_plus(ODD)}&t={quote(ODD, safe='').lower()}",
        *(base64.b64encode(f"{'xyz'[:size]}{ODD} and more".encode()).decode() for size in range(4)),
        *(base64.urlsafe_b64encode(f"{'?~?'[:size]}{ODD}~~".encode()).decode() for size in range(4)),
        ODD.encode().hex(),
        ODD.encode().hex().upper(),
    ],
)
def test_usual_encodings_are_masked(printed: str) -> None:
    masker = Masker([ODD])
    shown = b"".join(masker.feed(bytes([byte])) for byte in printed.encode()) + masker.end()
    assert STARS in shown and len(shown) < len(printed.encode()), shown
    shown.decode()  # no character is cut
    bits = base64.b64encode(ODD.encode()).rstrip(b"=")
    assert not any(ODD.encode()[at : at + 8] in shown for at in range(len(ODD) - 8))
    assert not any(bits[at : at + 8] in shown for at in range(len(bits) - 8))


def test_of_a_secret_in_lines_each_line_is_masked_and_so_are_its_encodings_in_lines() -> None:
    masker = Masker([KEY])
    assert masker.feed(f"{KEY}\n".encode()) == b"***\n"
    assert masker.feed(KEY.replace("\n", "\r\n").encode() + b"\n") == b"***\n"
    for line in KEY.splitlines():
        assert masker.feed(f"> {line} <\n".encode()) == b"> *** <\n"
    wrapped = base64.encodebytes(KEY.encode())
    shown = masker.feed(wrapped).splitlines()
    assert shown[:-1] == [STARS] * (len(shown) - 1) and len(shown[-1]) < 8


def test_what_is_too_short_to_be_told_from_other_words_is_no_secret() -> None:
    forms = forms_of(["12345678", "a line of it\nshort\n", KEY, ODD])
    assert b"a line of it" in forms and b"short" not in forms
    assert all(len(form) >= LEAST_BYTES for form in forms)


def test_a_sink_masks_each_stream_by_itself_and_is_the_sink_without_secrets() -> None:
    seen: list[tuple[bytes, int]] = []

    def sink(data: bytes, stream: int) -> None:
        seen.append((data, stream))

    with masked(sink, ()) as unmasked:
        assert unmasked is sink
    with masked(sink, ["out-secret"]) as write:
        write(b"out-", 1)
        write(b"to stderr\n", 2)
        write(b"secret\n", 1)
        write(b"out-", 2)
    assert seen == [(b"to stderr\n", 2), (b"***\n", 1), (b"out-", 2)]
