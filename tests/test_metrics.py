"""What a program says of itself in its output: found however it comes, bounded, and shown everywhere."""

import time
from collections.abc import Iterator

import pytest

from hermes.logs import MIXED, STDERR, STDOUT
from runner.metrics import MOST_NAMES
from runner.progress import ProgressScanner

LINES = b"""\
::metric loss=0.25
::metric gflops = 812.5 GFLOP/s
::hermes metric val/acc.top-5=93 %
::hermes progress 0.42 epoch 3 of 7
::metric latency=1.5e-3 \xc2\xb5s\r
"""
NOT_ONES = b"""\
 ::metric indented=1
text ::metric inside=1
::metric nan=nan
::metric inf=1e999
::metric =1
::metric 1a=1
::metric two=1 s per
::metric word=many
::metric hex=0x10
::metric escape=1 \x1b[31m
::metrics plural=1
::hermes metric
::metric """ + (b"a" * 65 + b"=1\n::metric wide=1" + b" " * 400 + b"\n::metric unended=1")


def scanned(data: bytes, size: int, stream: int = STDOUT) -> ProgressScanner:
    """After the bytes have come in pieces."""
    passed: list[bytes] = []
    scanner = ProgressScanner(lambda piece, _stream: passed.append(piece))
    for at in range(0, len(data), size):
        scanner(data[at : at + size], stream)
    assert b"".join(passed) == data
    return scanner


def figures(scanner: ProgressScanner) -> Iterator[tuple[str, float, str]]:
    for name, figure in scanner.metrics.figures.items():
        yield name, figure.value, figure.unit


@pytest.mark.parametrize("size", [1, 2, 7, 64, 4096])
@pytest.mark.parametrize("stream", [STDOUT, MIXED])
def test_lines_are_found_however_they_are_cut(size: int, stream: int) -> None:
    scanner = scanned(LINES + NOT_ONES, size, stream)
    assert list(figures(scanner)) == [
        ("loss", 0.25, ""),
        ("gflops", 812.5, "GFLOP/s"),
        ("val/acc.top-5", 93.0, "%"),
        ("latency", 0.0015, "µs"),
    ]
    assert (scanner.value, scanner.text) == (0.42, "epoch 3 of 7")


def test_standard_error_says_nothing_to_hermes() -> None:
    scanner = scanned(LINES, 64, STDERR)
    assert not scanner.metrics.figures
    assert scanner.value is None


def test_the_end_of_a_long_line_is_not_a_line() -> None:
    for length in range(380, 420):
        data = b"x" * length + b"::metric a=1\n"
        assert not scanned(data, 1).metrics.figures
        assert not scanned(data, length).metrics.figures


def test_the_last_value_of_a_name_counts_and_names_are_bounded() -> None:
    lines = [f"::metric m{i % (MOST_NAMES + 5)}={i}\n" for i in range(10 * MOST_NAMES)]
    scanner = scanned("".join(lines).encode(), 100)
    assert len(scanner.metrics.figures) == MOST_NAMES
    assert scanner.metrics.ignored
    assert scanner.metrics.figures["m7"].value == max(
        i for i in range(10 * MOST_NAMES) if i % (MOST_NAMES + 5) == 7
    )


def test_no_line_costs_more_than_its_bytes() -> None:
    """8 MiB that look like metrics and are none take less than a second; a quadratic search, minutes."""
    for line in (b"\n::metric " + b" " * 65_000, b"\n::metric a", b"\n::metric " + b"a" * 299, b"\n::"):
        data = line * (8 * (1 << 20) // len(line))
        began = time.process_time()
        assert not scanned(data, 1 << 16).metrics.figures
        assert time.process_time() - began < 5
