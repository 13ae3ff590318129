"""Debian packages that a manifest asks for (`build.packages`): their names, and who may have which."""

import fnmatch
import re
from collections.abc import Sequence

from hermes.errors import Refused

_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]{0,98}[a-z0-9+.]")  # Debian policy 5.6.7; apt removes what ends in -
_PATTERN = re.compile(r"[a-z0-9*?+.-]+")
MOST = 50


def check_package(name: str) -> str:
    """The name of a package, unchanged: nothing that apt would read as an option or a pattern."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:80]!r} is not the name of a Debian package, for example libopenblas-dev")
    return name


def parse_allowed(text: str) -> str:
    """`on`, `off`, or names with `*` by blanks. Raises ValueError."""
    wrong = [each for each in text.split() if not _PATTERN.fullmatch(each)]
    if wrong:
        raise ValueError("must be on, off, or names of packages by blanks (libopenblas-dev libfftw3-*)")
    return text


def check_packages(names: Sequence[str], allowed: str) -> None:
    """Raises Refused for what this instance does not give."""
    if not names or allowed == "on":
        return
    if allowed == "off":
        raise Refused(
            f"build.packages = {', '.join(names)}: this instance installs no packages",
            "leave the key out, or ask the operator to set HERMES_PACKAGES",
        )
    patterns = allowed.split()
    for name in names:
        if not any(fnmatch.fnmatchcase(name, each) for each in patterns):
            raise Refused(f"build.packages: {name} is not allowed here", f"allowed are: {allowed}")
