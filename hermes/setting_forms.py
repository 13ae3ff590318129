"""What may stand in the environment: each form of a value, read or refused with words."""

import ipaddress
from collections.abc import Callable
from email.utils import parseaddr
from typing import Any
from urllib.parse import urlsplit

from hermes.names import is_mail_address
from hermes.units import parse_span_s

Parse = Callable[[str], Any]


def one_of(*words: str) -> Parse:
    """Only these."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text

    return parse


def count(text: str) -> int:
    """0 or more."""
    if not text.isdigit():
        raise ValueError("must be a whole number, 0 or more")
    return int(text)


def port(text: str) -> int:
    """Of TCP."""
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise ValueError("must be a port number from 1 to 65535")
    return int(text)


def port_or_none(text: str) -> int:
    """0 is none."""
    return 0 if text == "0" else port(text)


def span_or_none(text: str) -> float:
    """0 is none."""
    return 0.0 if text == "0" else parse_span_s(text)


def addresses(text: str) -> str:
    """Networks by commas."""
    for each in filter(None, text.split(",")):
        try:
            ipaddress.ip_network(each.strip())
        except ValueError:
            raise ValueError("must be IP addresses or networks, by commas (127.0.0.1,10.0.0.0/8)") from None
    return text.replace(" ", "")


def addresses_or_none(text: str) -> str:
    """`none` is none."""
    return text if text == "none" else addresses(text)


def url(text: str) -> str:
    """Without a slash at its end."""
    if text and not text.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    return text.rstrip("/")


def origin(text: str) -> str:
    """Scheme and host."""
    host = url(text).partition("://")[2]
    if text and ("/" in host or not host):
        raise ValueError("must be scheme and host only, as in https://artifacts.example.org")
    return url(text)


def redis(text: str) -> str:
    """Where Redis listens."""
    if text not in ("", "none") and not text.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must be none, or start with redis://, rediss:// or unix://")
    return text


def smtp(text: str) -> str:
    """A server that takes mail."""
    try:
        parts = urlsplit(text)
        is_one = parts.scheme in ("smtp", "smtps") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_one = False
    if text and not is_one:
        raise ValueError("must be as smtp://user:password@mail.example.org:587, or smtps://…")
    return text


def mail_sender(text: str) -> str:
    """`Hermes <hermes@gpu.lab>`, or the address alone."""
    _, address = parseaddr(text)
    if text and not (is_mail_address(address) and text.isprintable()):
        raise ValueError("must be an address for mail: hermes@example.org, or Hermes <hermes@example.org>")
    return text
