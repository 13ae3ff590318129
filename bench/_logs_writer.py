"""Programs that print now and then, without them: one process that appends to many logs as a runner does.

    python -m bench._logs_writer PERIOD_S LOG...      until SIGTERM

Each log gets a line in every period, all evenly spread: the time, its number, an x."""

import sys
import time
from pathlib import Path

from hermes.logs import LogWriter


def write(period_s: float, paths: list[Path]) -> None:
    """For ever."""
    writers = [LogWriter(path, 1 << 30) for path in paths]
    began, said = time.monotonic(), 0
    while True:
        due = int((time.monotonic() - began) / period_s * len(writers))
        for number in range(said, due):
            line = f"{time.time():.4f} {number // len(writers)} x\n"
            writers[number % len(writers)].write(line.encode())
        said = due
        time.sleep(min(period_s / len(writers), 0.1))


if __name__ == "__main__":
    write(float(sys.argv[1]), [Path(each) for each in sys.argv[2:]])
