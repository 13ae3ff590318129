"""What compilers, linkers and checkers say about a line of somebody's source, read from a log.

Of gcc and clang, nvcc, ld, make, the sanitizers (ASan, TSan, MSan, LSan, UBSan), NVIDIA's compute-sanitizer
and cuda-memcheck, valgrind, and failed assertions of host and device."""

import re
from dataclasses import dataclass
from typing import Any

from web.sources import path_in_tree

#: Lines that are worth a closer look, for RE2 over a whole log.
CANDIDATES = (
    r"[^\s:()]+(?::\d+|\(\d+\))[^\n]*(?:error|warning)\b"
    r"|[^\n]*(?:undefined reference to|cannot find -l|Assertion [^\n]* failed)"
    r"|g?make(?:\[\d+\])?: \*\*\* "
    r"|==\d+==\s*(?:ERROR: \w+Sanitizer|Invalid |Conditional jump|Use of uninit|Process terminating)"
    r"|==\d+==    (?:at|by) "
    r"|(?:WARNING|SUMMARY): \w+Sanitizer"
    r"|========= +(?:[A-Z]|at )"
    r"|\s+#\d+ "
)
_WHERE = r"(?P<file>[^\s:()]+?)(?::(?P<line>\d+)(?::\d+)?|\((?P<line2>\d+)\))"
_COMPILER = re.compile(
    rf"{_WHERE}\s*: (?P<severity>(?:fatal |catastrophic |internal |runtime )?error|warning)"
    r"(?: #[\w-]+)?: (?P<words>.*)"
)
_ASSERTION = re.compile(rf"(?:[\w./-]+: )?{_WHERE}: (?P<words>.*Assertion .* failed.*)")
_LINKER = re.compile(rf"(?:.*?[ :]{_WHERE}: |.*?)(?P<words>undefined reference to .*|cannot find -l.*)")
_MAKE = re.compile(r"g?make(?:\[\d+\])?: \*\*\* (?P<words>(?:\[(?P<file>[\w./-]+):(?P<line>\d+): )?.*)")
_SANITIZER = re.compile(r"(?:==\d+==)?\s*(?P<severity>ERROR|WARNING): (?P<words>\w+Sanitizer: .*)")
_VALGRIND = re.compile(r"==\d+== (?P<words>(?:Invalid|Conditional|Use of|Process terminating).*)")
_MEMCHECK = re.compile(
    r"========= +(?P<words>(?:Invalid|Program hit|Race|Uninitialized|Leaked|Out-of-bounds|Misaligned|Barrier|"
    r"Warp|Error: |Warning: |Potential|Malloc|Stack|Access|Unused|Double free).*)"
)
_FRAME = re.compile(
    r"(?:==\d+==|=========)?\s+(?:#\d+|at|by) .*?(?P<file>[^\s()]+\.\w+):(?P<line>\d+)(?::\d+)?\)?$"
)
_KNOWN = (_COMPILER, _ASSERTION, _MAKE, _SANITIZER, _VALGRIND, _MEMCHECK, _LINKER)
_MOST_WORDS = 300


@dataclass
class Diagnostic:
    """`at_line` of the log (from 0); `file` as it was printed below the tree, "" where none was named."""

    at_line: int
    severity: str
    words: str
    file: str = ""
    line: int = 0

    def as_json(self) -> dict[str, Any]:
        """Line numbers as people count them, from 1."""
        return {
            "at": self.at_line + 1,
            "severity": self.severity,
            "words": self.words,
            "file": self.file,
            "line": self.line,
        }


def read_diagnostic(text: str, at_line: int) -> Diagnostic | None:
    """What a line of a log says about the source, if it does."""
    for pattern in _KNOWN:
        if match := pattern.match(text):
            parts = match.groupdict()
            line = parts.get("line") or parts.get("line2") or "0"
            return Diagnostic(
                at_line,
                _severity(parts.get("severity") or "error", parts["words"]),
                parts["words"].strip()[:_MOST_WORDS],
                path_in_tree(parts.get("file") or ""),
                int(line[:9]),
            )
    return None


def read_frame(text: str) -> tuple[str, int] | None:
    """The place in the tree that a line of a report's stack names: `(file, line)`."""
    match = _FRAME.match(text)
    file = path_in_tree(match["file"]) if match else ""
    return (file, int(match["line"][:9])) if match and file else None


def _severity(said: str, words: str) -> str:
    mild = said.lower() == "warning" or words.startswith(("Warning: ", "Leaked", "Unused"))
    return "warning" if mild else "error"
