"""One git command over SSH: its words are read, then it is a push or a fetch as over HTTP."""

import asyncio
import re
import shlex
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import NamedTuple

import asyncssh
from dulwich.protocol import pkt_line

from gitserver import lfs
from gitserver.access import Caller, readable, writable
from gitserver.body import Body
from gitserver.protocol import BadProtocol
from gitserver.push import Door, Receiver, read_head
from gitserver.stream import answer
from hermes.errors import Unavailable, UserError
from hermes.journal import log

_CHUNK_BYTES = 1 << 16
_SILENCE_S = 1.0  # after which a client that does not say so has sent everything
_PATH = re.compile(r"/?([^/]+)/([^/]+?)(?:\.git)?/?")


class Command(NamedTuple):
    """What a client wants: the program, and the repository."""

    program: str
    owner: str
    name: str


def parse_command(text: str) -> Command | None:
    """`git-upload-pack '/alice/pi.git'`, also spelt `git upload-pack`; None: it is something else."""
    try:
        words = shlex.split(text)
    except ValueError:
        return None
    if words[:1] == ["git"] and len(words) > 1:
        words = [f"git-{words[1]}", *words[2:]]
    path = _PATH.fullmatch(words[1]) if len(words) == 2 else None
    if path is None or words[0] not in ("git-upload-pack", "git-receive-pack"):
        return None
    return Command(words[0].removeprefix("git-"), path[1], path[2])


class SshBody(Body):
    """What comes over a channel: it ends when the client says so, or when git has read what it needs."""

    def __init__(self, stdin: "asyncssh.SSHReader[bytes]", limit_s: float) -> None:
        super().__init__(self._read(stdin), limit_s)
        self._done = asyncio.Event()

    async def _read(self, stdin: "asyncssh.SSHReader[bytes]") -> AsyncIterator[bytes]:
        done = asyncio.create_task(self._done.wait())
        try:
            while not self._done.is_set():
                reading = asyncio.create_task(stdin.read(_CHUNK_BYTES))
                await asyncio.wait({reading, done}, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    reading.cancel()
                elif chunk := reading.result():
                    yield chunk
                else:
                    return
        finally:
            done.cancel()

    def enough(self) -> None:
        """Over SSH not every client closes its side after a pack."""
        self._done.set()

    async def discard(self) -> None:
        try:
            while True:
                async with asyncio.timeout(_SILENCE_S):
                    await anext(self)
        except (TimeoutError, StopAsyncIteration):
            return


class Session:
    """One channel of a signed-in client."""

    def __init__(
        self,
        door: Door,
        closing: asyncio.Event,
        caller: Caller,
        process: "asyncssh.SSHServerProcess[bytes]",
    ) -> None:
        self._door, self._closing, self._caller, self._process = door, closing, caller, process

    async def serve(self) -> None:
        """Do what is asked for; every error as words that git shows."""
        text = self._process.command or ""
        command = parse_command(text)
        if command is None:
            return self._explain(text)
        try:
            if command.program == "upload-pack":
                await self._upload(command)
            else:
                await self._receive(command)
        except UserError as error:
            await self._say_no(f"{error}" + (f"; {error.hint}" if error.hint else ""))
        except BadProtocol as error:
            await self._say_no(f"not a git request: {error}")
        except Unavailable as error:
            log.warning("git request failed", command=text[:200], error=str(error))
            await self._say_no("the server cannot do this now; try again")
        else:
            self._process.exit(0)

    async def _upload(self, command: Command) -> None:
        repo = await readable(self._door.context, self._caller, command.owner, command.name)
        path = self._door.context.paths.repo(repo.id)
        body = SshBody(self._process.stdin, self._door.context.settings.push_time)
        stream = self._door.git.upload(path, body, self._protocol(), self._caller.key)
        async with aclosing(stream):
            async for chunk in stream:
                await self._write(chunk)

    async def _receive(self, command: Command) -> None:
        context = self._door.context
        repo = await writable(context, self._caller, command.owner, command.name)
        await self._write(await self._door.git.advertise(context.paths.repo(repo.id), "receive-pack", ""))
        body = SshBody(self._process.stdin, context.settings.push_time)
        head = await read_head(body)
        if not head.commands:  # everything is up to date
            return
        receiver = Receiver(self._door, self._caller, repo, command.owner, command.name)
        received = await receiver.receive(head, body)
        stream = answer(context, received, f"{command.owner}/{command.name}", self._closing)
        async with aclosing(stream):
            async for chunk in stream:
                await self._write(chunk)

    def _protocol(self) -> str:
        return self._process.env.get("GIT_PROTOCOL", "")

    async def _write(self, data: bytes) -> None:
        self._process.stdout.write(data)
        await self._process.stdout.drain()

    async def _say_no(self, words: str) -> None:
        """`fatal: remote error: …` (gitprotocol-pack: an error line ends the conversation)."""
        await self._write(pkt_line(f"ERR {' '.join(words.split())}\n".encode()))
        self._process.exit(1)

    def _explain(self, text: str) -> None:
        name = self._caller.user.name if self._caller.user else ""
        words = f"Hi {name}! You are signed in, and there is no shell here: git push and git clone work."
        if text.startswith("git-lfs"):
            words = lfs.WORDS
        self._process.stderr.write(f"{words}\n".encode())
        self._process.exit(1 if text else 0)
