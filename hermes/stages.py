"""The stages of a build: where in its log each began, and when; and what it stands on. A file beside it.

Only the builder writes it, and nothing of it is in the log: no line that a program prints can be a stage, and
the bytes of the log are the same wherever they are read."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hermes.room import is_full

#: In their order, each with what people read.
STAGES = {
    "tree": "Export the tree",
    "dockerfile": "Build the Dockerfile",
    "packages": "Install the packages",
    "box": "Start the box",
    "clean": "make clean",
    "make": "make",
    "check": "Look for the program",
    "image": "Keep the image",
}
_MOST_BYTES = 1 << 14


@dataclass(frozen=True)
class Stage:
    """Its first byte is at `offset`; None: after all that was kept of a log that was too long."""

    name: str
    offset: int | None
    began_at: float
    ended_at: float | None = None

    @property
    def took_s(self) -> float | None:
        """None while it goes on, and of the last one whose builder was killed."""
        return None if self.ended_at is None else round(max(self.ended_at - self.began_at, 0.0), 3)


@dataclass(frozen=True)
class Layer:
    """A layer of an engine below the built tree; `made`: by this build, else it was there."""

    name: str
    digest: str
    size_bytes: int
    made: bool


def stages_path(log: Path) -> Path:
    return log.with_suffix(".stages")


class StageRecord:
    """Written while a build goes on: a line for the beginning of each stage, and one for the end of all."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self._path = stages_path(log)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self.stage = ""

    def begin(self, stage: str, offset: int | None) -> None:
        """The stage before it, if there was one, has ended."""
        self.stage = stage
        self._write({"stage": stage, "offset": offset, "at": time.time()})

    def note_layer(self, layer: Layer) -> None:
        """One that was used."""
        self._write({"layer": asdict(layer)})

    def close(self) -> None:
        """The last stage has ended."""
        if self.stage:
            self.begin("", None)  # a second call does nothing

    def _write(self, record: dict[str, Any]) -> None:
        try:
            with self._path.open("a") as file:
                file.write(f"{json.dumps(record)}\n")
        except OSError as error:  # a build goes on without them
            if not is_full(error):
                raise


def _read(log: Path, key: str) -> list[dict[str, Any]]:
    """The records that have it."""
    try:
        text = stages_path(log).read_text()[:_MOST_BYTES]
    except OSError:
        return []
    records = [json.loads(line) for line in text.split("\n")[:-1]]
    return [record for record in records if key in record]


def read_layers(log: Path) -> list[Layer]:
    """From below; none where boxes have no image, or the build did not come so far."""
    return [Layer(**record["layer"]) for record in _read(log, "layer")]


def read_stages(log: Path) -> list[Stage]:
    """In their order; none of a log that has no stages."""
    records = _read(log, "stage")
    ends = [record["at"] for record in records[1:]]
    return [
        Stage(record["stage"], record["offset"], record["at"], ends[at] if at < len(ends) else None)
        for at, record in enumerate(records)
        if record["stage"]
    ]
