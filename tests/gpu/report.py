"""Figures that these tests measure beside what they prove: shown at the end, and written down as JSON."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.gpu.place import Place

FILE = "HERMES_TEST_GPU_REPORT"  # where to write them; without it they are shown only
Figure = float | int | str


@dataclass
class Report:
    """{what was done: {what was measured, with its unit: figure}}."""

    place: Place
    figures: dict[str, dict[str, Figure]] = field(default_factory=dict)

    def add(self, case: str, **figures: Figure) -> None:
        """Names carry units (`wall_s`)."""
        rounded = {
            name: round(each, 3) if isinstance(each, float) else each for name, each in figures.items()
        }
        self.figures.setdefault(case, {}).update(rounded)

    def lines(self) -> Iterator[str]:
        """For people."""
        driver, models = self.place.driver.version, ", ".join(self._models())
        yield f"{self.place.executor} executor, driver {driver}, {models}"
        for case, figures in self.figures.items():
            yield f"{case}: {', '.join(f'{name} {figure}' for name, figure in figures.items())}"

    def write(self) -> None:
        """To the file that the environment names, if it does."""
        if name := os.environ.get(FILE):
            Path(name).write_text(json.dumps(self._facts(), indent=2) + "\n")

    def _facts(self) -> dict[str, object]:
        return {
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "executor": self.place.executor,
            "driver": self.place.driver.version,
            "cuda": self.place.driver.cuda,
            "gpus": self._models(),
            "figures": self.figures,
        }

    def _models(self) -> list[str]:
        return [f"{gpu.model} {gpu.memory_bytes >> 20} MiB" for gpu in self.place.gpus]
