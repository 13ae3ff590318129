"""Where the time of a small push goes: by the client's trace of HTTP; and what the server starts for it."""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from bench._git_sides import Side

_LINE = re.compile(r"(?P<at>\d\d:\d\d:\d\d\.\d{6}) \S+ +(?P<way>=>|<=) (?:Send|Recv) header: (?P<text>.*)")
_EXEC = re.compile(r'execve\("[^"]*", \[(?P<words>.*?)\](?:\.\.\.)?, ')
_ATTACHED_S = 0.3


class Moments(NamedTuple):
    """Of one `git push`, as Unix seconds."""

    began: float
    asked: float
    advertised: float
    sent: float
    answered: float
    ended: float

    def stages(self) -> Iterator[tuple[str, float]]:
        """(name, seconds), one after the other without a gap."""
        names = ("client_starts", "server_advertises", "client_packs", "server_receives", "client_ends")
        for name, before, after in zip(names, self, self[1:], strict=False):
            yield name, after - before


def read_trace(trace: Path, began: float, ended: float) -> Moments:
    """From what GIT_TRACE_CURL wrote: the last GET and POST, and when the head of each answer came."""
    at: dict[str, float] = {}
    last = ""
    for found in _LINE.finditer(trace.read_text(errors="replace")):
        clock = datetime.strptime(found["at"], "%H:%M:%S.%f").time()
        when = datetime.combine(datetime.fromtimestamp(began).date(), clock).timestamp()
        if found["way"] == "=>" and found["text"].startswith(("GET ", "POST ")):
            last = found["text"].split()[0]
            at[last] = when
        elif found["text"].startswith("HTTP/1.1 200"):
            at[f"{last} 200"] = when
    return Moments(began, at["GET"], at["GET 200"], at["POST"], at["POST 200"], ended)


@contextmanager
def programs(side: Side, folder: Path) -> Iterator[list[str]]:
    """The programs that the server starts meanwhile, in order: filled when the block ends; without strace, or
    where it may not look, empty."""
    found: list[str] = []
    if shutil.which("strace") is None:
        yield found
        return
    out = folder / f"execve-{side.name}"
    command = [
        "strace",
        "-f",
        "-z",
        "-qq",
        "-s",
        "64",
        "-e",
        "trace=execve",
        "-o",
        str(out),
        "-p",
        str(side.pid),
    ]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as strace:
        time.sleep(_ATTACHED_S)
        try:
            yield found
        finally:
            strace.terminate()
    with suppress(FileNotFoundError):
        found += [_program(match["words"]) for match in _EXEC.finditer(out.read_text(errors="replace"))]


def _program(arguments: str) -> str:
    """`git -c a=b --git-dir=x receive-pack y` as `git receive-pack`; others by their name."""
    words = re.findall(r'"((?:[^"\\]|\\.)*)"', arguments)
    name: str = words[0].rpartition("/")[2]
    if name != "git":
        return name
    rest = iter(words[1:])
    for word in rest:
        if word == "-c":
            next(rest, None)
        elif not word.startswith("-"):
            return f"git {word}"
    return "git"
