"""What a build prints, on its way into the log; signs of the script that are no output become its stages.

The script in the box writes a sign into both of its streams where a stage begins. A sign holds a key that is
made for each build, counts once and in the order of the stages; all that a program could reach that looks for
the key is to have its own lines counted to another stage."""

import re
import secrets

from hermes.logs import MIXED, LogWriter
from hermes.stages import STAGES, StageRecord

_MARK = b"\x1e"
_MOST_AHEAD_BYTES = 1 << 16
_ORDER = list(STAGES)


class StagedLog:
    """Takes the pieces of one box, as an executor hands them on."""

    def __init__(self, log: LogWriter, record: StageRecord) -> None:
        self.key = secrets.token_hex(16)
        self._log, self._record = log, record
        self._begin = _MARK + self.key.encode()
        self._sign = re.compile(re.escape(self._begin) + rb" ([a-z]{1,9})" + _MARK)
        self._whole = len(self._begin) + 11
        self._held: dict[int, bytes] = {}  # of each stream: what may be the beginning of a sign
        self._next = ""  # the stage that one stream is in already
        self._ahead_stream = MIXED
        self._ahead = b""  # what that stream has printed since

    def write(self, data: bytes, stream: int) -> None:
        """Pass it on without signs."""
        data = self._held.pop(stream, b"") + data
        while not self._is_ahead(stream) and (sign := self._sign.search(data)):
            self._pass_on(data[: sign.start()], stream)
            data = data[sign.end() :]
            self._reach(sign[1].decode(), stream)
        if self._is_ahead(stream):
            self._ahead += data
            if len(self._ahead) > _MOST_AHEAD_BYTES:
                self._enter()
            return
        rest = data.rfind(_MARK, max(len(data) - self._whole, 0))
        if rest >= 0 and self._may_begin(data[rest:]):
            self._held[stream] = data[rest:]
            data = data[:rest]
        self._pass_on(data, stream)

    def finish(self) -> None:
        """Nothing more comes."""
        if self._next:
            self._enter()
        for stream, data in self._held.items():
            self._pass_on(data, stream)
        self._held.clear()

    def _is_ahead(self, stream: int) -> bool:
        return bool(self._next) and stream == self._ahead_stream

    def _may_begin(self, data: bytes) -> bool:
        return self._begin.startswith(data) or data.startswith(self._begin)

    def _pass_on(self, data: bytes, stream: int) -> None:
        if data:
            self._log.write(data, stream)

    def _reach(self, stage: str, stream: int) -> None:
        """Streams come by different ways: a stage begins when both have reached it."""
        if stage == self._next:
            self._enter()
        elif not self._next and stage in _ORDER and self._is_later(stage):
            self._next, self._ahead_stream = stage, stream
            if stream == MIXED:
                self._enter()

    def _is_later(self, stage: str) -> bool:
        return not self._record.stage or _ORDER.index(stage) > _ORDER.index(self._record.stage)

    def _enter(self) -> None:
        self._record.begin(self._next, self._log.position)
        stream, data = self._ahead_stream, self._ahead
        self._next, self._ahead = "", b""
        self.write(data, stream)
