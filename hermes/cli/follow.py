"""Follows a run: its stdout to ours, its stderr to ours, over broken connections to its end."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from hermes.cli.asking import note
from hermes.cli.plain import clean
from hermes.client import Client, Event, Invocation, Output
from hermes.client.answers import Run
from hermes.client.errors import BrokenOff, ClientError, NoServer, ServerTrouble, TooOften
from hermes.client.frames import STDERR, STDOUT, Frame, Had

T = TypeVar("T")
_TRIES = 3  # to start it, where nobody knows whether it has been
_GIVE_UP_S = 300.0  # without a word from the server
_POLL_S = 1.0
_MOST_RESUMED = 100  # ranks that go on where they were; of more all is said again


@dataclass(frozen=True)
class Wish:
    """What is asked of whom. `rewind` makes another try possible: its key keeps it one run."""

    client: Client
    invocation: Invocation
    rewind: Callable[[], None] | None

    def start(self, start: Callable[[], T]) -> T:
        """Once, or again where the connection broke before anybody knew whether there is a run."""
        for tries in range(_TRIES):
            try:
                return start()
            except BrokenOff:
                if self.rewind is None or tries == _TRIES - 1:
                    raise
                self.rewind()
        raise AssertionError


class Follower:
    """One run. `record` is the newest that the server said; None while it has not said that there is one."""

    def __init__(self, client: Client, quiet: bool) -> None:
        self.client, self.quiet = client, quiet
        self.record: Run | None = None
        self.begins_line = True
        self._written: Counter[tuple[int, int]] = Counter()  # bytes by rank and stream
        self._skip: Counter[tuple[int, int]] = Counter()  # of what is said again after a broken connection
        self._attempts: dict[int, int] = {}
        self._heard_at = time.monotonic()
        self._was_told = False  # that the connection is broken now

    def start(self, wish: Wish) -> Run:
        """To its end. Until the server has said that there is a run, it is asked again with its key."""
        tries = 0
        while True:
            try:
                if self.record is None:
                    return self._follow(wish.client.invoke(wish.invocation))
                return self.go_on(self.record)
            except (BrokenOff, NoServer, ServerTrouble, TooOften) as error:
                tries += 1
                self._check_hope(error, wish.rewind is not None and tries < _TRIES)
                time.sleep(max(_POLL_S, getattr(error, "wait_s", 0.0)))
                if self.record is None and wish.rewind is not None:
                    wish.rewind()

    def go_on(self, record: Run) -> Run:
        """Of what the run has written and writes, what is not here yet; to its end."""
        self.record = record
        ranks = sorted({rank for rank, _stream in +self._written})[:_MOST_RESUMED]
        had = {
            rank: Had(self._attempts[rank], self._written[rank, STDOUT], self._written[rank, STDERR])
            for rank in ranks
        }
        self._skip = Counter({key: count for key, count in self._written.items() if key[0] not in had})
        return self._follow(self.client.output(record["id"], had))

    def _check_hope(self, error: ClientError, may_start: bool) -> None:
        """Raises it, or what to do, where another try makes no sense."""
        if self.record is None:
            if not may_start or not isinstance(error, BrokenOff):
                raise error
            return
        number = self.record["id"]
        if time.monotonic() - self._heard_at > _GIVE_UP_S:
            raise BrokenOff(f"{error}; run {number} goes on", f"hermes logs -f {number}") from None
        if not self.quiet and not self._was_told:
            note(f"{error}; run {number} goes on, trying to come back")
        self._was_told = True

    def _follow(self, frames: Iterator[Frame]) -> Run:
        for frame in frames:
            self._heard_at, self._was_told = time.monotonic(), False
            if isinstance(frame, Output):
                self._write(frame)
            else:
                self._take(frame)
        assert self.record is not None
        return self.record

    def _take(self, event: Event) -> None:
        if event.name == "attempt":
            self._begin(event.data["rank"], event.data["attempt"])
        elif "run" in event.data:
            is_new = self.record is None
            self.record = record = event.data["run"]
            if event.name == "run":
                for rank in record["ranks"]:
                    self._begin(rank["number"], max(rank["attempt"], 1))
            if is_new and not self.quiet and sys.stderr.isatty():
                note(clean(f"run {record['id']}  {record['words'] or record['state']}  {record['url']}"))

    def _begin(self, rank: int, attempt: int) -> None:
        """What came of an earlier attempt cannot be taken back; of this one nothing was shown yet."""
        if self._attempts.setdefault(rank, attempt) < attempt:
            self._attempts[rank] = attempt
            for stream in (STDOUT, STDERR):
                self._written[rank, stream] = self._skip[rank, stream] = 0
            if not self.quiet:
                note(f"rank {rank} begins again (attempt {attempt}); the output above is of a lost one")

    def _write(self, frame: Output) -> None:
        key = (frame.rank, frame.stream)
        data = frame.data[self._skip[key] :]
        self._skip[key] -= len(frame.data) - len(data)
        to = sys.stdout if frame.stream == STDOUT else sys.stderr
        to.buffer.write(data)
        to.buffer.flush()
        self._written[key] += len(data)
        if frame.stream == STDOUT and data:
            self.begins_line = data.endswith(b"\n")


def result_of(client: Client, run: Run, rank: int | None = None) -> Iterator[bytes]:
    """What a rank wrote to stdout; without one what all did, one after another."""
    for number in range(run["rank_count"]) if rank is None else (rank,):
        yield from client.result(run["id"], number)


def print_result(client: Client, run: Run, rank: int | None = None) -> bool:
    """To stdout, byte for byte; returns whether a new line begins after it."""
    last = b"\n"
    for data in result_of(client, run, rank):
        sys.stdout.buffer.write(data)
        last = data or last
    sys.stdout.buffer.flush()
    return last.endswith(b"\n")
