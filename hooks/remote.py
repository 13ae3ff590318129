"""Git as a client of a repository elsewhere, by one way there (hooks.way): nothing on its command line that
is a secret; bounded in time, memory and bytes."""

import asyncio
import os
import resource
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hermes.errors import Refused, Unavailable
from hermes.git import GitLimits, git_env, run_bounded, run_git
from hermes.refs import BRANCHES, TAGS
from hermes.settings import Settings
from hermes.threads import in_thread
from hermes.units import show_limit, show_size
from hooks.complaints import Gone, complaint
from hooks.way import Opened, Way

_LIST_S = 60.0
_MOST_SAID = 16 << 20  # bytes that git prints
_END_S = 5.0
_CONFIG = {
    "core.hooksPath": "/dev/null",
    "core.bigFileThreshold": "16m",
    "core.packedGitWindowSize": "32m",
    "core.packedGitLimit": "256m",
    "pack.threads": "2",
    "fetch.unpackLimit": "1",
    "fetch.fsckObjects": "false",  # the receiver of pushes looks at all of it
    "fetch.recurseSubmodules": "false",
    "transfer.bundleURI": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
}


@dataclass(frozen=True)
class Remote:
    """One repository there, as it is configured here."""

    way: Way
    settings: Settings

    async def refs(self) -> tuple[dict[str, str], str]:
        """{branch or tag: what it names}, and the branch that a clone checks out ("": it does not say).
        Raises Refused or Unavailable."""
        patterns = ("HEAD", f"{BRANCHES}*", f"{TAGS}*")
        output = await self._git(["ls-remote", "--symref"], patterns, _LIST_S)
        refs, first = {}, ""
        for line in output.decode("utf-8", "replace").splitlines():
            what, _, ref = line.partition("\t")
            if ref == "HEAD" and what.startswith("ref: "):
                first = what.removeprefix("ref: ")
            elif ref.startswith((BRANCHES, TAGS)) and not ref.endswith("^{}"):  # what a tag names in the end
                refs[ref] = what
        return refs, first

    async def fetch(self, repo: Path, scratch: Path, ref: str) -> str:
        """What `ref` is there, with all of its objects that `repo` does not have, in `scratch`; "": it is not
        there. Raises Refused or Unavailable."""
        await in_thread(_make, scratch, repo)
        words = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--force"]
        try:
            words = [f"--git-dir={scratch}", *words]
            await self._git(words, [f"{ref}:refs/theirs"], self.settings.push_time)
        except Gone:
            return ""
        return await in_thread(_id, scratch, "refs/theirs")

    async def peel(self, scratch: Path) -> str:
        """The commit that a fetched tag names. Raises Refused."""
        try:
            return await in_thread(_id, scratch, "refs/theirs^{commit}")
        except Unavailable:
            raise Refused("its tag does not name a commit") from None

    async def _git(self, before: Sequence[str], after: Sequence[str], limit_s: float) -> bytes:
        """What git prints; the repository stands between its words. Raises Refused, Gone, Unavailable."""
        try:
            async with asyncio.timeout(limit_s), self.way.open() as opened:
                child = await self._start(opened, before, after)
                try:
                    output, said = await asyncio.gather(_read(child.stdout), _read(child.stderr))
                    await child.wait()
                finally:
                    await _end(child)
                if child.returncode != 0:
                    raise complaint(said.decode("utf-8", "replace"), self.settings.push_size)
                return output
        except TimeoutError:
            raise Unavailable(f"it took longer than {show_limit(limit_s)}") from None

    async def _start(
        self, opened: Opened, before: Sequence[str], after: Sequence[str]
    ) -> asyncio.subprocess.Process:
        config = {**_CONFIG, **opened.config}
        flags = [word for key, value in config.items() for word in ("-c", f"{key}={value}")]
        child = await asyncio.create_subprocess_exec(
            *("git", *flags, *before, opened.url, *after),
            env=git_env(opened.env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=[opened.end.fileno()] if opened.end else [],
            start_new_session=True,
            restore_signals=False,  # a file that grows too large is an error that git tells of, not its end
        )
        if opened.end:
            opened.end.close()
        self._hold(child.pid)
        return child

    def _hold(self, pid: int) -> None:
        """Of what it writes no file may be larger than a push."""
        GitLimits(self.settings.git_memory, self.settings.git_time, 5).hold(pid)
        most = self.settings.push_size
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))


def _make(scratch: Path, repo: Path) -> None:
    """An empty repository that sees all objects of ours, so that only what is new is fetched."""
    command = ["git", "init", "--quiet", "--bare", "--template=", str(scratch)]
    code, _, words = run_bounded(command, git_env(), GitLimits(), _LIST_S)
    if code != 0:
        raise Unavailable(f"git init failed: {words}")
    info = scratch / "objects" / "info"
    info.mkdir(exist_ok=True)
    (info / "alternates").write_text(f"{repo.absolute()}/objects\n")


def _id(scratch: Path, name: str) -> str:
    return run_git(scratch, "rev-parse", "--verify", name).decode().strip()


async def _read(stream: asyncio.StreamReader | None) -> bytes:
    """All of it. Raises Refused when it is endless."""
    assert stream is not None
    parts, size = [], 0
    while part := await stream.read(1 << 16):
        parts.append(part)
        size += len(part)
        if size > _MOST_SAID:
            raise Refused(f"it has more than {show_size(_MOST_SAID)} of names", "follow a smaller repository")
    return b"".join(parts)


async def _end(child: asyncio.subprocess.Process) -> None:
    """With all that it has started, if it has not ended."""
    if child.returncode is not None:
        return
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    with suppress(TimeoutError):
        async with asyncio.timeout(_END_S):
            await child.communicate()  # its pipes are at their end, too: nothing of it outlives the loop
