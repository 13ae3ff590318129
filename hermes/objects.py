"""The objects of a repository, read through one git child that tells the size of each before its content.

Protocol: `git cat-file --batch-command` (git 2.36 and newer), https://git-scm.com/docs/git-cat-file."""

import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from hermes.errors import Refused, Unavailable
from hermes.git import git_child

_MAX_BYTES = 1 << 20  # what is read as a whole
_AT_ONCE = 4096  # questions that git gathers before it answers

_REMEMBERED = 100_000  # sizes, of 200 bytes each
_NOW = (
    "\nflush\n"  # git gathers questions and answers them in one piece: a thousand cost about as much as one
)


class ObjectInfo(NamedTuple):
    """`kind` is blob, tree, commit or tag."""

    sha: str
    kind: str
    size_bytes: int


class Objects:
    """Reads objects by name (an id, or an expression such as `ID^{tree}`; never a name that users choose)."""

    def __init__(self, child: "subprocess.Popen[bytes]") -> None:
        assert child.stdin is not None and child.stdout is not None
        self._questions, self._answers = child.stdin, child.stdout
        self._sizes: dict[str, int] = {}

    def info(self, name: str) -> ObjectInfo | None:
        """What the object is; None: there is none."""
        return self._ask("info", name)

    def each_size(self, names: Sequence[str]) -> Iterator[tuple[str, int]]:
        """(id, bytes) of many objects, in order. Raises Unavailable for one that is not there."""
        for at in range(0, len(names), _AT_ONCE):
            part = names[at : at + _AT_ONCE]
            self._questions.write(("info " + "\ninfo ".join(part) + _NOW).encode())
            self._questions.flush()
            answers = [self._answers.readline() for _ in part]  # `ID KIND SIZE`, or `ID missing`
            try:
                sizes = [int(answer[answer.rindex(b" ") :]) for answer in answers]
            except ValueError:
                raise Unavailable(f"one of the objects {part[0]} … {part[-1]} cannot be read") from None
            if len(self._sizes) < _REMEMBERED:
                self._sizes.update(zip(part, sizes, strict=True))
            yield from zip(part, sizes, strict=True)

    def sizes(self, shas: Iterable[str]) -> dict[str, int]:
        """{id: bytes}; git is asked for those that `each_size` has not met. Raises Unavailable."""
        wanted = set(shas)
        known = {sha: self._sizes[sha] for sha in wanted & self._sizes.keys()}
        return known | dict(self.each_size(list(wanted - known.keys())))

    @contextmanager
    def open(self, name: str) -> Iterator[tuple[ObjectInfo, IO[bytes]]]:
        """The content as a stream, of which exactly `size_bytes` are to be read. Raises Unavailable."""
        info = self._known(name, self._ask("contents", name))
        yield info, self._answers
        self._answers.read(1)  # the line end after the content

    def read(self, name: str, most_bytes: int = _MAX_BYTES) -> bytes:
        """A small object as a whole. Raises Unavailable when it is not there, and Refused for a large one:
        its content then stands in the pipe, and nothing more can be read."""
        with self.open(name) as (info, stream):
            if info.size_bytes > most_bytes:
                raise Refused(f"{info.kind} {info.sha[:7]} has {info.size_bytes} bytes; at most {most_bytes}")
            return stream.read(info.size_bytes)

    def _known(self, name: str, info: ObjectInfo | None) -> ObjectInfo:
        if info is None:
            raise Unavailable(f"object {name} cannot be read")
        return info

    def _ask(self, what: str, name: str) -> ObjectInfo | None:
        self._questions.write(f"{what} {name}{_NOW}".encode())
        self._questions.flush()
        return self._answer()

    def _answer(self) -> ObjectInfo | None:
        words = self._answers.readline().decode().split()
        return ObjectInfo(words[0], words[1], int(words[2])) if len(words) == 3 else None


@contextmanager
def open_objects(repo: Path, quarantine: Path | None = None) -> Iterator[Objects]:
    """The objects of a bare repository, and those in quarantine."""
    with git_child(repo, quarantine, "cat-file", "--batch-command", "--buffer") as child:
        yield Objects(child)
