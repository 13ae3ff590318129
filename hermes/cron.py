"""Cron expressions in a time zone: when the next time is. As Debian's cron has them (crontab(5)).

Where clocks are set forward or back, what names its minute and its hour (`30 2 * * *`) runs once: in a
skipped hour at the end of the gap, in a doubled one the first time. What has `*` in one of both runs whenever
the clock shows such a time: in a doubled hour twice, in a skipped one not at all."""

import difflib
from datetime import datetime, timedelta
from functools import cache, lru_cache
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

NAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
MOST_CHARACTERS = 200
_EPOCH = datetime(1970, 1, 1)
_NOT_ZONES = {"localtime", "Factory"}  # of a machine, and of one that nobody has set up
_CORRECTION_S = 3 * 3600.0  # as Debian's cron: what is set by more has moved to another date line
_PROBE_S = 7 * 86400.0  # no zone changes twice within that


class NotCron(ValueError):
    """Why it is none, in words."""


class NeverComes(NotCron):
    """It can be read, and no day is like that."""


@lru_cache(maxsize=4096)
def fields_of(text: str) -> str:
    """The five fields of an expression or of a name such as `@daily`. Raises NotCron."""
    text = text.strip()
    if len(text) > MOST_CHARACTERS:
        raise NotCron(f"has {len(text)} characters, {MOST_CHARACTERS} at most")
    fields = NAMES.get(text.lower(), text)
    if fields.startswith("@"):
        raise NotCron(f"there is no {fields.split()[0][:40]}")
    count = len(fields.split())
    if count != 5:
        raise NotCron(f"has {count} field{'s' * (count != 1)}, not five (minute hour day month weekday)")
    try:
        next(CronSim(fields, _EPOCH + timedelta(days=365 * 50)))
    except CronSimError as error:
        raise _why(fields, error) from None
    except StopIteration:
        raise NeverComes("never comes") from None
    return fields


def _why(fields: str, error: CronSimError) -> NotCron:
    """Cronsim says which field; a day that no month has is one that can be read."""
    minute, hour, day, month, weekday = fields.split()
    wrong = str(error).removeprefix("Bad ")
    which = {"minute": minute, "hour": hour, "day-of-month": day, "month": month, "day-of-week": weekday}
    if wrong == "day-of-month" and _is_readable(f"{minute} {hour} {day} * {weekday}"):
        return NeverComes("never comes: no such month has such a day")
    return NotCron(f"{which.get(wrong, '')[:40]!r} is no {wrong.replace('-', ' ')}")


def _is_readable(fields: str) -> bool:
    try:
        CronSim(fields, _EPOCH)
    except CronSimError:
        return False
    return True


@cache
def zone_names() -> frozenset[str]:
    """All time zones that this machine knows."""
    return frozenset(available_timezones() - _NOT_ZONES)


def check_zone(name: str) -> str:
    """Raises ValueError with the nearest name that there is."""
    if name in zone_names():
        return name
    by_lower = {each.lower(): each for each in sorted(zone_names())}
    asked = name.strip().lower().replace(" ", "_")
    last = {each.rpartition("/")[2]: each for each in by_lower}
    cutoff = 0.7 if len(asked) > 4 else 1.0  # CEST is not EST
    near = difflib.get_close_matches(asked, by_lower, 1, cutoff)
    near = near or [last[each] for each in difflib.get_close_matches(asked, last, 1, cutoff)]
    more = f", did you mean {by_lower[near[0]]!r}?" if near else "; write it as in Europe/Berlin, or UTC"
    raise ValueError(f"there is no time zone {name[:80]!r}{more}")


def next_time(text: str, timezone: str, after: float) -> float:
    """Of an expression that was checked: the first time after that, in Unix seconds. Raises NeverComes."""
    fields, zone = fields_of(text), ZoneInfo(timezone)
    minute, hour, *_ = fields.split()
    try:
        if "*" in (minute[0], hour[0]):
            return _whenever_shown(fields, zone, int(after))
        return _once(fields, zone, after)
    except StopIteration:
        raise NeverComes("never comes again") from None


def _once(fields: str, zone: ZoneInfo, after: float) -> float:
    wall = datetime.fromtimestamp(after, zone).replace(tzinfo=None)
    for shown in CronSim(fields, wall):
        at = _first_time(shown, zone)
        if at > after:
            return at
    raise StopIteration  # cronsim looks 50 years ahead


def _first_time(shown: datetime, zone: ZoneInfo) -> float:
    """When a clock first shows this, or what comes after a gap that hides it; 0: it hides too much."""
    at = shown.replace(tzinfo=zone).timestamp()
    if datetime.fromtimestamp(at, zone).replace(tzinfo=None) == shown:
        return at
    before = shown.replace(tzinfo=zone, fold=1).timestamp()  # a gap: by its other offset
    return _change(before, at, zone) if at - before < _CORRECTION_S else 0.0


def _whenever_shown(fields: str, zone: ZoneInfo, after: float) -> float:
    """By spans of one offset each: cronsim's own hours lose the half of one that Lord Howe is set by."""
    offset_s = _offset_s(after, zone)
    while True:
        shown = next(CronSim(fields, _EPOCH + timedelta(seconds=after + offset_s)))
        at = (shown - _EPOCH).total_seconds() - offset_s
        change = _first_change(after, at, offset_s, zone)
        if change is None:
            return at
        after, offset_s = change - 1, _offset_s(change, zone)


def _offset_s(at: float, zone: ZoneInfo) -> float:
    offset = datetime.fromtimestamp(at, zone).utcoffset()
    return offset.total_seconds() if offset else 0.0


def _first_change(after: float, until: float, offset_s: float, zone: ZoneInfo) -> float | None:
    """When the offset, then and until then, is another one for the first time."""
    while after < until:
        probe = min(after + _PROBE_S, until)
        if _offset_s(probe, zone) != offset_s:
            return _change(after, probe, zone)
        after = probe
    return None


def _change(before: float, after: float, zone: ZoneInfo) -> float:
    """The first second of the offset of `after`."""
    low, high, offset_s = int(before), int(after), _offset_s(after, zone)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _offset_s(middle, zone) == offset_s else (middle, high)
    return float(high)


def show_time(at: float, timezone: str, now: float) -> str:
    """`03:00 America/Sao_Paulo`, with its date if that is another one than now."""
    zone = ZoneInfo(timezone)
    when, today = datetime.fromtimestamp(at, zone), datetime.fromtimestamp(now, zone)
    form = "%H:%M" if when.date() == today.date() else "%Y-%m-%d %H:%M"
    return f"{when.strftime(form)} {timezone}"
