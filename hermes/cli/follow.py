"""Follows a run: its stdout to ours, its stderr to ours, over broken connections to its end."""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from hermes.cli.plain import clean
from hermes.cli.remote import note
from hermes.client import Client, Frame, Invocation, Output
from hermes.client.answers import Run
from hermes.client.errors import BrokenOff, NoServer, ServerTrouble

T = TypeVar("T")
_TRIES = 3  # to start it, where nobody knows whether it has been
_GIVE_UP_S = 300.0  # without a word from the server
_POLL_S = 1.0


@dataclass(frozen=True)
class Wish:
    """What is asked of whom. `rewind` makes another try possible: its key keeps it one run."""

    client: Client
    invocation: Invocation
    rewind: Callable[[], None] | None

    def start(self, start: Callable[[], T], may_retry: Callable[[], bool] = lambda: True) -> T:
        """Once, or again where the connection broke before anybody knew whether there is a run."""
        for tries in range(_TRIES):
            try:
                return start()
            except BrokenOff:
                if self.rewind is None or tries == _TRIES - 1 or not may_retry():
                    raise
                self.rewind()
        raise AssertionError


class Follower:
    """One run. `record` is the newest that the server said; None while it has not said that there is one."""

    def __init__(self, client: Client, quiet: bool) -> None:
        self.client, self.quiet = client, quiet
        self.record: Run | None = None
        self.begins_line = True
        self._written = 0  # bytes of stdout
        self._shows_states = sys.stderr.isatty() and not quiet

    def start(self, wish: Wish) -> Run:
        """To its end."""
        try:
            return wish.start(lambda: self._follow(wish.invocation), lambda: self.record is None)
        except BrokenOff as error:
            if self.record is None:
                raise
            return self._resume(self.record["id"], error)

    def _follow(self, invocation: Invocation) -> Run:
        for frame in self.client.invoke(invocation):
            self._take(frame)
        assert self.record is not None
        return self.record

    def _take(self, frame: Frame) -> None:
        if isinstance(frame, Output):
            self._write(frame.stream, frame.data)
        elif "run" in frame.data:
            is_new = self.record is None
            self.record = frame.data["run"]
            if is_new and self._shows_states:
                note(clean(f"run {self.record['id']}  {self.record['url']}"))
        elif frame.name == "state" and self._shows_states:
            self._say_state(frame.data)

    def _say_state(self, data: dict[str, object]) -> None:
        words = str(data.get("words") or "")
        if words and data.get("state") in ("queued", "starting"):
            note(clean(words))

    def _write(self, stream: int, data: bytes) -> None:
        to = sys.stdout if stream == 1 else sys.stderr
        to.buffer.write(data)
        to.buffer.flush()
        if stream == 1 and data:
            self._written += len(data)
            self.begins_line = data.endswith(b"\n")

    def _resume(self, number: int, error: BrokenOff) -> Run:
        """The connection is lost, the run is not: the rest of its stdout comes from where it is kept."""
        if not self.quiet:
            note(f"{error}; run {number} goes on, trying to come back (stderr: hermes logs {number})")
        heard_at = time.monotonic()
        while time.monotonic() - heard_at < _GIVE_UP_S:
            try:
                record = self.client.run(number)
                for data in result_of(self.client, record, self._written):
                    self._write(1, data)
                heard_at = time.monotonic()
                if record["ended_at"] is not None:
                    self.record = record
                    return record
            except (BrokenOff, NoServer, ServerTrouble):
                pass
            time.sleep(_POLL_S)
        raise BrokenOff(f"{error}; run {number} goes on", f"hermes logs -f {number}")


def result_of(client: Client, run: Run, skip: int = 0, rank: int | None = None) -> Iterator[bytes]:
    """What its ranks wrote to stdout, one after another, without the first `skip` bytes."""
    if run["rank_count"] == 1 or rank is not None:
        yield from client.result(run["id"], rank or 0, skip)
        return
    for number in range(run["rank_count"]):
        for data in client.result(run["id"], number):
            if len(data) > skip:
                yield data[skip:]
            skip -= min(skip, len(data))


def print_result(client: Client, run: Run, rank: int | None = None) -> bool:
    """To stdout, byte for byte; returns whether a new line begins after it."""
    last = b"\n"
    for data in result_of(client, run, rank=rank):
        sys.stdout.buffer.write(data)
        last = data or last
    sys.stdout.buffer.flush()
    return last.endswith(b"\n")
