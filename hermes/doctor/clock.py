"""The clock: leases, tokens and the order of logs live by it."""

import ctypes
import struct
import time

from hermes.doctor.data import files_like, sqlite_file
from hermes.doctor.findings import Finding, Look, note, ok, problem, warning
from hermes.settings import Settings
from hermes.units import show_span

_TIMEX = struct.Struct("@I4xqqqqi")  # modes, offset, freq, maxerror (µs), esterror, status (adjtimex(2))
_TIMEX_BYTES = 256
_UNSYNCHRONISED = 0x40
_UNSURE_US = 16_000_000  # as systemd decides it
_AHEAD_S = 60.0


def look_at_clock(settings: Settings) -> Look[None]:
    """Against the kernel's own word, and against what has been written already."""
    return Look([_against_files(settings) or _synchronised()])


def _against_files(settings: Settings) -> Finding | None:
    """A database that was written in the future tells that the clock has gone back."""
    file = sqlite_file(settings)
    if file is None or not file.exists():
        return None
    newest = max((each.st_mtime for each in files_like(file).values()), default=0.0)
    ahead_s = newest - time.time()
    if ahead_s < _AHEAD_S:
        return None
    found = f"it is {show_span(ahead_s)} behind the last write to the database: leases last too long"
    return problem("clock", found, "timedatectl; set the clock right, then start Hermes again")


def _synchronised() -> Finding:
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    state = kernel_says()
    if state is None:
        return note("clock", f"{now}; the kernel does not tell whether it is synchronised", "timedatectl")
    status, error_us = state
    if status & _UNSYNCHRONISED or error_us >= _UNSURE_US:
        step = "sudo timedatectl set-ntp true, or apt-get install chrony"
        return warning("clock", f"{now}, not synchronised: it drifts away from everybody else's", step)
    return ok("clock", f"{now}, synchronised, at most {error_us / 1e6:.3f} s off")


def kernel_says() -> tuple[int, int] | None:
    """(status bits, largest error in microseconds), from adjtimex(2); None where that may not be asked."""
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)  # modes 0: only read
    try:
        answer = ctypes.CDLL(None).adjtimex(buffer)
    except (OSError, AttributeError):
        return None
    if answer < 0:
        return None
    _modes, _offset, _frequency, error_us, _estimate_us, status = _TIMEX.unpack_from(buffer)
    return status, error_us
