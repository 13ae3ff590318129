"""Where a forge answers to SSH: `git@forge.example.org:22`, as people write it and as forges say it."""

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import urlsplit

from hermes.errors import UserError

_USER, PORT = "git", 22
_FORM = re.compile(
    r"(?:ssh://|(?!\w+://))"
    r"(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9_.-]{0,63})@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9][A-Za-z0-9.-]{0,252})"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?:[:/][!-~]{0,300})?"  # a path says nothing new: the repository is known by its name
)


class SshAddress(NamedTuple):
    """A server, and the name that one signs in with; everybody has the same one."""

    user: str
    host: str
    port: int

    def __str__(self) -> str:
        """As `read_address` takes it."""
        return f"{self.user}@{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def read_address(text: str) -> SshAddress:
    """`HOST`, `HOST:PORT`, `USER@HOST:PORT`, `ssh://…` or `git@HOST:OWNER/REPO.git`. Raises UserError."""
    match = _FORM.fullmatch(text.strip())
    port = int(match["port"] or PORT) if match else 0
    host = (match["host"] if match else "").lower()
    is_good = 0 < port < 1 << 16
    if host.startswith("["):
        host = host.strip("[]")
        is_good = is_good and _is_ipv6(host)
    if match is None or not is_good:
        raise UserError(
            f"{text[:200]!r} is no address of an SSH server", "for example forge.example.org:2222"
        )
    return SshAddress(match["user"] or _USER, host, port)


def usual_address(base_url: str) -> SshAddress:
    """Of a forge that says nothing else."""
    return SshAddress(_USER, urlsplit(base_url).hostname or "", PORT)


def _is_ipv6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 6
    except ValueError:
        return False
