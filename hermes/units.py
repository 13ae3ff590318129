"""Sizes and durations as people write them (`8G`, `15m`) and as people read them."""

import re

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_SPAN = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?", re.IGNORECASE)
_POWER = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def parse_size_bytes(text: str | int) -> int:
    """`512M` → bytes, in powers of 1024. Raises ValueError with the accepted forms."""
    match = _SIZE.fullmatch(str(text).strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size; write for example 512M, 4G or 1.5G")
    return int(float(match[1]) * 1024 ** _POWER[match[2].upper()])


def parse_span_s(text: str | int | float) -> float:
    """`1h30m`, `90s` or a number of seconds → seconds. Raises ValueError with the accepted forms."""
    word = str(text).strip()
    try:
        return _positive(float(word))
    except ValueError:
        match = _SPAN.fullmatch(word)
    if not word or match is None:
        raise ValueError(f"{text!r} is not a duration; write for example 90s, 15m or 1h30m")
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return _positive(days * 86400 + hours * 3600 + minutes * 60 + seconds)


def _positive(span_s: float) -> float:
    if not 0 < span_s < 1e9:
        raise ValueError("a duration must be more than 0 and less than 30 years")
    return span_s


def show_size(size_bytes: float) -> str:
    """Bytes → `312 MiB`: three figures at most, powers of 1024."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size_bytes < 1000 or unit == "TiB":
            break
        size_bytes /= 1024
    return f"{size_bytes:.0f} {unit}" if size_bytes >= 10 or unit == "B" else f"{size_bytes:.1f} {unit}"


def show_span(span_s: float) -> str:
    """Seconds → `0.41 s`, `12.3 s`, `2 m 05 s`, `3 h 12 m`, `2 d 4 h`."""
    if span_s < 9.995:
        return f"{span_s:.2f} s"
    if span_s < 99.95:
        return f"{span_s:.1f} s"
    minutes, seconds = divmod(round(span_s), 60)
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return f"{minutes} m {seconds:02d} s"
    return f"{hours} h {minutes:02d} m" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def show_limit(span_s: float) -> str:
    """A limit as its author would write it: `2 s`, `15 m`, `1 h`, `90 d`."""
    if span_s >= 2 * 86400 and span_s % 86400 == 0:
        return f"{span_s / 86400:.0f} d"
    for unit_s, unit in ((3600, "h"), (60, "m")):
        if span_s >= unit_s and span_s % unit_s == 0:
            return f"{span_s / unit_s:.0f} {unit}"
    return f"{span_s:g} s"
