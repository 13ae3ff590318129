"""What an executor is asked to start, and what it says about it.

A task runs in a *box*: the tree at /app, an output directory, bounded cpus, memory, disk, processes.
A box has one idempotent name; whoever starts it may lose it, so cleaning up works by name alone."""

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

Sink = Callable[[bytes, int], None]  # (bytes, stream as in hermes.logs)
Folder = Literal["app", "output"]
KILL_WAIT_S = 10.0


@dataclass(frozen=True)
class Limits:
    """The bounds of a box."""

    cpus: float
    memory_bytes: int
    disk_bytes: int
    pids: int = 512


@dataclass(frozen=True)
class Recipe:
    """How an image is made again of the Dockerfile of a tree: `export` writes that as a tar into `tree`."""

    dockerfile: str
    tree: Path
    export: Callable[[], object]
    timeout_s: float


@dataclass(frozen=True)
class Task:
    """One command to start. `tree` is a tar whose content becomes /app."""

    name: str
    image: str
    command: tuple[str, ...]
    tree: Path
    limits: Limits
    env: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)  # likewise, and masked in its output
    gpus: tuple[str, ...] = ()  # UUIDs
    network: bool = False
    packages: tuple[str, ...] = ()  # Debian's, that `layers` has put beside the image
    cache: Path | None = None  # compiler cache, kept across boxes: a disk image, or a directory
    checkpoint: Path | None = None  # kept across the attempts of a rank, likewise
    stdin: Path | None = None
    inputs: tuple[tuple[str, Path], ...] = ()  # (name below its input directory, file), not to be changed
    input_file: str = ""  # of these, the one that it is run for
    recipe: Recipe | None = field(default=None, compare=False, repr=False)  # of `image`
    apart: bool = False  # its streams are told apart, which may cost their order where no engine does it


@dataclass(frozen=True)
class Seen:
    """How much of each stream of a program is in its log."""

    stdout_bytes: int = 0
    stderr_bytes: int = 0

    def beyond(self, other: "Seen") -> int:
        """Bytes of this that are not in the other."""
        more = self.stdout_bytes - other.stdout_bytes, self.stderr_bytes - other.stderr_bytes
        return sum(max(size_bytes, 0) for size_bytes in more)

    def with_all_of(self, other: "Seen") -> "Seen":
        """Of each stream what is in either."""
        stdout_bytes = max(self.stdout_bytes, other.stdout_bytes)
        return Seen(stdout_bytes, max(self.stderr_bytes, other.stderr_bytes))


@dataclass
class Box:
    """A started task; `handle` belongs to the executor. Of an adopted one: `unlogged_bytes` is what it has
    printed and its log left out, `seen` is where `follow` goes on."""

    task: Task
    handle: Any = None
    unlogged_bytes: int = 0
    seen: Seen = Seen()
    was_ready: bool = False  # made before it was asked for (`prepare`)


@dataclass(frozen=True)
class Exit:
    """How the command ended: its exit code, as shells count it (128 + N for signal N), and after how long."""

    code: int
    wall_s: float
    out_of_memory: bool = False
    overrun: str = ""  # another bound that the executor ended it for: what it did, in words

    @property
    def signal_name(self) -> str:
        """`SIGSEGV` and so on; empty if it exited by itself."""
        try:
            return signal.Signals(self.code - 128).name if self.code > 128 else ""
        except ValueError:
            return ""


@dataclass(frozen=True)
class Usage:
    """What a box uses now."""

    cpu_s: float
    memory_bytes: int
    peak_memory_bytes: int


@dataclass(frozen=True)
class ImageFacts:
    """An image as it lies on this machine: its id (a digest) and its size."""

    digest: str
    size_bytes: int


class Layers(Protocol):
    """Debian packages in addition to what an image has."""

    async def need(self, image: str, packages: Sequence[str], say: Callable[[str], None]) -> None:
        """Return when boxes with these can start; `say` gets a line for each step that takes time. Abandoned,
        it goes on for who asks next. Raises Refused for what cannot be had, and Unavailable."""

    async def facts(self, image: str, packages: Sequence[str]) -> ImageFacts | None:
        """What an image is with these; None if it is not there, or if boxes have no image."""


class Dockerfiles(Protocol):
    """Images that repositories bring a Dockerfile for."""

    async def need(self, image: str, recipe: Recipe, write: Callable[[bytes], object]) -> bool:
        """Return when boxes can be made of it, and whether it was made now; `write` gets what that prints.
        Raises Refused for what is wrong with it, TimeoutError, and Unavailable."""

    async def save_app(self, image: str, target: Path, limit_bytes: int) -> bool:
        """Write what it has in /app as a tar; False: it has nothing there. Raises Refused and Unavailable."""


class Executor(Protocol):
    """The interface; tests/test_executors.py is its contract. Faults of ours are raised as Unavailable."""

    name: str
    layers: Layers
    dockerfiles: Dockerfiles
    outlives: bool  # whether a box can go on without this process (`leave`)

    async def check(self) -> str:
        """One line about the engine. Raises Unavailable with the next step."""

    async def has_image(self, reference: str) -> bool:
        """Whether a base image is there."""

    async def start(self, task: Task) -> Box:
        """Make the box and start the command; leaves nothing behind if it raises."""

    async def prepare(self, tasks: Sequence[Task]) -> None:
        """Do now what `start` would do for these, as far as that goes without starting anything, and undo it
        for all others that were prepared: most probably they come next. They are no boxes yet."""

    async def keep_warm(self, tasks: Sequence[Task]) -> None:
        """For each of these have a box in which no program runs, waiting for a task of the same kind: it
        differs in its name, in what is started and in what that reads. Undo it for all other kinds. They are
        no boxes yet, and each serves one task."""

    async def adopt(self, task: Task, seen: Seen) -> Box | None:
        """The box of a process of this instance that was killed, as if it had been started here: `follow`
        goes on after what was seen. None: there is no such box, or what it has printed is lost."""

    async def leave(self, box: Box) -> None:
        """Let go of a box that goes on: nothing more is read, and `adopt` of another process finds it."""

    async def follow(self, box: Box, sink: Sink) -> Exit:
        """Hand every byte to `sink`, in order and without the task's secrets, until the command has ended."""

    async def stop(self, box: Box, grace_s: float = KILL_WAIT_S) -> None:
        """SIGTERM, wait, SIGKILL. Returns when it is dead or beyond our reach."""

    async def usage(self, box: Box) -> Usage | None:
        """What it uses now; None if that cannot be seen."""

    async def processes(self, box: Box) -> frozenset[int]:
        """Its process ids, as this machine counts them; empty if that cannot be seen."""

    async def save(self, box: Box, folder: Folder, target: Path, limit_bytes: int) -> None:
        """Write a folder of an ended box as a tar. Raises Refused when it is larger than the limit."""

    async def boxes(self) -> list[str]:
        """The names of all boxes of this instance, alive or dead."""

    async def remove(self, name: str) -> None:
        """End and delete a box by name; a box that is not there is no error."""

    async def close(self) -> None:
        """Give the connections to the engine back."""
