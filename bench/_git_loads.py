"""What bench.git pushes: repositories whose manifest says that a push is stored and starts nothing.

All of it is made here, the same on every machine; the long history takes half a minute and is kept in
`$XDG_CACHE_HOME/hermes/bench` for the next time."""

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from bench._git_sides import client_env, git
from bench._tools import say

_QUIET = {"hermes.toml": "[on]\npush = []\n", "Makefile": "all:\n\t@true\n"}
_FILES, _BIG_BYTES = 20_000, 200_000_000
_COMMITS, _PATHS, _LETTERS = 20_000, 3000, "etaoinshrdlucmfwyp"
_HISTORY = "history-1.git"  # another number for other content


def _tree(folder: Path) -> Path:
    folder.mkdir(parents=True)
    git("init", "-q", "-b", "main", cwd=folder)
    for name, text in _QUIET.items():
        (folder / name).write_text(text)
    return folder


def commit(folder: Path, message: str) -> str:
    """Everything in there; its sha."""
    git("add", "-A", cwd=folder)
    git("commit", "-q", "-m", message, cwd=folder)
    return git("rev-parse", "HEAD", cwd=folder)


def tiny(folder: Path) -> Path:
    """A small project."""
    _tree(folder)
    change(folder, 0)
    return folder


def change(folder: Path, number: int) -> str:
    """One more commit: five small files, other than before."""
    for each in range(5):
        (folder / f"part{each}.cpp").write_text(
            f"// {number} {each}\nint part{each}() {{ return {number}; }}\n"
        )
    return commit(folder, f"change {number}")


def files(folder: Path) -> Path:
    """20,000 files of 40 to 2,000 bytes in 200 folders, in one commit."""
    _tree(folder)
    random_ = random.Random(1)
    for number in range(_FILES - len(_QUIET)):
        path = folder / f"data/{number % 200:03}/{number:05}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{number}\n" + random_.randbytes(random_.randint(10, 500)).hex(" ", 8) + "\n")
    commit(folder, "many files")
    git("repack", "-adq", cwd=folder)
    return folder


def big(folder: Path) -> Path:
    """One file of 200 MB that cannot be compressed."""
    _tree(folder)
    random_ = random.Random(2)
    with (folder / "data.bin").open("wb") as file:
        for _ in range(_BIG_BYTES // 1_000_000):
            file.write(random_.randbytes(1_000_000))
    commit(folder, "a large file")
    return folder


def history() -> Path:
    """A bare repository with 20,000 commits, from the cache if it has it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hermes/bench"
    kept, fresh = cache / _HISTORY, cache / f"{os.getpid()}.tmp"
    if kept.exists():
        return kept
    say(f"making a history of {_COMMITS} commits, once, in {kept}")
    cache.mkdir(parents=True, exist_ok=True)
    try:
        git("init", "-q", "--bare", "-b", "main", str(fresh), cwd=cache)
        command = ["git", f"--git-dir={fresh}", "fast-import", "--quiet", "--done"]
        with subprocess.Popen(command, env=client_env(), stdin=subprocess.PIPE) as child:
            assert child.stdin is not None
            _write_history(child.stdin)
            child.stdin.close()
        assert child.returncode == 0, "git fast-import failed"
        fresh.rename(kept)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return kept


def _write_history(out: IO[bytes]) -> None:
    """As https://git-scm.com/docs/git-fast-import reads it. All versions of a file come one after the other,
    so that it stores each as its difference to the one before."""
    random_ = random.Random(3)
    words = ["".join(random_.choices(_LETTERS, k=random_.randint(3, 9))) for _ in range(4000)]
    changed: list[list[int]] = [[] for _ in range(_PATHS)]  # the commits that change a file
    for number in range(_COMMITS):
        for path in {int(_PATHS * random_.random() ** 2) for _ in range(random_.choice((1, 2)))}:
            changed[path].append(number)
    parts: list[list[bytes]] = [[] for _ in range(_COMMITS)]  # what a commit says about its files
    for mark, (path, text) in enumerate(_versions(random_, words, changed), 1):
        out.write(b"blob\nmark :%d\n" % mark + _data(text))
        number = changed[path].pop(0)
        parts[number].append(b"M 100644 :%d src/part%02d/file%04d.c\n" % (mark, path % 60, path))
    parts[0] += [f"M 100644 inline {name}\n".encode() + _data(text) for name, text in _QUIET.items()]
    for number, lines in enumerate(parts):
        message = f"change {number}: {' '.join(random_.choices(words, k=8))}\n"
        when = 1_500_000_000 + number * 600
        head = b"commit refs/heads/main\ncommitter Ada <ada@example.org> %d +0000\n" % when
        out.write(head + _data(message) + b"".join(lines))
    out.write(b"done\n")


def _versions(
    random_: random.Random, words: list[str], changed: list[list[int]]
) -> Iterator[tuple[int, str]]:
    """(file, its text) for each of its changes, file by file: some places of it have other lines."""
    pool = [_line(random_, words) for _ in range(100_000)]
    for path, numbers in enumerate(changed):
        lines = random_.choices(pool, k=random_.randint(20, 250))
        for _ in list(numbers):
            for _ in range(random_.randint(1, 4)):
                at = random_.randrange(len(lines) + 1)
                lines[at : at + random_.randint(0, 36)] = random_.choices(pool, k=random_.randint(1, 36))
            yield path, "".join(lines)


def _line(random_: random.Random, words: list[str]) -> str:
    return (
        "    "
        + " ".join(random_.choices(words, k=random_.randint(3, 9)))
        + f" = {random_.randrange(10**6)};\n"
    )


def _data(text: str) -> bytes:
    data = text.encode()
    return b"data %d\n%s\n" % (len(data), data)
