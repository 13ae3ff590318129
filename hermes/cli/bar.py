"""How far a transfer is: shown on stderr, at a terminal only, and only when it takes more than a second."""

import sys
import time
from types import TracebackType
from typing import Any, Self

_PATIENCE_S = 1.0


class Bar:
    """`with Bar("pi.bin", size) as bar: bar.told(len(piece))`."""

    def __init__(
        self, what: str, total_bytes: int | None, done_bytes: int = 0, *, is_wanted: bool = True
    ) -> None:
        self._what, self._total, self._done = what, total_bytes, done_bytes
        self._shows_at = time.monotonic() + _PATIENCE_S
        self._shown: Any = None
        self._task: Any = None
        self._is_wanted = is_wanted and sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def told(self, count: int) -> None:
        """So many bytes more."""
        self._done += count
        if self._shown is not None:
            self._shown.update(self._task, completed=self._done)
        elif self._is_wanted and time.monotonic() > self._shows_at:
            self._show()

    def close(self) -> None:
        """Take it away."""
        if self._shown is not None:
            self._shown.stop()
        self._is_wanted, self._shown = False, None

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(True), TransferSpeedColumn())
        self._shown = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._shown.add_task(self._what, total=self._total, completed=self._done)
        self._shown.start()
