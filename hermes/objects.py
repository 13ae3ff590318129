"""The objects of a repository, read through one git child that tells the size of each before its content.

Protocol: `git cat-file --batch-command` (git 2.36 and newer), https://git-scm.com/docs/git-cat-file."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from hermes.errors import Refused, Unavailable
from hermes.git import git_child

_MAX_BYTES = 1 << 20  # what is read as a whole
_AT_ONCE = 200  # questions that fit, with their answers, into the pipes


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

    def info(self, name: str) -> ObjectInfo | None:
        """What the object is; None: there is none."""
        return self._ask("info", name)

    def infos(self, names: Sequence[str]) -> Iterator[ObjectInfo]:
        """Of many objects, in order. Raises Unavailable for one that is not there."""
        for at in range(0, len(names), _AT_ONCE):
            part = names[at : at + _AT_ONCE]
            self._questions.write("".join(f"info {name}\n" for name in part).encode())
            self._questions.flush()
            for name in part:
                yield self._known(name, self._answer())

    @contextmanager
    def open(self, name: str) -> Iterator[tuple[ObjectInfo, IO[bytes]]]:
        """The content as a stream, of which exactly `size_bytes` are to be read. Raises Unavailable."""
        info = self._known(name, self._ask("contents", name))
        yield info, self._answers
        self._answers.read(1)  # the line end after the content

    def read(self, name: str, most_bytes: int = _MAX_BYTES) -> bytes:
        """A small object as a whole. Raises Refused for a large one, Unavailable when it is not there."""
        info = self._known(name, self.info(name))
        if info.size_bytes > most_bytes:
            raise Refused(f"{info.kind} {info.sha[:7]} has {info.size_bytes} bytes; at most {most_bytes}")
        with self.open(name) as (info, stream):
            return stream.read(info.size_bytes)

    def _known(self, name: str, info: ObjectInfo | None) -> ObjectInfo:
        if info is None:
            raise Unavailable(f"object {name} cannot be read")
        return info

    def _ask(self, what: str, name: str) -> ObjectInfo | None:
        self._questions.write(f"{what} {name}\n".encode())
        self._questions.flush()
        return self._answer()

    def _answer(self) -> ObjectInfo | None:
        words = self._answers.readline().decode().split()
        return ObjectInfo(words[0], words[1], int(words[2])) if len(words) == 3 else None


@contextmanager
def open_objects(repo: Path, quarantine: Path | None = None) -> Iterator[Objects]:
    """The objects of a bare repository, and those in quarantine."""
    with git_child(repo, quarantine, "cat-file", "--batch-command") as child:
        yield Objects(child)
