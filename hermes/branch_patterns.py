"""Which branches something is for: names and patterns, as typed, checked and matched."""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from hermes.errors import UserError

_MOST = 20
_PATTERN = re.compile(r"[A-Za-z0-9_./+#=*?\[\]!-]{1,200}")


def split_branches(text: str) -> tuple[str, ...]:
    """As typed: by blanks or commas."""
    return tuple(each for each in re.split(r"[\s,]+", text) if each)


def check_branches(what: str, branches: Sequence[str]) -> None:
    """`what` is for them. Raises UserError."""
    if len(branches) > _MOST:
        raise UserError(f"{what} is for {_MOST} branches or patterns at most", "use a pattern: release/*")
    for each in branches:
        if not _PATTERN.fullmatch(each):
            raise UserError(
                f"{each[:80]!r} is neither a branch nor a pattern", "for example main, release/*, or *"
            )


def is_among(branch: str, patterns: Sequence[str]) -> bool:
    """Whether one of them means it."""
    return any(fnmatchcase(branch, each) for each in patterns)
