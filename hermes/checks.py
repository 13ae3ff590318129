"""What can be found wrong before anything starts. Imports little: it is told at once."""

import os
import re
import socket
import subprocess
import threading
from pathlib import Path

from hermes.errors import SettingsError
from hermes.settings import Settings

GIT_VERSION = (2, 39)  # what Debian 12 has; nothing older was tried
LEAST_FREE_BYTES = 64 << 20  # of the disk of HERMES_DATA; with less, no push is taken


def check_data_directory(data: Path) -> None:
    """Make it if need be. Raises SettingsError when this process cannot write there."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        probe = data / f".write-test-{os.getpid()}-{threading.get_ident()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SettingsError(
            f"HERMES_DATA={str(data)!r}: cannot write there ({error.strerror}); "
            "make it writable for this user, or set HERMES_DATA to another directory"
        ) from None


def check_git() -> str:
    """What git calls itself. Raises SettingsError when it is missing, or too old for what we need of it."""
    try:
        words = subprocess.run(["git", "version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        raise SettingsError("git is not installed: apt-get install git") from None
    version = re.search(r"(\d+)\.(\d+)", words)
    if version is None or (int(version[1]), int(version[2])) < GIT_VERSION:
        needed = ".".join(map(str, GIT_VERSION))
        raise SettingsError(f"{words.strip()} is too old: Hermes needs git {needed} or newer")
    return words.strip()


def open_sockets(settings: Settings) -> tuple[socket.socket, socket.socket | None]:
    """The listening sockets of HTTP and of SSH, if it is wanted. Raises SettingsError with the next step."""
    if settings.ssh_port == settings.port:  # both would be bound, and one could not listen
        raise SettingsError(f"HERMES_SSH_PORT and HERMES_PORT are both {settings.port}: choose another one")
    http = _open(
        settings.host, settings.port, f"set HERMES_PORT (for example HERMES_PORT={settings.port + 1})"
    )
    if not settings.ssh_port:
        return http, None
    try:
        host = settings.ssh_host or settings.host
        return http, _open(host, settings.ssh_port, "set HERMES_SSH_PORT (0: no git over SSH)")
    except SettingsError:
        http.close()
        raise


def check_ports(settings: Settings) -> None:
    """Raises SettingsError when a port is taken."""
    for listener in filter(None, open_sockets(settings)):
        listener.close()


def _open(host: str, port: int, otherwise: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is named; without it each answer waits 40 ms
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"cannot listen on {host}:{port} ({error.strerror}); stop what uses the port, or {otherwise}"
        ) from None
    return listener
