"""A random key in a file of its own: made once, whole and on disk, and readable by nobody else."""

import secrets
from pathlib import Path

from hermes.disk import make_once
from hermes.errors import SettingsError

_KEY_BYTES = 32


def key_in(path: Path) -> bytes:
    """The key; of several processes that make it at a time, one does. Raises SettingsError if it is none."""
    if not path.exists():
        make_once(path, secrets.token_bytes(_KEY_BYTES))
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise SettingsError(
            f"{path}: not a key of ours; remove it, and another one is made at the next start"
        )
    return key
