"""Takes what was fetched from elsewhere: the very push that git would send, through the same receiver."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import NamedTuple

from dulwich.protocol import pkt_line

from gitserver.access import Caller
from gitserver.body import Body
from gitserver.door import Door
from gitserver.head import read_head
from gitserver.program import start
from gitserver.protocol import FLUSH, read_report
from gitserver.push import Receiver
from hermes.errors import Unavailable
from hermes.git import GitLimits, git_command, git_env, run_git
from hermes.pushes import RefUpdate
from hermes.repos import may_write
from hermes.tables import Repo, User
from hermes.taking import Offer, Taken
from hermes.threads import in_thread

_ABLE = b"report-status side-band-64k atomic quiet agent=hermes"
_PACK = ("-c", "pack.threads=1", "pack-objects", "--revs", "--stdout", "--delta-base-offset", "-q")


class _Who(NamedTuple):
    user: User
    repo: Repo
    owner: str


class Taker:
    """At the door of this service; `take` is what `hermes.serve` hands on."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def take(self, offer: Offer) -> Taken:
        """All of its refs, or none. Raises Unavailable for faults of ours."""
        who = await self._who(offer)
        if isinstance(who, Taken):
            return who
        tips = await in_thread(_tips, self._door.context.paths.repo(offer.repo_id))
        async with aclosing(self._sent(offer, tips)) as chunks:
            body = Body(chunks, self._door.context.settings.push_time)
            head = await read_head(body)
            caller = Caller(who.user)
            receiver = Receiver(self._door, caller, who.repo, who.owner, who.repo.name, offer.sender)
            received = await receiver.receive(head, body)
        report = read_report(received.answer, head)
        reasons = {ref: reason for ref, reason in report.refs.items() if reason}
        pushes = {push.ref: push.id for _, push, _ in received.applied}
        if missing := set(head.refs) - set(report.refs):
            raise Unavailable(f"git has not said what became of {', '.join(sorted(missing))}")
        hint = report.words.rpartition("hermes  refused")[2].partition("\n")[2].strip() if reasons else ""
        return Taken(reasons, hint, receiver.passes, pushes)

    async def _who(self, offer: Offer) -> _Who | Taken:
        """Whose push it is, if this user may still push there."""
        async with self._door.context.database.read() as session:
            repo = await session.get_one(Repo, offer.repo_id)
            user = await session.get_one(User, offer.sender.user_id)
            owner = (await session.get_one(User, repo.owner_id)).name
            if user.disabled_at is None and await may_write(session, user, repo):
                return _Who(user, repo, owner)
        why = f"{user.name}, who has connected it, may not push to {owner}/{repo.name} any more"
        return Taken({update.ref: why for update in offer.updates}, "connect it anew")

    async def _sent(self, offer: Offer, tips: list[str]) -> AsyncGenerator[bytes]:
        """What `git push` would send: commands, then a pack of what is not here yet."""
        yield _commands(offer.updates)
        wanted = [update.new_sha for update in offer.updates if not update.is_delete]
        if not wanted:
            return
        settings = self._door.context.settings
        limits = GitLimits(settings.git_memory, settings.git_time, 5)
        child = await start(git_command(offer.source, *_PACK), git_env(), (), limits.hold)
        try:
            await child.write("\n".join([*wanted, "--not", *tips, ""]).encode())
            child.close_input()
            async for chunk in child.output():
                yield chunk
            if (code := await child.wait()) != 0:
                raise Unavailable(f"git pack-objects ended with {code}")
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
            child.close()


def _commands(updates: tuple[RefUpdate, ...]) -> bytes:
    lines = []
    for number, update in enumerate(updates):
        able = b"\0" + _ABLE if number == 0 else b""
        command = f"{update.old_sha} {update.new_sha} {update.ref}".encode()
        lines.append(pkt_line(command + able))
    return b"".join(lines) + FLUSH


def _tips(repo: Path) -> list[str]:
    """What is here already."""
    found = run_git(repo, "for-each-ref", "--format=%(objectname)").decode().split()
    return list(dict.fromkeys(found))
