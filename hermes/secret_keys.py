"""The key of all secrets: a file that only the service's user reads, made once, one Fernet key a line. The
first encrypts; the others still read what they encrypted."""

from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from hermes.disk import make_once, sync, write_private
from hermes.errors import Unavailable
from hermes.paths import Paths
from hermes.settings import Settings

_MOST_KEYS = 2  # who encrypts while the key is rotated may still have the one before


def key_file(settings: Settings) -> Path:
    """Where it is (HERMES_SECRET_KEY_FILE)."""
    named = settings.secret_key_file
    return Paths(settings.data).secret_key if named == Path() else named


def make_key(path: Path) -> None:
    """Unless there is one. It appears whole, and is on the disk before anything is encrypted with it."""
    make_once(path, _text([Fernet.generate_key()]))


def read_keys(path: Path) -> MultiFernet:
    """Raises Unavailable, with the next step."""
    try:
        return MultiFernet([Fernet(line) for line in _lines(path)])
    except OSError as error:
        words = error.strerror or str(error)
    except ValueError:
        words = "it holds no key of ours"
    raise Unavailable(
        f"secrets cannot be read: {path}: {words}; the operator has to put the key file back, from a backup"
    )


def add_key(path: Path) -> None:
    """A new one encrypts from now on; those before still read. Raises Unavailable."""
    read_keys(path)
    _replace(path, [Fernet.generate_key(), *_lines(path)])


def forget_keys(path: Path) -> None:
    """Everything is encrypted with the newest one: of the others only that before it is kept."""
    _replace(path, _lines(path)[:_MOST_KEYS])


def encrypt(path: Path, value: str) -> str:
    """Raises Unavailable."""
    return read_keys(path).encrypt(value.encode()).decode()


def decrypt(path: Path, name: str, ciphertext: str) -> str:
    """Raises Unavailable, which names the secret."""
    try:
        return read_keys(path).decrypt(ciphertext.encode()).decode()
    except InvalidToken:
        raise Unavailable(
            f"secret {name} cannot be read with the key in {path}: the operator has to put the right key "
            "file back, or the secret has to be set anew"
        ) from None


def encrypt_anew(path: Path, name: str, ciphertext: str) -> str:
    """With the key that encrypts now. Raises Unavailable."""
    return encrypt(path, decrypt(path, name, ciphertext))


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().split()


def _replace(path: Path, keys: list[bytes]) -> None:
    write_private(path, _text(keys)).rename(path)
    sync([path.parent])


def _text(keys: list[bytes]) -> bytes:
    return b"\n".join(keys) + b"\n"
