"""The objects of a repository, read through one git child that tells the size of each before its content.

Protocol: `git cat-file --batch-command` (git 2.36 and newer), https://git-scm.com/docs/git-cat-file."""

import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fcntl import F_GETPIPE_SZ, fcntl
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple

from hermes.errors import Refused, Unavailable
from hermes.git import git_child

_MAX_BYTES = 1 << 20  # what is read as a whole
_AT_ONCE = 400  # questions that git gathers before it answers
_ANSWER_BYTES = 70  # at most: id, kind, size
_AHEAD_BYTES = 1 << 18
_REMEMBERED = 100_000  # sizes, of 200 bytes each
_FEW, _SMALL = 20, 1 << 14  # commits that are kept, bytes of each
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
        self._infos: dict[str, ObjectInfo] = {}  # of the first objects: all that a small push brings
        self._commits: dict[str, bytes] = {}  # small ones, which the same question is asked of twice
        # With two rounds of answers in the pipe, git never waits for us to read while we wait for it to read.
        # A user who has too many large pipes open gets smaller ones from the kernel (pipe(7)).
        self._asks_ahead = fcntl(self._answers, F_GETPIPE_SZ) >= 2 * _AT_ONCE * _ANSWER_BYTES

    def info(self, name: str) -> ObjectInfo | None:
        """What the object is; None: there is none."""
        return self._infos.get(name) or self._ask("info", name)

    def each_size(self, names: Sequence[str]) -> Iterator[tuple[str, int]]:
        """(id, bytes) of many objects, in order. Raises Unavailable for one that is not there; who stops
        before the end can ask nothing more."""
        parts = [names[at : at + _AT_ONCE] for at in range(0, len(names), _AT_ONCE)]
        asked = 0
        for number, part in enumerate(parts, 1):
            while asked < min(number + self._asks_ahead, len(parts)):  # git works while we read
                self._question("info", parts[asked])
                asked += 1
            words = b"".join(islice(self._answers, len(part))).split()  # `ID KIND SIZE`, or `ID missing`
            if len(words) != 3 * len(part):
                raise Unavailable(f"one of the objects {part[0]} … {part[-1]} cannot be read")
            sizes, kinds = list(map(int, words[2::3])), map(bytes.decode, words[1::3])
            if len(self._sizes) < _REMEMBERED:
                self._sizes.update(zip(part, sizes, strict=True))
            if len(self._infos) < _AT_ONCE:
                self._infos.update(zip(part, map(ObjectInfo, part, kinds, sizes), strict=True))
            yield from zip(part, sizes, strict=True)

    def sizes(self, shas: Iterable[str]) -> Mapping[str, int]:
        """{id: bytes} of these and of others; git is asked for those that `each_size` has not met. Raises
        Unavailable."""
        known = self._sizes
        unknown = {sha for sha in shas if sha not in known}
        return known | dict(self.each_size(list(unknown))) if unknown else known

    @contextmanager
    def open(self, name: str) -> Iterator[tuple[ObjectInfo, IO[bytes]]]:
        """The content as a stream, of which exactly `size_bytes` are to be read. Raises Unavailable."""
        info = self._known(name, self._ask("contents", name))
        yield info, self._answers
        self._answers.read(1)  # the line end after the content

    def read(self, name: str, most_bytes: int = _MAX_BYTES) -> bytes:
        """A small object as a whole. Raises Unavailable when it is not there, and Refused for a large one:
        its content then stands in the pipe, and nothing more can be read."""
        if (commit := self._commits.get(name)) is not None:
            return commit
        with self.open(name) as (info, stream):
            if info.size_bytes > most_bytes:
                raise _too_large(info, most_bytes)
            content = stream.read(info.size_bytes)
        if info.kind == "commit" and len(content) < _SMALL and len(self._commits) < _FEW:
            self._commits[name] = content
        return content

    def read_many(self, names: Sequence[str], most_bytes: int) -> Iterator[bytes]:
        """Whole objects, in order, a few ahead of who asks. Raises as `read`."""
        sizes = self.sizes(names)
        part: list[str] = []
        left = _AHEAD_BYTES
        for name in names:
            if part and (sizes[name] > left or len(part) == _AT_ONCE):
                yield from self._read_part(part, most_bytes)
                part, left = [], _AHEAD_BYTES
            part.append(name)
            left -= sizes[name]
        yield from self._read_part(part, most_bytes)

    def _read_part(self, names: list[str], most_bytes: int) -> list[bytes]:
        self._question("contents", names)
        found = []
        for name in names:
            info = self._known(name, self._answer())
            if info.size_bytes > most_bytes:
                raise _too_large(info, most_bytes)
            found.append(self._answers.read(info.size_bytes))
            self._answers.read(1)
        return found

    def _known(self, name: str, info: ObjectInfo | None) -> ObjectInfo:
        if info is None:
            raise Unavailable(f"object {name} cannot be read")
        return info

    def _ask(self, what: str, name: str) -> ObjectInfo | None:
        self._question(what, [name])
        return self._answer()

    def _question(self, what: str, names: Sequence[str]) -> None:
        self._questions.write((f"{what} " + f"\n{what} ".join(names) + _NOW).encode())
        self._questions.flush()

    def _answer(self) -> ObjectInfo | None:
        words = self._answers.readline().decode().split()
        return ObjectInfo(words[0], words[1], int(words[2])) if len(words) == 3 else None


def _too_large(info: ObjectInfo, most_bytes: int) -> Refused:
    return Refused(f"{info.kind} {info.sha[:7]} has {info.size_bytes} bytes; at most {most_bytes}")


@contextmanager
def open_objects(repo: Path, quarantine: Path | None = None) -> Iterator[Objects]:
    """The objects of a bare repository, and those in quarantine."""
    with git_child(repo, quarantine, "cat-file", "--batch-command", "--buffer") as child:
        yield Objects(child)
