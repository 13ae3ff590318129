"""What somebody may have meant by a cron expression that is none: the nearest one that is right."""

import difflib
import re
from typing import NamedTuple

from hermes.cron import NAMES, NeverComes, NotCron, fields_of

_CLOCK = re.compile(r"\b([01]?\d|2[0-4]):([0-5]\d)\b")
_EVERY = re.compile(r"@?every\s+(\d{1,4})\s*(m|h|d)")


class _Field(NamedTuple):
    low: int
    high: int
    names: tuple[str, ...] = ()


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (_Field(0, 59), _Field(0, 23), _Field(1, 31), _Field(1, 12, _MONTHS), _Field(0, 7, _DAYS))


def check_cron(text: str) -> str:
    """Raises ValueError that says what is wrong with it, and the nearest right form."""
    try:
        fields_of(text)
    except NotCron as error:
        near = nearest(text)
        more = f", did you mean {near!r}?" if near else '; write it as in "0 3 * * *", @daily or @hourly'
        raise ValueError(f"{text[:80]!r} {_sentence(error)}{more}") from None
    return text.strip()


def _sentence(error: NotCron) -> str:
    words = str(error)
    return words if words.startswith(("has ", "never ")) else f"is no cron expression: {words}"


def nearest(text: str) -> str:
    """One that is right, or ""."""
    words = text.strip().lower()[:200]
    for form in (_named, _every, _at_a_time, _repaired):
        if (found := form(words)) and _is_right(found):
            return found
    return ""


def _is_right(text: str) -> bool:
    try:
        fields_of(text)
    except NotCron:
        return False
    return True


def _named(words: str) -> str:
    """`@dayly`, `hourly`."""
    if len(words.split()) != 1 or not re.search(r"[a-z]{3}", words):
        return ""
    near = difflib.get_close_matches("@" + words.lstrip("@"), NAMES, 1, 0.7)
    return near[0] if near else ""


def _every(words: str) -> str:
    """`@every 5m`, where that is a part of an hour or of a day."""
    found = _EVERY.match(words)
    if not found:
        return ""
    count, unit = int(found[1]), found[2]
    if unit == "d":
        return "0 0 * * *" if count == 1 else ""
    if unit == "m" and count % 60 == 0:
        count, unit = count // 60, "h"
    whole, form = (60, "*/{} * * * *") if unit == "m" else (24, "0 */{} * * *")
    return form.format(count) if count and whole % count == 0 else ""


def _at_a_time(words: str) -> str:
    """`03:00`, `daily at 3:00`."""
    found = _CLOCK.search(words)
    return f"{int(found[2])} {int(found[1]) % 24} * * *" if found else ""


def _repaired(words: str) -> str:
    fields = words.split()
    if len(fields) == 7:  # Quartz: seconds in front, years behind
        fields = fields[1:6]
    elif len(fields) == 6:  # seconds in front, or years behind
        fields = fields[1:] if "?" in fields or _is_right(" ".join(fields[1:])) else fields[:5]
    if not 2 <= len(fields) <= 5:
        return ""
    fields += ["*"] * (5 - len(fields))
    minute, hour, day, month, weekday = (_field(*pair) for pair in zip(_FIELDS, fields, strict=True))
    found = f"{minute} {hour} {day} {month} {weekday}"
    try:
        return fields_of(found)
    except NeverComes:
        return f"{minute} {hour} L {month} {weekday}"  # the last day that there is
    except NotCron:
        return ""


def _field(field: _Field, text: str) -> str:
    if text in ("?", "h"):  # Quartz, Jenkins
        return "*" if text == "?" else str(field.low)
    return ",".join(_term(field, term) for term in text.split(",") if term) or "*"


def _term(field: _Field, text: str) -> str:
    base, _, step = text.partition("/")
    step = f"/{int(step)}" if step.isdecimal() and step.isascii() and int(step[:6]) > 0 else ""
    if base in ("", "*"):
        return f"*{step}"
    first, dash, last = base.partition("-")
    if not dash:
        return _value(field, base) + step
    low, high = _value(field, first), _value(field, last)
    if _rank(field, low) <= _rank(field, high):
        return f"{low}-{high}{step}"
    end = field.names[-1] if len(field.names) == 7 and low in field.names else str(min(field.high, 59))
    return f"{low}-{end}{step},{field.names[0] if low in field.names else field.low}-{high}{step}"


def _rank(field: _Field, value: str) -> int:
    return field.names.index(value) if value in field.names else int(value) if value.isdecimal() else 0


def _value(field: _Field, text: str) -> str:
    if text.isdecimal() and text.isascii():
        number = int(text[:6])
        if number in (24, 60) and field.low == 0 and number == field.high + 1:
            return "0"
        return str(min(max(number, field.low), field.high))
    near = difflib.get_close_matches(text[:3], field.names, 1, 0.6)
    return near[0] if near else text
