"""What a container prints, as its runner reads it: straight from the engine, or by way of a keeper, which
holds what this process has not written yet (hermes.keeper)."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from docker.utils.socket import frames_iter

from hermes.errors import Unavailable
from hermes.executors.base import Seen, Sink
from hermes.executors.masked import masked
from hermes.held import ACK, END, FORGET, HEADER
from hermes.logs import STDERR, STDOUT

_START_S = 10.0
_ANSWER_S, _END_S = 60.0, 2.0
_PATH_BYTES = 100  # of a Unix socket


class Output(Protocol):
    """An attached container. `gone`: what cannot be read any more; `secrets`: what it is to be rid of yet."""

    gone: Seen
    secrets: Sequence[str]

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """(stream, bytes) until its end; a piece is done with when the next one is asked for."""

    def leave(self) -> None:
        """Read no more; who comes next may go on, if anybody can."""

    def close(self) -> None:
        """Nobody will ask for the rest."""


class Direct:
    """The engine's own stream: lost with this process."""

    def __init__(self, api: Any, container: str, secrets: Sequence[str]) -> None:
        self.gone, self.secrets = Seen(), secrets
        self._attached = api.attach_socket(container, {"stdout": 1, "stderr": 1, "stream": 1})

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        yield from frames_iter(self._attached, tty=False)  # type: ignore[no-untyped-call]

    def leave(self) -> None:
        self.close()

    def close(self) -> None:
        """The file over it, the response that holds it, and itself."""
        connection = self._attached._sock
        self._attached._response.close()
        self._attached.close()
        if connection is not None:
            connection.close()


class Kept:
    """By way of the keeper, which has masked it; gone is what a runner had."""

    secrets: Sequence[str] = ()

    def __init__(self, connection: socket.socket, gone: Seen) -> None:
        self._connection, self.gone = connection, gone

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """Raises Unavailable when it breaks off before its end."""
        with self._connection.makefile("rb", buffering=1 << 16) as stream_of_frames:
            while len(header := stream_of_frames.read(HEADER.size)) == HEADER.size:
                stream, size_bytes = HEADER.unpack(header)
                if stream == END:
                    return
                data = stream_of_frames.read(size_bytes)
                if len(data) < size_bytes:
                    break
                yield stream, data
                self._connection.sendall(ACK.pack(len(data)))
        raise Unavailable("the keeper of what it printed is gone")

    def leave(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)  # wakes who reads
        self._connection.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.sendall(ACK.pack(FORGET))
        self.leave()


class KeeperClient:
    """Finds the keeper at a socket, or starts one, and tells it that a runner is there."""

    def __init__(self, path: Path, engine: str) -> None:
        self._path, self._engine = str(path.absolute()), engine
        self._staying: socket.socket | None = None
        self._one_at_a_time = threading.Lock()  # two starts must not start two keepers

    def attach(self, container: str, secrets: Sequence[str]) -> Kept:
        """Before its start; what it prints is handed on without its secrets. Raises Unavailable."""
        self.stay()
        masked = json.dumps(secrets).encode()
        return self._open(f"attach {container} {self._engine} {len(masked)}", masked)

    def resume(self, container: str, seen: Seen) -> Kept | None:
        """Of which the log has so much; None: no keeper has anything of it."""
        try:
            kept = self._open(f"resume {container} {seen.stdout_bytes} {seen.stderr_bytes}")
        except Unavailable:
            return None
        self.stay()
        return kept

    def close(self) -> None:
        """This runner ends, and with it the keeper, unless it holds something."""
        if self._staying is not None:
            with contextlib.suppress(OSError), self._staying:
                self._staying.settimeout(_END_S)
                self._staying.sendall(b".")
                self._staying.recv(1)

    def leave(self) -> None:
        """This runner ends, and something goes on: the keeper is not to end with us."""
        if self._staying is not None:
            self._staying.close()
            self._staying = None

    def stay(self) -> None:
        """Have one that knows of this runner. Raises Unavailable."""
        with self._one_at_a_time:
            if self._staying is not None and _is_open(self._staying):
                return
            try:
                self._staying, _ = self._ask("stay")
            except OSError:
                self._start()
                self._staying, _ = self._ask("stay")

    def _start(self) -> None:
        command = [sys.executable, "-m", "hermes.keeper", self._path]
        with Path(self._path).with_suffix(".log").open("ab") as words:  # not our stderr: who started us reads
            done = subprocess.run(  # that to its end, which would be the keeper's
                command, stdin=subprocess.DEVNULL, stdout=words, stderr=words, timeout=_START_S, check=False
            )
        if done.returncode != 0:
            raise Unavailable(f"the keeper of output did not start: {words.name} says why")

    def _open(self, line: str, more: bytes = b"") -> Kept:
        try:
            connection, answer = self._ask(line, more)
        except OSError as error:
            raise Unavailable(f"the keeper of output does not answer: {error}") from error
        word, _, rest = answer.partition(" ")
        if word != "ok":
            connection.close()
            raise Unavailable(f"the keeper of output: {rest}")
        stdout, stderr = rest.split()
        return Kept(connection, Seen(int(stdout), int(stderr)))

    def _ask(self, line: str, more: bytes = b"") -> tuple[socket.socket, str]:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(_ANSWER_S)
            connection.connect(self._path)
            connection.sendall(f"{line}\n".encode() + more)
            answer = b""
            while not answer.endswith(b"\n"):
                byte = connection.recv(1)  # what follows is not ours to read
                if not byte:
                    raise ConnectionError("it hung up")
                answer += byte
            connection.settimeout(None)
        except BaseException:
            connection.close()
            raise
        return connection, answer.decode().strip()


def _is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        connection.setblocking(True)


def keeper_at(path: Path, engine: str) -> KeeperClient | None:
    """None where one cannot be: an engine that is reached over a network, a path too long for a socket."""
    is_local = engine.startswith("/") and len(str(path.absolute())) < _PATH_BYTES - len(".1234567")
    return KeeperClient(path, engine) if is_local else None


def open_output(keeper: KeeperClient | None, api: Any, container: str, secrets: Sequence[str]) -> Output:
    """Of a container that is about to start. Raises Unavailable."""
    return keeper.attach(container, secrets) if keeper else Direct(api, container, secrets)


def hand_on(output: Output, sink: Sink) -> None:
    """All of it, until its end."""
    with masked(sink, output.secrets) as masking:
        for stream, data in output.pieces():
            masking(data, STDERR if stream == STDERR else STDOUT)
