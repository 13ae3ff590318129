"""How we speak to somebody at the other end of `git push`: lines of ours between the bytes of their program.

At a terminal our lines are folded to its width and verdicts have a colour; elsewhere (a file, a pipe, CI)
lines are whole and nothing has a colour, the program's output neither. Git tells which it is
(`PushHead.at_terminal`); it does not tell the width, so that is 80 unless `-o width=N` says otherwise."""

import re
import textwrap
from dataclasses import dataclass, field, replace

_PREFIX = len("remote: ")  # git's own
_COLUMNS = 80
_INDENT = " " * 8
_COLOURS = {
    "succeeded": "32", "built": "32", "cached": "32",
    "failed": "31", "timed out": "31", "lost": "31", "refused": "31",
    "cancelled": "33", "warning": "33", "waiting": "33",
}  # fmt: skip
_VERDICT = re.compile(r"(?<![\w/-])(" + "|".join(_COLOURS) + r")\b")
#: Control sequences of terminals (ECMA-48): CSI, OSC and the two-byte ones.
_ESCAPE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|[ -/]+[0-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_=>78])")
_OPEN = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|[ -/]+|\][^\x07\x1b]{0,200}\x1b?)?\Z")


@dataclass
class Voice:
    """Makes bytes for the progress band; knows whether a line of ours needs a line end before it."""

    at_terminal: bool = False
    columns: int = 0  # 0: nobody said
    _at_line_start: bool = True
    _held: bytes = field(default=b"", repr=False)  # of a control sequence that is not whole yet

    def plain(self) -> "Voice":
        """Another one, for lines that somebody else puts together."""
        return replace(self, columns=10_000, _at_line_start=True, _held=b"")

    def say(self, text: str) -> bytes:
        """A line of ours."""
        start = b"" if self._at_line_start else b"\n"
        self._at_line_start = True
        return start + "".join(f"{line}\n" for line in self._lines(f"hermes  {text}")).encode()

    def pass_on(self, data: bytes) -> bytes:
        """Bytes of the user's program."""
        data = data.replace(b"\0", b"")  # git shows nothing behind a NUL
        if not self.at_terminal:
            data = self._without_escapes(data)
        if data:
            self._at_line_start = data.endswith(b"\n")
        return data

    def _lines(self, text: str) -> list[str]:
        width = (self.columns or (_COLUMNS if self.at_terminal else 0)) - _PREFIX
        lines = [text]
        if 0 < width < len(text):
            lines = textwrap.wrap(
                text, width, subsequent_indent=_INDENT, break_long_words=False, break_on_hyphens=False
            )
        if self.at_terminal:
            lines[0] = _VERDICT.sub(lambda m: f"\x1b[{_COLOURS[m[1]]}m{m[1]}\x1b[m", lines[0], count=1)
        return lines

    def _without_escapes(self, data: bytes) -> bytes:
        data = self._held + data
        self._held = b""
        if open_ := _OPEN.search(data):
            self._held, data = open_[0], data[: open_.start()]
        return _ESCAPE.sub(b"", data)
