"""What compilers and checkers say, recognised in a log line by line; and its groups."""

from pathlib import Path

import pytest

from hermes.logs import STDOUT, LogWriter
from web.lines import LineIndex
from web.outline import Outline

#: What is printed, and what is made of it: severity, words, file, line.
SAID = {
    "gcc": (
        "src/a.cpp:12:5: error: 'x' was not declared in this scope",
        ("error", "'x' was not declared in this scope", "src/a.cpp", 12),
    ),
    "gcc in colours": (
        "\x1b[01m\x1b[Ka.cpp:3:1:\x1b[m\x1b[K \x1b[01;35m\x1b[Kwarning: \x1b[m\x1b[Kunused 'y'",
        ("warning", "unused 'y'", "a.cpp", 3),
    ),
    "nvcc": (
        'kernel.cu(33): error: identifier "foo" is undefined',
        ("error", 'identifier "foo" is undefined', "kernel.cu", 33),
    ),
    "nvcc with a number": (
        'kernel.cu(34): warning #177-D: variable "z" was declared',
        ("warning", 'variable "z" was declared', "kernel.cu", 34),
    ),
    "a header of the system": ("/usr/include/x.h:3:1: error: #error no", ("error", "#error no", "", 3)),
    "ld": (
        "/usr/bin/ld: /tmp/cc.o: in function `main': a.cpp:12: undefined reference to `bar'",
        ("error", "undefined reference to `bar'", "a.cpp", 12),
    ),
    "ld without a line": (
        "main.cpp:(.text+0x5): undefined reference to `foo()'",
        ("error", "undefined reference to `foo()'", "", 0),
    ),
    "make": ("make: *** [Makefile:3: all] Error 1", ("error", "[Makefile:3: all] Error 1", "Makefile", 3)),
    "UBSan": (
        "./a.cpp:5:3: runtime error: signed integer overflow: 2147483647 + 1",
        ("error", "signed integer overflow: 2147483647 + 1", "a.cpp", 5),
    ),
    "ASan": (
        "==17==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x602\nREAD of size 4 at 0x602\n"
        "    #0 0x55 in main /app/src/a.cpp:12:5\n    #1 0x7f in start /lib/x.c:3",
        ("error", "AddressSanitizer: heap-buffer-overflow on address 0x602", "src/a.cpp", 12),
    ),
    "TSan": (
        "WARNING: ThreadSanitizer: data race (pid=9)\n  Write of size 4\n    #0 add /app/b.cpp:7:2",
        ("warning", "ThreadSanitizer: data race (pid=9)", "b.cpp", 7),
    ),
    "compute-sanitizer": (
        "========= Invalid __global__ write of size 4 bytes\n"
        "=========     at kernel(int *)+0x70 in /app/k.cu:12",
        ("error", "Invalid __global__ write of size 4 bytes", "k.cu", 12),
    ),
    "valgrind": (
        "==99== Invalid read of size 4\n==99==    at 0x109177: main (v.c:9)",
        ("error", "Invalid read of size 4", "v.c", 9),
    ),
    "assert": (
        "pi: pi.cu:12: int main(): Assertion `x == 1' failed.",
        ("error", "int main(): Assertion `x == 1' failed.", "pi.cu", 12),
    ),
    "assert on a device": (
        "k.cu:7: void f(int *): block: [0,0,0], thread: [0,0,0] Assertion `i < 3` failed.",
        ("error", "void f(int *): block: [0,0,0], thread: [0,0,0] Assertion `i < 3` failed.", "k.cu", 7),
    ),
}
NOTHING = (
    "src/a.cpp:12:5: note: declared here",
    "an error: none of a compiler's",
    "epoch 3: error 0.25, warning none",
    "========= COMPUTE-SANITIZER",
    "========= ERROR SUMMARY: 0 errors",
    "SUMMARY: AddressSanitizer: heap-buffer-overflow a.cpp:12 in main",
    "12:30:05 error rate is low",
)


def outline_of(folder: Path, text: str) -> Outline:
    """Of a log that has ended."""
    writer = LogWriter(folder / "a.log", 1 << 20)
    writer.write(text.encode(), STDOUT)
    writer.close()
    outline = Outline(folder / "a.log")
    assert outline.look(LineIndex(folder / "a.log")).whole
    return outline


@pytest.mark.parametrize("name", SAID)
def test_who_complains_is_heard(tmp_path: Path, name: str) -> None:
    text, expected = SAID[name]
    found = outline_of(tmp_path, f"before\n{text}\nafter\n").diagnostics
    assert [(each.severity, each.words, each.file, each.line) for each in found] == [expected]
    assert found[0].at_line == 1


@pytest.mark.parametrize("line", NOTHING)
def test_what_only_sounds_like_it_is_left_alone(tmp_path: Path, line: str) -> None:
    assert outline_of(tmp_path, line + "\n").diagnostics == []


def test_groups_end_where_they_are_told_or_the_next_begins(tmp_path: Path) -> None:
    text = "::group::one\na\n::endgroup::\nb\n--- two\nc\n+++ three\nd\n--- a/x\n+++ b/x\n::group::\n"
    groups = outline_of(tmp_path, text).groups
    assert [(each.title, each.first, each.last, each.expanded) for each in groups] == [
        ("one", 0, 2, False),
        ("two", 4, 5, False),
        ("three", 6, 9, True),
        ("(no title)", 10, None, False),
    ]


def test_a_log_that_grows_is_read_on(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path / "a.log", 1 << 20)
    outline, index = Outline(tmp_path / "a.log"), LineIndex(tmp_path / "a.log")
    writer.write(b"a.c:1:1: error: one\na.c:2:1: err", STDOUT)
    assert outline.look(index).counts == {"error": 1}
    writer.write(b"or: two\n", STDOUT)
    told = outline.look(index).as_json()
    assert (told["counts"], [each["at"] for each in told["diagnostics"]]) == ({"error": 2}, [1, 2])
