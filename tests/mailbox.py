"""A server that takes mail, on a port of its own: what it is told to refuse it refuses."""

import base64
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage

from tests.service import free_port


@dataclass
class Mailbox:
    """`taken`: (receiver, message); `answers`: {receiver: what is said to it, instead of yes}."""

    port: int
    taken: list[tuple[str, EmailMessage]] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    greeting: str = "220 here"
    tls: ssl.SSLContext | None = None
    password: str = ""  # of alice; empty: nobody signs in
    said: list[str] = field(default_factory=list)


class _Handler(socketserver.StreamRequestHandler):
    server: "_Server"

    def say(self, words: str) -> None:
        self.wfile.write(f"{words}\r\n".encode())

    def handle(self) -> None:
        box, receiver = self.server.box, ""
        self.say(box.greeting)
        while line := self.rfile.readline().decode("utf-8", "replace").strip():
            word = line.split()[0].upper()
            box.said.append(line if word != "AUTH" else "AUTH")
            if word == "EHLO":
                self.say("250-here")
                secure = isinstance(self.connection, ssl.SSLSocket)
                more = "STARTTLS" if box.tls and not secure else "AUTH PLAIN" if box.password else "8BITMIME"
                self.say(f"250 {more}")
            elif word == "STARTTLS":
                assert box.tls
                self.say("220 go on")
                self.connection = box.tls.wrap_socket(self.connection, server_side=True)
                self.setup_again()
            elif word == "AUTH":
                given = base64.b64decode(line.split()[2]).decode()
                self.say("235 yes" if given == f"\0alice\0{box.password}" else "535 no such user")
            elif word == "RCPT":
                receiver = line.partition("<")[2].partition(">")[0]
                self.say(box.answers.get(receiver, "250 yes"))
            elif word == "DATA":
                self.say("354 go on")
                self.take(receiver)
            else:
                self.say("221 bye" if word == "QUIT" else "250 yes")

    def finish(self) -> None:
        super().finish()
        self.connection.close()

    def setup_again(self) -> None:
        self.rfile = self.connection.makefile("rb")
        self.wfile = socketserver._SocketWriter(self.connection)  # type: ignore[attr-defined]

    def take(self, receiver: str) -> None:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        said = self.server.box.answers.get("data", "250 taken")
        if said.startswith("250"):
            message = message_from_bytes(b"".join(lines), policy=policy.default)
            assert isinstance(message, EmailMessage)
            self.server.box.taken.append((receiver, message))
        self.say(said)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    box: Mailbox

    def handle_error(self, *_: object) -> None:
        """Who left amid a word is no matter."""


@contextmanager
def mailbox(port: int = 0) -> Iterator[Mailbox]:
    """One that takes all, until it is told otherwise."""
    with _Server(("127.0.0.1", port or free_port()), _Handler) as server:
        server.box = Mailbox(server.server_address[1])
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.box
        server.shutdown()
