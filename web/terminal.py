"""Log bytes as lines of coloured text, as a terminal would show each: `static/terminal.js` is its twin.

Of escape sequences, colours and styles (SGR) and movements within a line mean something (ECMA-48). A carriage
return goes back to the start of the line and what follows overwrites it. Movements between lines are left to
`web.screen`: a line of a log keeps its number. Colours beyond the 16 become the nearest of these; the browser
shows them all."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

TOKEN = re.compile(
    r"\x1b\[([0-?]*)[ -/]*([@-~])"  # CSI
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC: titles, links
    r"|\x1b[^\[\]]?"
    r"|([\r\b])"
    r"|([^\x1b\r\b]+)"
)
_CSI = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]")
#: What would be invisible or turn the reading direction: shown as a sign, never obeyed.
HIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")
_MOST_COLUMNS = 1 << 14
_FLAGS = {1: "bold", 2: "faint", 3: "italic", 4: "underline", 7: "inverse", 9: "strike"}
_OFF = {
    21: ("bold",),
    22: ("bold", "faint"),
    23: ("italic",),
    24: ("underline",),
    27: ("inverse",),
    29: ("strike",),
}
_BASE = (
    (0, 0, 0),
    (205, 0, 0),
    (0, 205, 0),
    (205, 205, 0),
    (0, 0, 238),
    (205, 0, 205),
    (0, 205, 205),
    (229,) * 3,
)
_BRIGHT = (
    (127,) * 3,
    (255, 0, 0),
    (0, 255, 0),
    (255, 255, 0),
    (92, 92, 255),
    (255, 0, 255),
    (0, 255, 255),
    (255,) * 3,
)


@dataclass(frozen=True)
class Span:
    """Text in one style; `style` is CSS class names."""

    style: str
    text: str


@dataclass(frozen=True)
class Pen:
    """How text is written from here on."""

    colour: str = ""
    ground: str = ""
    flags: tuple[str, ...] = ()

    @property
    def style(self) -> str:
        """CSS class names."""
        return " ".join(word for word in (self.colour, self.ground, *self.flags) if word)

    def after(self, codes: str) -> "Pen":
        """As SGR `codes` change it."""
        pen = self
        numbers = iter(
            [int(code) if code.isdecimal() else 0 for code in codes[:100].replace(":", ";").split(";")]
        )
        for code in numbers:
            pen = pen._one(code, numbers)
        return pen

    def _one(self, code: int, others: Iterator[int]) -> "Pen":
        if code == 0:
            return Pen()
        if code in _FLAGS:
            return replace(self, flags=tuple(sorted({*self.flags, _FLAGS[code]})))
        if code in _OFF:
            return replace(self, flags=tuple(flag for flag in self.flags if flag not in _OFF[code]))
        if 30 <= code <= 37 or 90 <= code <= 97 or code == 39:
            return replace(self, colour="" if code == 39 else f"c{code}")
        if 40 <= code <= 47 or 100 <= code <= 107 or code == 49:
            return replace(self, ground="" if code == 49 else f"b{code - 10}")
        if code == 38:
            return replace(self, colour=_prefixed("c", _nearest(others)))
        if code == 48:
            return replace(self, ground=_prefixed("b", _nearest(others)))
        return self


def _prefixed(prefix: str, code: int | None) -> str:
    return "" if code is None else f"{prefix}{code}"


def _nearest(numbers: Iterator[int]) -> int | None:
    """The code of the nearest of the 16 colours to one of the 256 (`5;n`) or to `2;red;green;blue`."""
    match next(numbers, 0):
        case 5:
            number = next(numbers, 0)
            if number < 16:
                return 30 + number if number < 8 else 82 + number
            colour = _of_256(number)
        case 2:
            colour = (next(numbers, 0), next(numbers, 0), next(numbers, 0))
        case _:
            return None
    every = [
        *((30 + at, each) for at, each in enumerate(_BASE)),
        *((90 + at, each) for at, each in enumerate(_BRIGHT)),
    ]
    return min(every, key=lambda one: sum((a - b) ** 2 for a, b in zip(one[1], colour, strict=True)))[0]


def _of_256(number: int) -> tuple[int, int, int]:
    """Red, green and blue of xterm's palette: a cube of 6 × 6 × 6, then 24 greys."""
    if number >= 232:
        grey = 8 + 10 * (min(number, 255) - 232)
        return grey, grey, grey
    steps = (0, 95, 135, 175, 215, 255)
    number -= 16
    return steps[number // 36], steps[number // 6 % 6], steps[number % 6]


@dataclass
class Row:
    """The cells of one line and the place of the cursor in it."""

    cells: list[tuple[str, str]] = field(default_factory=list)
    at: int = 0

    def write(self, text: str, style: str) -> None:
        text = text[: max(_MOST_COLUMNS - self.at, 0)]
        if self.at > len(self.cells):
            self.cells += [("", " ")] * (self.at - len(self.cells))
        self.cells[self.at : self.at + len(text)] = [(style, character) for character in text]
        self.at += len(text)

    def control(self, parameters: str, final: str) -> None:
        """CSI within the line: move (C D G) and erase (K)."""
        number = int(parameters) if parameters.isdecimal() and len(parameters) < 6 else 0
        if final == "C":
            self.at = min(self.at + max(number, 1), _MOST_COLUMNS)
        elif final == "D":
            self.at = max(self.at - max(number, 1), 0)
        elif final == "G":
            self.at = min(max(number, 1), _MOST_COLUMNS) - 1
        elif final == "K" and number == 0:
            del self.cells[self.at :]
        elif final == "K" and number == 1:
            self.cells[: self.at + 1] = [("", " ")] * min(self.at + 1, len(self.cells))
        elif final == "K":
            self.cells.clear()

    def spans(self) -> list[Span]:
        spans: list[Span] = []
        style = ""
        text: list[str] = []
        for each, character in self.cells:
            if each != style and text:
                spans.append(Span(style, "".join(text)))
                text = []
            style = each
            text.append(character)
        return [*spans, Span(style, "".join(text))] if text else spans


def render_line(line: str, pen: Pen) -> tuple[list[Span], Pen]:
    """What is to be seen of one line (without its end), and the pen after it."""
    if not HIDDEN.search(line) and not {"\x1b", "\r"} & set(line):
        return [Span(pen.style, line)] if line else [], pen
    row = Row()
    for match in TOKEN.finditer(line.removesuffix("\r")):
        if match[2] == "m":
            pen = pen.after(match[1])
        elif match[2]:
            row.control(match[1], match[2])
        elif match[3]:
            row.at = 0 if match[3] == "\r" else max(row.at - 1, 0)
        elif match[4]:
            row.write(HIDDEN.sub("\ufffd", match[4]), pen.style)
    return row.spans(), pen


def without_escapes(data: bytes) -> bytes:
    """The text alone, for who reads and does not look."""
    return _CSI.sub(b"", data) if b"\x1b" in data else data


def render(text: str, sgr: str = "") -> list[list[Span]]:
    """The lines of a text that begins a line, in the style that `sgr` has set before it."""
    _, pen = render_line(sgr, Pen())
    lines = []
    for line in text.split("\n"):
        spans, pen = render_line(line, pen)
        lines.append(spans)
    return lines
