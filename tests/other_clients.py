"""Git clients that are not git: libgit2 (pygit2), dulwich's and isomorphic-git, with the same three verbs."""

import hashlib
import io
import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pygit2
from dulwich import porcelain
from dulwich.client import HTTPUnauthorized
from pygit2.enums import ConfigLevel, CredentialType

from tests.conftest import missing

CLIENTS = Path(__file__).parent / "clients"


@dataclass
class Talk:
    """What a client heard from the server, and when."""

    chunks: list[tuple[float, str]] = field(default_factory=list)
    asked: int = 0  # times that the server wanted to know who it is
    refused: str = ""  # the reason, as the client's interface gives it

    def hear(self, text: str) -> None:
        """Words of the server, as they come."""
        self.chunks.append((time.monotonic(), text))

    @property
    def words(self) -> str:
        """All of them."""
        return "".join(text for _, text in self.chunks)

    def heard_at(self, words: str) -> float:
        """When these words were complete."""
        text = ""
        for at, chunk in self.chunks:
            text += chunk
            if words in text:
                return at
        raise AssertionError(f"{words!r} not in {text!r}")


@dataclass(frozen=True)
class Account:
    """Who the client is."""

    user: str
    token: str


class Client(Protocol):
    """A library that speaks git's protocol by itself. Errors that are no answer of the server are raised."""

    def clone(self, url: str, folder: Path, account: Account) -> Talk:
        """Clone with a checkout."""

    def push(self, url: str, folder: Path, source: str, target: str, account: Account, *options: str) -> Talk:
        """Push one full ref; an empty source deletes the target."""


class _Callbacks(pygit2.RemoteCallbacks):
    def __init__(self, talk: Talk, account: Account) -> None:
        super().__init__()
        self.talk, self.account = talk, account

    def credentials(
        self, url: str, username_from_url: str | None, allowed_types: CredentialType
    ) -> pygit2.UserPass:
        self.talk.asked += 1
        if self.talk.asked > 1:
            raise PermissionError("the server does not take the token")  # or libgit2 asks for ever
        return pygit2.UserPass(self.account.user, self.account.token)

    def sideband_progress(self, string: str) -> None:
        self.talk.hear(string)

    def push_update_reference(self, refname: str, message: str | None) -> None:
        self.talk.refused = message or ""


class Libgit2:
    """pygit2."""

    def __init__(self) -> None:
        for level in (ConfigLevel.SYSTEM, ConfigLevel.XDG, ConfigLevel.GLOBAL):
            pygit2.settings.search_path[level] = "/nonexistent"

    def clone(self, url: str, folder: Path, account: Account) -> Talk:
        talk = Talk()
        try:
            pygit2.clone_repository(url, folder, callbacks=_Callbacks(talk, account))
        except (pygit2.GitError, PermissionError) as error:
            talk.refused = str(error)
        return talk

    def push(self, url: str, folder: Path, source: str, target: str, account: Account, *options: str) -> Talk:
        talk = Talk()
        remote = pygit2.Repository(folder).remotes.create_anonymous(url)
        callbacks = _Callbacks(talk, account)
        try:
            remote.push([f"{source}:{target}"], callbacks, push_options=list(options) or None)
        except (pygit2.GitError, PermissionError) as error:
            talk.refused = str(error)
        return talk


class _Ear(io.RawIOBase):
    """A stream to write to."""

    def __init__(self, hear: Callable[[str], None]) -> None:
        self._hear = hear

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        self._hear(bytes(data).decode())
        return len(data)


class Dulwich:
    """dulwich.porcelain."""

    def clone(self, url: str, folder: Path, account: Account) -> Talk:
        talk = Talk()
        self._talk(talk, lambda ear, who: porcelain.clone(url, folder, errstream=ear, **who).close(), account)
        return talk

    def push(self, url: str, folder: Path, source: str, target: str, account: Account, *options: str) -> Talk:
        talk = Talk()

        def push(ear: _Ear, who: dict[str, Any]) -> None:
            done = porcelain.push(
                folder, url, f"{source}:{target}", errstream=ear, push_options=list(options), **who
            )
            reasons = (done.ref_status or {}).values()
            talk.refused = "; ".join(reason for reason in reasons if reason)

        self._talk(talk, push, account)
        return talk

    def _talk(self, talk: Talk, act: Callable[[_Ear, dict[str, Any]], None], account: Account) -> None:
        """Without a token first: dulwich shows what it has only when it was told to."""
        try:
            act(_Ear(talk.hear), {})
        except HTTPUnauthorized:
            talk.asked += 1
            try:
                act(_Ear(talk.hear), {"username": account.user, "password": account.token})
            except HTTPUnauthorized as error:
                talk.refused = str(error)


def clients_home() -> Path:
    """Where scripts/ensure-clients has put what comes from npm."""
    lock = (CLIENTS / "package-lock.json").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "hermes" / f"clients-{hashlib.sha256(lock).hexdigest()[:16]}"


class Isomorphic:
    """isomorphic-git, in node."""

    def __init__(self) -> None:
        self.home = clients_home()
        if not (self.home / "node").exists():
            missing("isomorphic-git (scripts/ensure-clients)")

    def clone(self, url: str, folder: Path, account: Account) -> Talk:
        return self._talk(account, "clone", url, str(folder))

    def push(self, url: str, folder: Path, source: str, target: str, account: Account, *options: str) -> Talk:
        assert not options, "isomorphic-git has no push options"
        return self._talk(account, "push", url, str(folder), source, target)

    def _talk(self, account: Account, *args: str) -> Talk:
        env = os.environ | {
            "HERMES_CLIENTS": str(self.home),
            "HERMES_USER": account.user,
            "HERMES_TOKEN": account.token,
        }
        talk, command = Talk(), [str(self.home / "node"), str(CLIENTS / "push.mjs"), *args]
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as node:
            assert node.stdout is not None
            for line in node.stdout:
                event = json.loads(line)
                match event["kind"]:
                    case "words":
                        talk.hear(event["text"])
                    case "asked":
                        talk.asked += 1
                    case "refused":
                        talk.refused = event["text"]
        assert node.returncode == 0
        return talk
