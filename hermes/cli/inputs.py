"""What a run is given from here: stdin, files, names with values."""

import os
import stat
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from hermes.cli.asking import note
from hermes.cli.bar import Bar
from hermes.client.body import Body
from hermes.errors import UserError

_PATIENCE_S = 1.0


def pairs(texts: Iterable[str], option: str, otherwise: Callable[[str], str | None]) -> dict[str, str]:
    """`NAME=VALUE` each. Raises UserError; `otherwise` has the value of a name alone."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        known = value if equals else otherwise(name)
        if not name or known is None:
            raise UserError(f"{option} {text[:80]!r}: write NAME=VALUE")
        found[name] = known
    return found


@dataclass
class Inputs:
    """Opened files and the bar that shows how far they are sent; `close` them."""

    stdin: Body | None = None
    files: dict[str, Body] = field(default_factory=dict)
    can_resend: bool = True  # all of it can be read again from its start
    _stack: ExitStack = field(default_factory=ExitStack)

    @classmethod
    def open(cls, file: str | None, no_stdin: bool, inputs: Iterable[str], quiet: bool) -> "Inputs":
        """Raises UserError where one cannot be read."""
        found = cls()
        sources = {name: _open(path) for path, name in map(_named, inputs)}
        stdin = _stdin(file, no_stdin)
        sizes = [_size(each) for each in (*sources.values(), *([stdin] if stdin else []))]
        found.can_resend = None not in sizes
        total = sum(size or 0 for size in sizes) if found.can_resend else None
        bar = found._stack.enter_context(Bar("input", total, is_wanted=not quiet))
        for source in sources.values():
            found._stack.callback(source.close)
        found.files = {name: Body(source, bar.told, _size(source)) for name, source in sources.items()}
        if stdin:
            told = bar.told if quiet or _size(stdin) is not None else found._patiently(bar.told)
            found.stdin = Body(stdin, told, _size(stdin))
        return found

    def _patiently(self, told: Callable[[int], None]) -> Callable[[int], None]:
        """A pipe that says nothing for a second may never: then the person hears what is waited for."""
        timer = threading.Timer(_PATIENCE_S, note, ["waiting for stdin; without it: --no-stdin"])
        timer.daemon = True
        timer.start()
        self._stack.callback(timer.cancel)

        def heard(count: int) -> None:
            timer.cancel()
            told(count)

        return heard

    def rewind(self) -> None:
        """To the start of all."""
        for body in (*self.files.values(), *([self.stdin] if self.stdin else [])):
            body.rewind()

    def close(self) -> None:
        """All files, and the bar."""
        self._stack.close()


def _stdin(file: str | None, no_stdin: bool) -> BinaryIO | None:
    """Never a terminal, and no device such as /dev/null: those have nothing to send."""
    if file and file != "-":
        return _open(Path(file))
    if no_stdin or sys.stdin is None:
        return None
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError):  # closed
        return None
    has_bytes = stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
    return sys.stdin.buffer if has_bytes or (file == "-" and not sys.stdin.isatty()) else None


def _named(text: str) -> tuple[Path, str]:
    """`data/a.bin`, `data/a.bin:a.bin`; a colon of the file's own name is left alone."""
    path = Path(text)
    if not path.exists() and ":" in text:
        file, _, name = text.rpartition(":")
        return Path(file), name
    return path, path.name


def _open(path: Path) -> BinaryIO:
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder", "name its files, or send a tar")
        return path.open("rb")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None


def _size(source: BinaryIO) -> int | None:
    """What is left of a regular file."""
    status = os.fstat(source.fileno())
    return max(status.st_size - source.tell(), 0) if stat.S_ISREG(status.st_mode) else None
