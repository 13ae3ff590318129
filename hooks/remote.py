"""Git as a client of a repository elsewhere: one address, looked at when it is connected to; nothing on its
command line that is a secret; bounded in time, memory and bytes.

Redirects are not followed, and of git's protocols only the one of the URL is spoken. A name is resolved here
and handed to git as an address (`http.curloptResolve`, git 2.37), so that it cannot mean something else a
moment later. https://git-scm.com/docs/git-config has each key."""

import asyncio
import base64
import os
import resource
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from hermes.errors import Refused, Unavailable
from hermes.git import GitLimits, git_env, run_bounded, run_git
from hermes.outward import Inward, Undelivered, is_allowed, parse_networks, resolve
from hermes.refs import BRANCHES, TAGS
from hermes.settings import Settings
from hermes.threads import in_thread
from hermes.units import show_limit, show_size
from hooks.complaints import Gone, complaint

_LIST_S = 60.0
_MOST_SAID = 16 << 20  # bytes that git prints
_END_S = 5.0
_CONFIG = {
    "http.followRedirects": "false",
    "http.lowSpeedLimit": "1000",  # bytes a second
    "http.lowSpeedTime": "30",
    "http.proxy": "",
    "http.emptyAuth": "false",
    "credential.helper": "",
    "core.askPass": "",
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
_USERS = {"gitlab": "oauth2"}  # what stands before a token; others take any name


@dataclass(frozen=True)
class Remote:
    """One repository there, as it is configured here."""

    kind: str
    url: str
    token: str
    settings: Settings

    async def refs(self) -> tuple[dict[str, str], str]:
        """{branch or tag: what it names}, and the branch that a clone checks out ("": it does not say).
        Raises Refused or Unavailable."""
        patterns = ("HEAD", f"{BRANCHES}*", f"{TAGS}*")
        output = await self._git(["ls-remote", "--symref", self.url, *patterns], _LIST_S)
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
            words = [f"--git-dir={scratch}", *words, self.url, f"{ref}:refs/theirs"]
            await self._git(words, self.settings.push_time)
        except Gone:
            return ""
        return await in_thread(_id, scratch, "refs/theirs")

    async def peel(self, scratch: Path) -> str:
        """The commit that a fetched tag names. Raises Refused."""
        try:
            return await in_thread(_id, scratch, "refs/theirs^{commit}")
        except Unavailable:
            raise Refused("its tag does not name a commit") from None

    async def _git(self, words: list[str], limit_s: float) -> bytes:
        """What git prints. Raises Refused, Gone, Unavailable."""
        config = _CONFIG | await self._pinned()
        flags = [word for key, value in config.items() for word in ("-c", f"{key}={value}")]
        command, env = ["git", *flags, *words], git_env(self._environment())
        child = await asyncio.create_subprocess_exec(
            *command,
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            restore_signals=False,  # a file that grows too large is an error that git tells of, not its end
        )
        self._hold(child.pid)
        try:
            async with asyncio.timeout(limit_s):
                output, said = await asyncio.gather(_read(child.stdout), _read(child.stderr))
                await child.wait()
        except TimeoutError:
            raise Unavailable(f"it took longer than {show_limit(limit_s)}") from None
        finally:
            await _end(child)
        if child.returncode != 0:
            raise complaint(said.decode("utf-8", "replace"), self.settings.push_size)
        return output

    async def _pinned(self) -> dict[str, str]:
        """The address that its name means now. Raises Refused, Unavailable."""
        parts = urlsplit(self.url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        allowed = parse_networks(self.settings.callback_networks)
        try:
            found = await resolve(host, port, allowed)
        except Inward as error:
            raise Refused(str(error), "the operator can allow its address") from None
        except Undelivered as error:
            raise Unavailable(str(error)) from None
        if parts.scheme != "https" and not all(is_allowed(each, allowed) for each in found):
            raise Refused(f"{self.url} is not https", "connect it anew with its https address")
        addresses = ",".join(f"[{each}]" if ":" in each else each for each in found)
        return {"http.curloptResolve": f"{host}:{port}:{addresses}"}

    def _environment(self) -> Mapping[str, str]:
        """The token goes where other users of the machine do not look."""
        scheme = urlsplit(self.url).scheme
        env = {"GIT_ALLOW_PROTOCOL": scheme if scheme in ("https", "http") else "none"}
        if not self.token:
            return env
        count = int(git_env()["GIT_CONFIG_COUNT"])
        user = _USERS.get(self.kind, "x-access-token")
        basic = base64.b64encode(f"{user}:{self.token}".encode()).decode()
        return env | {
            "GIT_CONFIG_COUNT": str(count + 1),
            f"GIT_CONFIG_KEY_{count}": "http.extraHeader",
            f"GIT_CONFIG_VALUE_{count}": f"Authorization: Basic {basic}",
        }

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
            await child.wait()
