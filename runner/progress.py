"""Finds what a program says to Hermes in what it prints: its progress and its metrics (docs/output.md)."""

import re

from hermes.executors.base import Sink
from hermes.logs import STDERR
from runner.metrics import MetricLines

# It begins with a literal: the search for one skips what cannot match, whatever a program prints.
_LINE = re.compile(rb"\n::(?:hermes (progress|metric)|(metric)) ([^\r\n]{1,300})(?=\r?\n)")
_PROGRESS = re.compile(r"(\d(?:\.\d{1,6})?)(?: (.{0,200}))?", re.ASCII)
_CARRY_BYTES = 400  # the longest line that can mean something


class ProgressScanner:
    """A sink that passes everything on; remembers the last progress (0 to 1) and its text, and the metrics.

    The lines stay in the log. What is printed to standard error is only passed on."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._carry = b"\n"  # from the end of the line before on; empty in a line that is too long
        self.value: float | None = None
        self.text = ""
        self.metrics = MetricLines()

    def __call__(self, data: bytes, stream: int) -> None:
        self._sink(data, stream)
        if stream == STDERR:
            return
        head = self._carry + data[:_CARRY_BYTES]  # the line that began before; the rest is not copied
        whole = data if b"\n::" not in head else self._carry + data
        if b"::" in whole and b"\n::" in whole:  # two bytes are found twenty times as fast as three
            for match in _LINE.finditer(whole):
                self._say(match[1] or match[2], match[3].decode("utf-8", "replace").strip(" "))
        last = head if len(data) <= _CARRY_BYTES else data[-_CARRY_BYTES:]
        began = last.rfind(b"\n")
        self._carry = last[began:] if began >= 0 and len(last) - began <= _CARRY_BYTES else b""

    def _say(self, verb: bytes, words: str) -> None:
        if verb == b"metric":
            self.metrics.read(words)
        elif match := _PROGRESS.fullmatch(words):
            self.value = min(float(match[1]), 1.0)
            self.text = match[2] or ""
