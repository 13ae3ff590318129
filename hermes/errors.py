"""The exceptions of Hermes, by what a caller does about them.

HermesError
├── UserError            the user can fix it: shown to them word for word, with the next step
│   ├── ManifestError    the manifest is wrong at a line and a column
│   ├── Refused          not allowed here, or impossible on this instance
│   ├── Conflict         contradicts what was asked or came before
│   ├── TooLarge         more bytes than are taken
│   ├── TooSlow          the bytes do not come, or not in time
│   ├── TooMany          too often; again after `wait_s`
│   ├── DiskFull         no room on our disk, or it cannot be written: later
│   ├── Gone             it was there, and was removed
│   └── NotFound         no such thing, or not visible to this user
├── Unavailable          ours: engine, database or disk does not answer; retrying later may help
├── Fenced               another owner took over this attempt: stop, write nothing more
├── Left                 this process ends and the program goes on: let go of it, write no end
└── SettingsError        an environment variable has a value that cannot be used
"""


class HermesError(Exception):
    """Root of everything Hermes raises on purpose."""


class UserError(HermesError):
    """The user can fix it. `str(error)` is shown to them; `hint` is the next step."""

    code = "bad_request"
    status = 400

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    @property
    def whole(self) -> str:
        """With the next step, on one line."""
        return f"{self}; {self.hint}" if self.hint else str(self)


class ManifestError(UserError):
    """A manifest that cannot be used. `where` is `file:line:column`, both counted from 1."""

    code = "bad_manifest"

    def __init__(self, message: str, where: str, hint: str = "") -> None:
        super().__init__(f"{where}: {message}", hint)
        self.where = where


class Refused(UserError):
    """Understood, and not allowed or not possible on this instance."""

    code = "refused"
    status = 403


class Conflict(UserError):
    """Contradicts what was asked, or what came, before."""

    code = "conflict"
    status = 409


class TooLarge(UserError):
    """More bytes than are taken, counted after inflating."""

    code = "too_large"
    status = 413


class TooSlow(UserError):
    """The bytes do not come, or not in time."""

    code = "too_slow"
    status = 408


class TooMany(UserError):
    """Too often: again after `wait_s` seconds."""

    code = "too_many"
    status = 429

    def __init__(self, message: str, wait_s: float) -> None:
        self.wait_s = max(int(wait_s) + 1, 1)
        super().__init__(message, f"try again in {self.wait_s} s")


class DiskFull(UserError):
    """No work is taken now: our disk is full or cannot be written. What is there can be read."""

    code = "disk_full"
    status = 507
    wait_s = 60

    def __init__(self, message: str) -> None:
        super().__init__(message, "try again later; to its operator `hermes doctor` says more")


class Gone(UserError):
    """It was there, and was removed to make room (hermes.retention)."""

    code = "gone"
    status = 410


class NotFound(UserError):
    """It does not exist, or this user may not know that it does."""

    code = "not_found"
    status = 404


class Unavailable(HermesError):
    """A part of ours does not answer; nothing is wrong with what the user asked."""


class Fenced(HermesError):
    """The lease of this attempt went to somebody else: stop the work, touch nothing."""


class Left(HermesError):
    """This process ends and the program goes on; the next one adopts it."""


class SettingsError(HermesError):
    """A setting cannot be used. The message names its environment variable."""
