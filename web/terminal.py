"""Log bytes as lines of coloured text: `static/log.js` does the same with the bytes that come after.

Of escape sequences only colours and bold mean anything; a carriage return begins its line anew."""

import re
from dataclasses import dataclass, field

_ESCAPE = re.compile(
    r"\x1b\[([0-?]*)[ -/]*([@-~])"  # CSI, of which SGR ends in m
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC: titles, links
    r"|\x1b[^\[\]]?"
    r"|\x1b"
)
#: What would be invisible or turn the reading direction: shown as a sign, never obeyed.
_HIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Span:
    """Text in one style; `style` is CSS class names."""

    style: str
    text: str


@dataclass
class Screen:
    """Feed it text; `lines` is what is to be seen."""

    colour: str = ""
    bold: bool = False
    lines: list[list[Span]] = field(default_factory=lambda: [[]])
    _returned: bool = False

    @property
    def style(self) -> str:
        """The class names of what comes next."""
        return " ".join(word for word in (self.colour, "bold" if self.bold else "") if word)

    def feed(self, text: str) -> None:
        """Everything that was printed, in order."""
        at = 0
        for match in _ESCAPE.finditer(text):
            self._print(text[at : match.start()])
            if match[2] == "m":
                self._sgr(match[1])
            at = match.end()
        self._print(text[at:])

    def _print(self, text: str) -> None:
        for part in re.split(r"([\n\r])", text):
            if part == "\n":
                self.lines.append([])
                self._returned = False
            elif part == "\r":
                self._returned = True
            elif part:
                if self._returned:
                    self.lines[-1].clear()
                    self._returned = False
                self.lines[-1].append(Span(self.style, _HIDDEN.sub("\ufffd", part)))

    def _sgr(self, codes: str) -> None:
        numbers = iter([int(code) if code.isdecimal() else 0 for code in codes[:100].split(";")])
        for code in numbers:
            if code == 0:
                self.colour, self.bold = "", False
            elif code in (1, 22):
                self.bold = code == 1
            elif 30 <= code <= 37 or 90 <= code <= 97:
                self.colour = f"c{code}"
            elif code == 39:
                self.colour = ""
            elif code in (38, 48):  # colours from larger palettes are left out, with their arguments
                for _ in range(1 if next(numbers, 0) == 5 else 3):
                    next(numbers, 0)
