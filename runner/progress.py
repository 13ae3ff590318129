"""Finds `::hermes progress 0.42 text` lines in what a program prints; they stay in the log."""

import re

from hermes.executors.base import Sink

_LINE = re.compile(rb"^::hermes progress (\d(?:\.\d{1,6})?)(?: ([^\r\n]{0,200}))?\r?$", re.MULTILINE)
_CARRY_BYTES = 300


class ProgressScanner:
    """A sink that passes everything on and remembers the last progress (0 to 1) and its text."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._carry = b""
        self.value: float | None = None
        self.text = ""

    def __call__(self, data: bytes, stream: int) -> None:
        self._sink(data, stream)
        whole = self._carry + data
        if b"::hermes" in whole:
            for match in _LINE.finditer(whole[: whole.rfind(b"\n") + 1]):
                self.value = min(float(match[1]), 1.0)
                self.text = (match[2] or b"").decode("utf-8", "replace")
        self._carry = whole[whole.rfind(b"\n") + 1 :][-_CARRY_BYTES:]
