"""One git command over SSH: its words are read, then it is a push or a fetch as over HTTP.

A client that leaves ends what is sent to it, and nothing else: a push that is whole is applied."""

import asyncio
import re
import shlex
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import NamedTuple

from gitserver import lfs
from gitserver.access import Caller, readable, writable
from gitserver.body import Body
from gitserver.door import Door
from gitserver.head import read_head
from gitserver.protocol import CANNOT, BadProtocol, last_words
from gitserver.push import Receiver
from gitserver.ssh_channel import Channel
from gitserver.stream import answer
from hermes.errors import Refused, TooSlow, Unavailable, UserError
from hermes.journal import log
from hermes.ssh_keys import is_stale, mark_used, owner_of_key

_PROGRAMS = ("git-upload-pack", "git-receive-pack")
_PATH = re.compile(r"/?([^/\x00-\x1f\x7f]+)/([^/\x00-\x1f\x7f]+?)(?:\.git)?/?")


class Command(NamedTuple):
    """What a client wants: the program, and the repository."""

    program: str
    owner: str
    name: str


def parse_command(text: str) -> Command | None:
    """`git-upload-pack '/alice/pi.git'`, also spelt `git upload-pack`; None: it is something else.
    Raises UserError when it is one of the two, of something that is no repository."""
    try:
        words = shlex.split(text)
    except ValueError:
        return None
    if words[:1] == ["git"] and len(words) > 1:
        words = [f"git-{words[1]}", *words[2:]]
    if not words or words[0] not in _PROGRAMS:
        return None
    path = _PATH.fullmatch(words[1]) if len(words) == 2 else None
    if path is None:
        shown = ascii(" ".join(words[1:])[:80])
        raise UserError(f"{shown} is not the path of a repository", "ssh://git@HOST:PORT/OWNER/NAME.git")
    return Command(words[0].removeprefix("git-"), path[1], path[2])


class SshBody(Body):
    """What comes over a channel: it ends when the client says so, or when git has read what it needs (not
    every client closes its side after a pack)."""

    def __init__(self, channel: Channel, limit_s: float) -> None:
        super().__init__(_chunks(channel), limit_s)
        self._channel = channel

    def enough(self) -> None:
        self._channel.drop()

    async def discard(self) -> None:
        """Both sides can talk at once here: the answer need not wait for the end of what nobody wants."""
        self._channel.drop()


async def _chunks(channel: Channel) -> AsyncIterator[bytes]:
    while chunk := await channel.read():
        yield chunk


async def _request(body: Body, channel: Channel) -> AsyncIterator[bytes]:
    """What a client asks of a fetch. One that falls silent has said all; who is gone has not: then the
    whole fetch is cancelled, and its end is not git's business."""
    with suppress(TooSlow):
        async for chunk in body:
            yield chunk
    if channel.gone.is_set():
        await asyncio.Event().wait()


class Session:
    """One channel of a signed-in client."""

    def __init__(
        self, door: Door, closing: asyncio.Event, channel: Channel, fingerprint: str, address: str
    ) -> None:
        self._door, self._closing, self._channel = door, closing, channel
        self._fingerprint, self._address = fingerprint, address
        self._has_sideband = False  # whether the client reads bands by now

    async def serve(self) -> None:
        """Do what is asked for; every error as words that git shows."""
        channel, text = self._channel, self._channel.command
        try:
            with suppress(OSError):  # the client is gone
                channel.exit(await self._serve(text))
        except Exception:
            log.exception("git over ssh failed", command=text[:200])
            with suppress(OSError):
                channel.exit(await self._say_no("a fault of the server; its operator finds it in the log"))

    async def _serve(self, text: str) -> int:
        try:
            caller = await self._caller()
            command = parse_command(text)
            if command is None:
                return await self._explain(caller, text)
            serve = self._upload if command.program == "upload-pack" else self._receive
            await serve(caller, command.owner, command.name)
        except UserError as error:
            return await self._say_no(error.whole)
        except BadProtocol as error:
            return await self._say_no(f"not a git request: {error}")
        except Unavailable as error:
            log.warning("git request failed", command=text[:200], error=str(error))
            return await self._say_no(CANNOT)
        return 0

    async def _caller(self) -> Caller:
        """Who it is now: a connection may be kept open for longer than its key is good for."""
        if self._closing.is_set():
            raise Refused("the service restarts", "try again in a minute")
        async with self._door.context.database.read() as session:
            found = await owner_of_key(session, self._fingerprint)
        if found is None:
            raise Refused("this key signs nobody in any more", "add it anew, or use another")
        user, key = found
        if is_stale(key) and not self._door.context.room.trouble():
            async with self._door.context.database.write() as session:
                await mark_used(session, key)
        return Caller(user, address=self._address)

    async def _upload(self, caller: Caller, owner: str, name: str) -> None:
        context = self._door.context
        repo = await readable(context, caller, owner, name)
        body = SshBody(self._channel, context.settings.push_time)
        path, protocol = context.paths.repo(repo.id), self._channel.protocol
        request = _request(body, self._channel)
        await self._channel.write_all(self._door.git.upload(path, request, protocol, caller.key))

    async def _receive(self, caller: Caller, owner: str, name: str) -> None:
        context, channel = self._door.context, self._channel
        settings = context.settings
        repo = await writable(context, caller, owner, name)
        await channel.write(await self._door.git.advertise(context.paths.repo(repo.id), "receive-pack", ""))
        body = SshBody(channel, settings.push_time)
        head = await read_head(body)
        if not head.commands:  # everything is up to date
            return
        self._has_sideband = head.has_sideband
        received = await Receiver(self._door, caller, repo, owner, name).receive(head, body)
        await channel.write_all(answer(context, received, f"{owner}/{name}", self._closing))
        if received.refused or received.follow:  # git still sends its pack, and fails if nobody takes it
            await channel.quiet(settings.push_size, settings.push_time)

    async def _say_no(self, words: str) -> int:
        await self._channel.write(last_words(words, self._has_sideband))
        return 1

    async def _explain(self, caller: Caller, text: str) -> int:
        if text.startswith(("git-upload-archive", "git upload-archive")):
            return await self._say_no("archives are not made here; git clone --depth=1 works")
        name = caller.user.name if caller.user else ""
        words = f"Hi {name}! You are signed in, and there is no shell here: git push and git clone work."
        self._channel.complain(lfs.WORDS if text.startswith("git-lfs") else words)
        return 1 if text else 0
