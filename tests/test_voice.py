"""How we speak into a push: folded and coloured at a terminal, plain elsewhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitserver.voice import Voice

LONG = "run 57    waiting: GPU 0 (H200) held by bob/nbody (run 5), about 2 m 10 s left, you are 1st"


def test_a_line_is_whole_where_nobody_looks() -> None:
    assert Voice().say(LONG) == f"hermes  {LONG}\n".encode()


def test_a_line_fits_a_terminal_of_80_columns_with_gits_prefix() -> None:
    said = Voice(at_terminal=True).say("run 57    " + "word " * 40).decode()
    assert len(said.splitlines()) > 2
    assert max(map(len, said.splitlines())) <= 80 - len("remote: ")


def test_the_user_may_say_how_wide_the_terminal_is() -> None:
    lines = Voice(columns=40).say(LONG).decode().splitlines()
    assert max(map(len, lines)) <= 32
    assert " ".join(line.strip() for line in lines) == " ".join(f"hermes  {LONG}".split(" ")).strip()


def test_an_address_is_never_cut() -> None:
    address = "http://gpu.example.org:8000/" + "a" * 100
    assert address in Voice(at_terminal=True, columns=40).say(f"main at 1234567  {address}").decode()


@pytest.mark.parametrize(
    ("word", "colour"), [("succeeded", 32), ("failed", 31), ("timed out", 31), ("lost", 31)]
)
def test_a_verdict_has_a_colour_only_at_a_terminal(word: str, colour: int) -> None:
    text = f"run 7    {word} in 2 s, failed"
    assert Voice().say(text) == f"hermes  {text}\n".encode()
    said = Voice(at_terminal=True).say(text).decode()
    assert said == f"hermes  run 7    \x1b[{colour}m{word}\x1b[m in 2 s, failed\n"


def test_a_branch_name_is_not_a_verdict() -> None:
    assert b"\x1b" not in Voice(at_terminal=True).say(
        "main at 1234567  http://x/alice/failed-builds/commit/1"
    )


def test_our_line_begins_on_a_line_of_its_own() -> None:
    voice = Voice()
    assert voice.pass_on(b"no line end") == b"no line end"
    assert voice.say("built") == b"\nhermes  built\n"
    assert voice.pass_on(b"whole\n") == b"whole\n"
    assert voice.say("built") == b"hermes  built\n"


COLOURED = (
    b"\x1b[1m\x1b[31merror:\x1b[0m x \x1b]8;;http://evil\x07link\x1b]8;;\x1b\\ \x1b[2K50 %\r\x1b(Bdone\n"
)


def test_a_programs_colours_stay_at_a_terminal_and_go_elsewhere() -> None:
    assert Voice(at_terminal=True).pass_on(COLOURED) == COLOURED
    assert Voice().pass_on(COLOURED) == b"error: x link 50 %\rdone\n"


@given(st.integers(0, len(COLOURED)), st.integers(0, len(COLOURED)))
def test_a_sequence_that_is_cut_between_two_chunks_goes_as_well(first: int, second: int) -> None:
    a, b = sorted((first, second))
    voice = Voice()
    shown = b"".join(voice.pass_on(part) for part in (COLOURED[:a], COLOURED[a:b], COLOURED[b:]))
    assert shown == Voice().pass_on(COLOURED)
    assert b"\x1b[" not in shown and b"evil" not in shown


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_no_text_is_lost_or_held_back_for_long(parts: list[bytes]) -> None:
    text = [part.replace(b"\x1b", b"").replace(b"\0", b"") for part in parts]
    voice = Voice()
    assert b"".join(voice.pass_on(part) for part in text) == b"".join(text)


def test_a_nul_does_not_end_the_line() -> None:
    assert Voice(at_terminal=True).pass_on(b"a\0b\n") == b"ab\n"
