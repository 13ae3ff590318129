"""What proves to a receiver that a message is ours: `t=<Unix seconds>,v1=<hex>` in `X-Hermes-Signature`."""

import hmac

HEADER = "X-Hermes-Signature"


def sign(secret: str, body: bytes, at: int) -> str:
    """The HMAC-SHA256 of `<t>.<body>`; who checks `t` refuses what somebody has kept."""
    digest = hmac.digest(secret.encode(), f"{at}.".encode() + body, "sha256").hex()
    return f"t={at},v1={digest}"
