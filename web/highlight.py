"""`python -m web.highlight`: words of a program by what they are, a line of JSON for each line on stdin.

A process of its own, because a lexer is made of regular expressions: one that runs away on a stranger's file
can only be killed, and would hold every other thread meanwhile."""

import json
import resource
import select
import sys
from itertools import groupby

from pygments.lexers import get_lexer_for_filename
from pygments.token import Comment, Keyword, Literal, Name, Number, _TokenType
from pygments.util import ClassNotFound

_MEMORY_BYTES = 512 << 20
_IDLE_S = 60.0
#: What a token is, or the nearest family that it belongs to; all else is plain.
_CLASSES: dict[_TokenType, str] = {
    Comment: "com",
    Comment.Preproc: "pre",
    Comment.PreprocFile: "str",
    Keyword: "key",
    Keyword.Type: "typ",
    Name.Function: "fun",
    Name.Class: "typ",
    Name.Builtin: "typ",
    Name.Tag: "key",
    Name.Attribute: "fun",
    Name.Decorator: "pre",
    Name.Label: "pre",
    Literal: "str",
    Number: "num",
}
Line = list[tuple[str, str]]


def highlighted(name: str, text: str) -> list[Line] | None:
    """(class, words) of each line; None: nobody knows this kind of file."""
    try:
        lexer = get_lexer_for_filename(name, text, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None
    lines: list[Line] = [[]]
    classed = ((_class_of(kind), words) for kind, words in lexer.get_tokens(text))
    for css, group in groupby(classed, key=lambda pair: pair[0]):
        first, *others = "".join(words for _, words in group).split("\n")
        lines[-1] += [(css, first)] if first else []
        lines += [[(css, each)] if each else [] for each in others]
    return lines


def _class_of(kind: _TokenType) -> str:
    at: _TokenType | None = kind
    while at is not None and at not in _CLASSES:
        at = at.parent
    return _CLASSES[at] if at is not None else ""


def main() -> None:
    """Until stdin ends or is silent for a minute."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while select.select([sys.stdin.buffer], [], [], _IDLE_S)[0]:
        line = sys.stdin.buffer.readline()
        if not line:
            return
        name, text = json.loads(line)
        sys.stdout.write(json.dumps(highlighted(name, text)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
