"""The process that highlights (`web.highlight`): started when it is asked, killed when it takes too long."""

import json
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parent.parent
_LIMIT_S = 5.0
_TURN_S = 2.0  # how long others are waited for
MOST_CHARACTERS = 128 << 10
_MOST_IN_LINE = 20_000  # what has longer lines was not written by people
Lines = list[list[tuple[str, str]]]


class Highlighter:
    """One question at a time; whoever would wait too long gets plain lines."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def lines(self, name: str, text: str) -> Lines:
        """(class, words) of each line; blocks. The words are those of the text, whatever happens."""
        plain = text.split("\n")
        found = None
        is_small = len(text) <= MOST_CHARACTERS and max(map(len, plain)) <= _MOST_IN_LINE
        if is_small and self._turn.acquire(timeout=_TURN_S):
            try:
                found = self._ask(json.dumps([name, text]).encode() + b"\n")
            finally:
                self._turn.release()
        if isinstance(found, list) and ["".join(words for _, words in line) for line in found] == plain:
            return [[(css, words) for css, words in line] for line in found]
        return [[("", line)] if line else [] for line in plain]

    def close(self) -> None:
        """It ends with this process anyway."""
        with self._turn:
            if self._process is not None:
                self._end(self._process)

    def _ask(self, question: bytes) -> Any:
        process = self._alive()
        assert process.stdin is not None and process.stdout is not None
        timer = threading.Timer(_LIMIT_S, process.kill)
        timer.start()
        answer = b""
        with suppress(OSError):  # it has just left: nobody had asked for a while
            process.stdin.write(question)
            process.stdin.flush()
            answer = process.stdout.readline()
        timer.cancel()
        if not answer:
            self._end(process)
            return None
        return json.loads(answer)

    def _alive(self) -> "subprocess.Popen[bytes]":
        if self._process is not None and self._process.poll() is None:
            return self._process
        if self._process is not None:
            self._end(self._process)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "web.highlight"],
            cwd=_ROOT,
            env={"LC_ALL": "C.UTF-8"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us; it ends with its stdin
        )
        return self._process

    def _end(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = None
        process.kill()
        with suppress(subprocess.TimeoutExpired, OSError):
            process.wait(1)
        for pipe in filter(None, (process.stdin, process.stdout)):
            with suppress(OSError):
                pipe.close()
