"""Where one is signed in: a file of this user's, tokens in the system's keyring or there."""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hermes.errors import UserError

_SERVICE = "hermes"


@dataclass
class Login:
    """One server. `token` is empty where the keyring has it."""

    user: str
    token: str = ""
    in_keyring: bool = False


@dataclass
class Servers:
    """All of them; `default` is the one that was signed in to last."""

    path: Path
    default: str = ""
    logins: dict[str, Login] = field(default_factory=dict)

    def token(self, url: str) -> str:
        """Of a server that is known; empty if the keyring has lost it."""
        login = self.logins[url]
        return _from_keyring(url, login.user) if login.in_keyring else login.token

    def remember(self, url: str, user: str, token: str) -> str:
        """Keep a token; returns where, in words."""
        self.forget(url)
        in_keyring = _to_keyring(url, user, token)
        self.logins[url] = Login(user, "" if in_keyring else token, in_keyring)
        self.default = url
        self._write()
        return "the system's keyring" if in_keyring else str(self.path)

    def forget(self, url: str) -> Login | None:
        """Drop a server, if it is known."""
        login = self.logins.pop(url, None)
        if login is None:
            return None
        if login.in_keyring:
            _off_keyring(url, login.user)
        if self.default == url:
            self.default = next(reversed(self.logins), "")
        self._write()
        return login

    def find(self, words: str) -> str:
        """The address that is meant: a whole one, or the host of one that is known."""
        if words.startswith(("http://", "https://")):
            return words.rstrip("/")
        known = [url for url in self.logins if words in (urlsplit(url).netloc, urlsplit(url).hostname)]
        if len(known) != 1:
            raise UserError(f"no server {words!r} is known here", "hermes login http://gpu.lab:8000")
        return known[0]

    def at(self, origin: str) -> str:
        """The address that is known at this scheme and host; git does not say the path."""
        return next((url for url in self.logins if f"{url}/".startswith(f"{origin}/")), "")

    def _write(self) -> None:
        """Whole or not at all, and readable to nobody else at any moment."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        content = {
            "default": self.default,
            "servers": {url: asdict(each) for url, each in self.logins.items()},
        }
        import tempfile  # 4 ms, and most commands only read

        handle, name = tempfile.mkstemp(dir=self.path.parent)  # made with 0600
        try:
            with os.fdopen(handle, "w") as file:
                json.dump(content, file, indent=2)
                file.write("\n")
            os.replace(name, self.path)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise


def load_servers(folder: Path) -> Servers:
    """What is kept in a folder; nothing if there is none. Raises UserError where it cannot be read."""
    path = folder / "servers.json"
    try:
        said: dict[str, Any] = json.loads(path.read_text())
        logins = {url: Login(**each) for url, each in said["servers"].items()}
        return Servers(path, str(said["default"]), logins)
    except FileNotFoundError:
        return Servers(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} cannot be read: {error}", "delete it and run hermes login again") from None


def _to_keyring(url: str, user: str, token: str) -> bool:
    """Whether the token is in a keyring now that deserves the name. A desktop that is locked or away: no."""
    try:
        import keyring
    except ImportError:
        return False
    try:
        if keyring.get_keyring().priority < 1:  # `fail`, `null`, plain text
            return False
        keyring.set_password(f"{_SERVICE} {url}", user, token)
        return keyring.get_password(f"{_SERVICE} {url}", user) == token
    except Exception:  # each backend fails in its own way; then the file is the place
        return False


def _from_keyring(url: str, user: str) -> str:
    try:
        import keyring

        return keyring.get_password(f"{_SERVICE} {url}", user) or ""
    except Exception as error:
        words = f"the system's keyring does not give the token of {url}: {error or type(error).__name__}"
        raise UserError(words, f"unlock it, or set HERMES_TOKEN, or: hermes login {url}") from None


def _off_keyring(url: str, user: str) -> None:
    with suppress(Exception):  # already gone is as good
        import keyring

        keyring.delete_password(f"{_SERVICE} {url}", user)
