"""A random key in a file of its own: made once, whole and on disk, and readable by nobody else."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from hermes.errors import SettingsError

_KEY_BYTES = 32


def key_in(path: Path) -> bytes:
    """The key; of several processes that make it at a time, one does. Raises SettingsError if it is none."""
    if not path.exists():
        made = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        try:
            with open(os.open(made, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(made, path)
        finally:
            made.unlink(missing_ok=True)
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise SettingsError(
            f"{path}: not a key of ours; remove it, and another one is made at the next start"
        )
    return key
