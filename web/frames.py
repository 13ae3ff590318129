"""Server-sent events as bytes: of a piece of a log made once, for all viewers who are at the same place."""

import codecs
import json
from functools import lru_cache
from typing import NamedTuple

from web.feed import Began, Changed, Ended, Item, Paused, Position, Printed, Quiet
from web.numbered import Numbered, Reached
from web.sights import Sight

_RETRY_MS = 2000
PING = b": still here\n\n"


def frame(event: str, data: str, event_id: str = "", retry_ms: int = 0) -> bytes:
    """One event. `data` is JSON in one line of ASCII."""
    fields = {"id": event_id, "event": event, "data": data, "retry": retry_ms or ""}
    return "".join(f"{name}: {value}\n" for name, value in fields.items() if value).encode() + b"\n"


@lru_cache(64)
def _state(event: str, sight: Sight) -> bytes:
    told = {"state": sight.state, "words": sight.words, "exit_code": sight.exit_code}
    return frame(event, json.dumps(told | {"watching": sight.watching}))


class _Made(NamedTuple):
    """What became of a piece, and where a viewer is who got it."""

    data: bytes
    held: bytes
    place: Reached | None


class Frames:
    """Of one viewer. Never cuts a character: its first bytes wait for the others; with `numbered`, an event
    `lines` goes before each piece of the log."""

    def __init__(self, numbered: Numbered | None = None) -> None:
        self._numbered = numbered
        self._held = b""
        self._place: Reached | None = None
        self._position = Position(0, 0)

    async def of(self, item: Item) -> bytes:
        """Empty for what is not worth an event."""
        match item:
            case Printed(attempt, piece):
                self._position = Position(attempt, piece.end)
                return await self._printed(item)
            case Changed(sight):
                return _state("state", sight)
            case Began(attempt):
                data = json.dumps({"attempt": attempt})
                return self._rest() + frame("attempt", data, f"{attempt}.0")
            case Ended(sight):
                return self._rest() + _state("end", sight)
            case Paused():
                return frame("reconnect", "{}", retry_ms=_RETRY_MS)
            case Quiet():
                return b""

    async def _printed(self, item: Printed) -> bytes:
        """Those who came here the same way get the same bytes."""
        way = (self._held, self._numbered is not None, self._place)
        made: _Made | None = item.piece.shared.get(way)
        if made is None:
            made = item.piece.shared[way] = await self._make(item)
        self._held, self._place = made.held, made.place
        return made.data

    async def _make(self, item: Printed) -> _Made:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(self._held + item.piece.data)
        held = decoder.getstate()[0]
        if not text:
            return _Made(b"", held, self._place)
        start, end = item.piece.start - len(self._held), item.piece.end - len(held)
        printed = frame("log", json.dumps(text), f"{item.attempt}.{end}")
        if self._numbered is None:
            return _Made(printed, held, None)
        data = (self._held + item.piece.data)[: end - start]
        about, place = await self._numbered.about(Position(item.attempt, start), data, self._place)
        return _Made(frame("lines", json.dumps(about)) + printed, held, place)

    def _rest(self) -> bytes:
        """What stays incomplete when its log has ended."""
        text, self._held = self._held.decode("utf-8", "replace"), b""
        return frame("log", json.dumps(text), "{}.{}".format(*self._position)) if text else b""
