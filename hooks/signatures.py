"""Whether who sends a delivery knows our secret: over its raw bytes, in constant time, never by SHA-1."""

import base64
import binascii
import hmac
import time
from collections.abc import Callable, Mapping

from hermes.upstreams import LEAST_SECRET_BYTES

_MOST_SKEW_S = 300.0  # of a signature that says when it was made
_NOBODY = "0" * 64  # compared with when there is no secret, so that it takes as long
Headers = Mapping[str, str]


def is_signed(kind: str, secret: str, headers: Headers, body: bytes) -> bool:
    """By a secret that is good enough to be one."""
    is_good = len(secret.encode()) >= LEAST_SECRET_BYTES
    return _CHECKS[kind](secret if is_good else _NOBODY, headers, body) and is_good


def _same(ours: str, theirs: str) -> bool:
    return hmac.compare_digest(ours.encode(), theirs.encode("utf-8", "replace"))


def _github(secret: str, headers: Headers, body: bytes) -> bool:
    ours = hmac.digest(secret.encode(), body, "sha256").hex()
    return _same(f"sha256={ours}", headers.get("x-hub-signature-256", ""))


def _gitea(secret: str, headers: Headers, body: bytes) -> bool:
    """Forgejo signs by its own name as well; one of them is enough, they are the same."""
    ours = hmac.digest(secret.encode(), body, "sha256").hex()
    theirs = headers.get("x-gitea-signature") or headers.get("x-forgejo-signature") or ""
    return _same(ours, theirs) or _same(f"sha256={ours}", headers.get("x-hub-signature-256", ""))


def _gitlab(secret: str, headers: Headers, body: bytes) -> bool:
    """By a signature (standardwebhooks.com) if there is one; else by the secret itself, over TLS."""
    if "webhook-signature" not in headers:
        return _same(secret, headers.get("x-gitlab-token", ""))
    stamp = headers.get("webhook-timestamp", "")
    if not stamp.isdecimal() or abs(time.time() - int(stamp[:12])) > _MOST_SKEW_S:
        return False
    signed = f"{headers.get('webhook-id', '')}.{stamp}.".encode() + body
    ours = "v1," + base64.b64encode(hmac.digest(_key(secret), signed, "sha256")).decode()
    return any([_same(ours, each) for each in headers["webhook-signature"].split(" ")[:10]])


def _key(secret: str) -> bytes:
    """Of a secret as standard webhooks write it, `whsec_` and base64."""
    if secret.startswith("whsec_"):
        try:
            return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            pass
    return secret.encode()


_CHECKS: dict[str, Callable[[str, Headers, bytes], bool]] = {
    "github": _github,
    "gitea": _gitea,
    "gitlab": _gitlab,
}
