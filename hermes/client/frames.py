"""The binary frames of a followed run, as Docker's attach has them: kind, rank, length, payload."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from hermes.client.errors import OtherServer

MEDIA_TYPE = "application/vnd.hermes.frames"
STDOUT, STDERR, EVENT = 1, 2, 3
_HEAD = 8
_MOST = 1 << 26  # bytes of one payload; what says more is no frame of ours


@dataclass(frozen=True, slots=True)
class Output:
    """Bytes that a rank wrote: `stream` is 1 for stdout, 2 for stderr."""

    stream: int
    data: bytes
    rank: int = 0


class Had(NamedTuple):
    """How many bytes of an attempt of a rank are here already."""

    attempt: int
    stdout: int
    stderr: int


@dataclass(frozen=True, slots=True)
class Event:
    """`run`, the first, and `end`, the last, with the record; `attempt`: a rank begins anew; `alive`."""

    name: str
    data: dict[str, Any]


Frame = Output | Event


class FrameReader:
    """Cuts the bytes of an answer into frames, wherever the pieces begin and end."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole now. Raises OtherServer where these are none."""
        rest = self._rest
        rest += data
        at = 0
        while len(rest) - at >= _HEAD:
            kind = rest[at]
            size = int.from_bytes(rest[at + 4 : at + _HEAD], "big")
            if kind not in (STDOUT, STDERR, EVENT) or size > _MOST:
                raise OtherServer("the server's answer is not made of frames", "is a newer hermes there?")
            if len(rest) - at < _HEAD + size:
                break
            rank = int.from_bytes(rest[at + 1 : at + 4], "big")
            payload = bytes(rest[at + _HEAD : at + _HEAD + size])
            at += _HEAD + size
            yield _frame(kind, rank, payload)
        del rest[:at]


def _frame(kind: int, rank: int, payload: bytes) -> Frame:
    if kind != EVENT:
        return Output(kind, payload, rank)
    data = json.loads(payload)
    return Event(data.pop("event", ""), data)
