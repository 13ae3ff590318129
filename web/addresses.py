"""Where a repository is pushed to and cloned from, over HTTP and over SSH."""

from typing import NamedTuple
from urllib.parse import urlsplit

from hermes.settings import Settings
from hermes.tables import User

_SSH = 22


class Addresses(NamedTuple):
    """`ssh` is empty where this server has none, or the visitor could not sign in by it."""

    http: str
    ssh: str


def addresses(settings: Settings, viewer: User | None, path: str) -> Addresses:
    """Of `owner/name`. The name of who asks is in the address, so that git asks only for the token."""
    scheme, _, rest = settings.public_url.partition("://")
    who = f"{viewer.name}@" if viewer else ""
    ssh = f"{ssh_base(settings)}/{path}.git" if viewer and settings.ssh_port else ""
    return Addresses(f"{scheme}://{who}{rest}/{path}.git", ssh)


def ssh_base(settings: Settings) -> str:
    """`ssh://git@gpu.example.org:2222`: the host that links lead to, and SSH's own port."""
    host = urlsplit(settings.public_url).hostname or "localhost"
    port = "" if settings.ssh_port == _SSH else f":{settings.ssh_port}"
    return f"ssh://git@{f'[{host}]' if ':' in host else host}{port}"
