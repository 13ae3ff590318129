"""Over HTTPS, with a token or without: one address, looked at when it is connected to.

Redirects are not followed, and of git's protocols only the one of the URL is spoken. A name is resolved here
and handed to git as an address (`http.curloptResolve`, git 2.37), so that it cannot mean something else a
moment later. https://git-scm.com/docs/git-config has each key."""

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from hermes.errors import Refused, Unavailable
from hermes.git import git_env
from hermes.outward import Inward, Undelivered, is_allowed, parse_networks, resolve
from hermes.settings import Settings
from hooks.way import Opened

_CONFIG = {
    "http.followRedirects": "false",
    "http.lowSpeedLimit": "1000",  # bytes a second; hooks.relay has the same bounds
    "http.lowSpeedTime": "30",
    "http.proxy": "",
    "http.emptyAuth": "false",
    "credential.helper": "",
    "core.askPass": "",
}
_USERS = {"gitlab": "oauth2"}  # what stands before a token; others take any name


@dataclass(frozen=True)
class Https:
    """One repository there."""

    kind: str
    url: str
    token: str = field(repr=False)
    settings: Settings

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Opened]:
        """Raises Refused, Unavailable."""
        yield Opened(self.url, self._environment(), _CONFIG | await self._pinned())

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
