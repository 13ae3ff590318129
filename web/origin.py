"""The second origin (HERMES_ARTIFACT_ORIGIN), for HTML and SVG that runs wrote, with scripts: no cookie,
no form, nothing else is there, and its addresses are signed and soon too old."""

import base64
import hmac
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from hermes.errors import SettingsError
from hermes.secret_file import key_in
from hermes.settings import Settings

_LIFE_S = 300


@dataclass(frozen=True)
class Origin:
    """Where previews are, and the key that signs their addresses."""

    base_url: str
    key: bytes

    def is_host(self, host: str) -> bool:
        """Whether a browser that goes there sends this as `Host`."""
        parts = urlsplit(self.base_url.lower())
        default = {"http": ":80", "https": ":443"}[parts.scheme]
        return host.lower().removesuffix(default) == parts.netloc.removesuffix(default)

    def url(self, artifact_id: int) -> str:
        """Good for five minutes. Whoever has it may see this one artifact."""
        claim = f"{artifact_id}.{int(time.time()) + _LIFE_S}"
        return f"{self.base_url}/preview/{claim}.{self._signature(claim)}"

    def artifact_id(self, path: str) -> int | None:
        """What a path is good for; None: nothing, or not any more."""
        claim, _, signature = path.removeprefix("/preview/").rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(claim).encode()):
            return None
        artifact_id, until = claim.split(".")
        return int(artifact_id) if time.time() < int(until) else None

    def _signature(self, claim: str) -> str:
        return base64.urlsafe_b64encode(hmac.digest(self.key, claim.encode(), "sha256")).decode().rstrip("=")


def open_origin(settings: Settings, key_path: Path) -> Origin | None:
    """As the operator has set it; None: there is none. Raises SettingsError."""
    if not settings.artifact_origin:
        return None
    if urlsplit(settings.artifact_origin).hostname == urlsplit(settings.public_url).hostname:
        raise SettingsError(
            f"HERMES_ARTIFACT_ORIGIN={settings.artifact_origin}: must be another host than that of "
            f"{settings.public_url}\n  what runs wrote would get the cookies of who is signed in"
        )
    return Origin(settings.artifact_origin, key_in(key_path))
