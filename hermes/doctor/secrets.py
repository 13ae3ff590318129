"""Secrets: whether the key file is there, is readable by nobody else, and reads all of them."""

from sqlalchemy import select

from hermes.database import Database
from hermes.doctor.findings import Finding, Look, ok, problem, warning
from hermes.errors import Unavailable
from hermes.secret_keys import decrypt, key_file, read_keys
from hermes.secret_store import Secret
from hermes.settings import Settings
from hermes.threads import in_thread

_RESTORE = "put it back, from a backup (docs/secrets.md); without it the secrets have to be set anew"


async def look_at_secrets(settings: Settings, database: Database) -> Look[None]:
    """No value is kept any longer than it takes to see that it can be read."""
    async with database.read() as session:
        rows = (await session.execute(select(Secret.name, Secret.ciphertext))).all()
    if not rows:
        return Look([])
    return Look([await in_thread(_look, settings, [(name, ciphertext) for name, ciphertext in rows])])


def _look(settings: Settings, rows: list[tuple[str, str]]) -> Finding:
    key = key_file(settings)
    try:
        read_keys(key)
    except Unavailable as error:
        return problem("secrets", f"{len(rows)}, and {error}", _RESTORE)
    unread = [name for name, ciphertext in rows if not _reads(settings, name, ciphertext)]
    if unread:
        found = f"{len(unread)} of {len(rows)} cannot be read with the key in {key}: {', '.join(unread[:5])}"
        return problem("secrets", found, _RESTORE)
    if key.stat().st_mode & 0o077:
        return warning("secrets", f"others than its owner may read {key}", f"chmod 600 {key}")
    return ok("secrets", f"{len(rows)}, all read with the key in {key}")


def _reads(settings: Settings, name: str, ciphertext: str) -> bool:
    try:
        decrypt(key_file(settings), name, ciphertext)
    except Unavailable:
        return False
    return True
