"""Cron expressions against a clock that is looked at minute by minute, and what is said of what is none."""

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest

from hermes.cron import NAMES, NeverComes, NotCron, check_zone, fields_of, next_time, show_time
from hermes.cron_nearest import check_cron, nearest
from hermes.manifest import json_schema
from hermes.manifest_file import read_manifest
from tests.test_manifest import plan, refusal

#: Some days each, with a change of the clock amid them; Apia had no 30 December at all.
SPANS = [
    ("Europe/Berlin", "2026-03-28", 3),
    ("Europe/Berlin", "2026-10-24", 3),
    ("America/Sao_Paulo", "2018-11-03", 3),
    ("America/Sao_Paulo", "2018-02-17", 3),
    ("Australia/Lord_Howe", "2026-04-04", 3),
    ("Australia/Lord_Howe", "2026-10-03", 3),
    ("America/St_Johns", "2006-10-28", 3),
    ("Pacific/Apia", "2011-12-29", 3),
    ("Asia/Kathmandu", "2026-06-01", 2),
]
EXPRESSIONS = [
    "30 2 * * *",
    "0 0 * * *",
    "15 1,2,3 * * *",
    "1 0 * * *",
    "45 1 * * 0",
    "0 12 * * *",
    "0,30 0-3 * * *",
    "*/15 * * * *",
    "0 * * * *",
    "0 */6 * * *",
    "*/20 1-3 * * *",
    "10 */2 * * *",
    "* 2 * * *",
    "*/30 1 * * *",
]


def _numbers(field: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for term in field.split(","):
        base, _, step = term.partition("/")
        first, _, last = base.partition("-")
        span = range(low, high + 1) if base == "*" else range(int(first), int(last or first) + 1)
        found |= set(span[:: int(step or 1)])
    return found


def _matches(fields: str, wall: datetime) -> bool:
    minute, hour, day, month, weekday = fields.split()
    return (
        wall.minute in _numbers(minute, 0, 59)
        and wall.hour in _numbers(hour, 0, 23)
        and wall.day in _numbers(day, 1, 31)
        and wall.month in _numbers(month, 1, 12)
        and wall.isoweekday() % 7 in _numbers(weekday, 0, 6)
    )


@cache
def _clock(zone: str, day: str, days: int) -> list[tuple[float, datetime]]:
    """What a clock there shows, each minute: instants and walls."""
    begin = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).timestamp()
    instants = [begin + 60 * minute for minute in range(days * 1440)]
    return [(at, datetime.fromtimestamp(at, ZoneInfo(zone)).replace(tzinfo=None)) for at in instants]


def _expected(fields: str, clock: list[tuple[float, datetime]]) -> list[float]:
    """As Debian's cron says that it is, found by looking at the clock."""
    minute, hour, *_ = fields.split()
    if "*" in (minute[0], hour[0]):
        return [at for at, wall in clock if _matches(fields, wall)]
    found: set[float] = set()
    seen = clock[0][1] - timedelta(minutes=1)
    for at, wall in clock:
        gap = int((wall - seen).total_seconds() / 60)  # 0 and less: what is shown again came before
        hidden = [seen + timedelta(minutes=step) for step in range(1, gap + 1)]
        found |= {at for each in (hidden if gap < 180 else [wall]) if _matches(fields, each)}
        seen = max(seen, wall)
    return sorted(found)


@pytest.mark.parametrize("span", SPANS, ids=lambda span: f"{span[0]} {span[1]}")
@pytest.mark.parametrize("fields", EXPRESSIONS)
def test_times_are_those_of_a_clock_that_is_looked_at(fields: str, span: tuple[str, str, int]) -> None:
    clock = _clock(*span)
    found, at = [], clock[0][0] - 1
    while (at := next_time(fields, span[0], at)) <= clock[-1][0]:
        found.append(at)
    assert found == _expected(fields, clock)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe"])
def test_the_next_time_is_after_every_moment_it_is_asked_at(zone: str) -> None:
    """Also within a doubled hour, where a service may start anew: nothing comes twice."""
    for day in ("2026-04-04", "2026-10-24"):
        for at, _ in _clock(zone, day, 2)[::7]:
            for fields in ("45 1 * * *", "30 2 * * *", "*/20 * * * *"):
                assert next_time(fields, zone, at + 0.5) > at + 0.5
                assert next_time(fields, zone, next_time(fields, zone, at) - 0.5) == next_time(
                    fields, zone, at
                )


def _shown(fields: str, zone: str, after: str, count: int) -> list[str]:
    at, found = datetime.fromisoformat(after).timestamp(), []
    for _ in range(count):
        at = next_time(fields, zone, at)
        found.append(datetime.fromtimestamp(at, UTC).strftime("%m-%d %H:%M"))
    return found


def test_a_skipped_hour_runs_at_its_end_and_a_doubled_one_once() -> None:
    spring = _shown("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00+00:00", 3)
    assert spring == ["03-28 01:30", "03-29 01:00", "03-30 00:30"]  # 03:00 is what comes after 01:59
    autumn = _shown("30 2 * * *", "Europe/Berlin", "2026-10-24T00:00+00:00", 3)
    assert autumn == ["10-24 00:30", "10-25 00:30", "10-26 01:30"]
    midnight = _shown("@daily", "America/Sao_Paulo", "2018-11-03T00:00+00:00", 3)
    assert midnight == ["11-03 03:00", "11-04 03:00", "11-05 02:00"]  # 4 November began at 01:00
    half = _shown("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00+00:00", 2)
    assert half == ["10-03 15:30", "10-04 15:15"]  # 02:00 became 02:30


def test_every_six_hours_is_not_lost_where_clocks_move_by_half_an_hour() -> None:
    shown = _shown("0 */6 * * *", "Australia/Lord_Howe", "2026-04-04T13:00+00:00", 4)
    assert shown == ["04-04 19:30", "04-05 01:30", "04-05 07:30", "04-05 13:30"]


def test_a_year_has_as_many_days_as_it_has() -> None:
    for zone in ("Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe"):
        at, end, count = datetime(2018, 1, 1, tzinfo=ZoneInfo(zone)).timestamp() - 1, 0.0, 0
        end = datetime(2019, 1, 1, tzinfo=ZoneInfo(zone)).timestamp()
        while (at := next_time("30 2 * * *", zone, at)) < end:
            count += 1
        assert count == 365, zone


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("0 3 * *", "0 3 * * *"),
        ("@dayly", "@daily"),
        ("daily", "@daily"),
        ("@every 5m", "*/5 * * * *"),
        ("@every 7m", ""),
        ("60 3 * * *", "0 3 * * *"),
        ("0 24 * * *", "0 0 * * *"),
        ("0 0 12 * * ?", "0 12 * * *"),
        ("0 30 3 * * *", "30 3 * * *"),
        ("03:00", "0 3 * * *"),
        ("every day at 7:30", "30 7 * * *"),
        ("0 22-6 * * *", "0 22-23,0-6 * * *"),
        ("0 0 * * fri-mon", "0 0 * * fri-sat,sun-mon"),
        ("0 9 * * monday-friday", "0 9 * * mon-fri"),
        ("*/0 * * * *", "* * * * *"),
        ("H H * * *", "0 0 * * *"),
        ("0 0 30 2 *", "0 0 L 2 *"),
        ("nonsense", ""),
        ("9" * 5000, ""),
        ("", ""),
        ("٣ * * * *", ""),
    ],
)
def test_what_is_no_expression_is_refused_with_the_nearest_that_is(text: str, near: str) -> None:
    assert nearest(text) == near
    with pytest.raises(ValueError, match="did you mean" if near else "write it as in"):
        check_cron(text)
    if near:
        assert check_cron(near) == near


def test_what_never_comes_is_refused() -> None:
    for text in ("0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "* * */20 * 1L"):
        with pytest.raises(NeverComes):
            fields_of(text)
    assert fields_of("0 0 29 2 *") and fields_of("0 0 31 11 MON")  # a Monday is enough
    with pytest.raises(NotCron, match="has 6 fields, not five"):
        fields_of("0 0 3 * * *")


def test_names_are_expressions_of_their_own() -> None:
    assert [check_cron(name) for name in NAMES] == list(NAMES)
    assert fields_of("@Daily") == "0 0 * * *" and show_time(0, "UTC", 3600) == "00:00 UTC"
    assert show_time(0, "America/New_York", 86400) == "1969-12-31 19:00 America/New_York"


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("Berlin", "Europe/Berlin"),
        ("america/sao paulo", "America/Sao_Paulo"),
        ("Europe/Berln", "Europe/Berlin"),
        ("localtime", ""),
        ("../../etc/passwd", ""),
        ("CEST", ""),
        ("", ""),
        ("posix/Europe/Berlin", "Europe/Berlin"),
    ],
)
def test_a_zone_that_is_none_is_refused_with_the_nearest_that_is(name: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"did you mean '{near}'" if near else "write it as in"):
        check_zone(name)
    assert check_zone("Europe/Berlin") == "Europe/Berlin"


def test_a_manifest_has_one_schedule_or_several_in_each_form() -> None:
    one = plan('[on]\nschedule = " 0 3 * * * "').schedules
    assert [each.model_dump() for each in one] == [
        {"cron": "0 3 * * *", "timezone": "UTC", "overlap": "skip", "args": None}
    ]
    table = '{ cron = "@daily", timezone = "America/Sao_Paulo", overlap = "queue", args = [1, "--full"] }'
    assert plan(f"[on]\nschedule = {table}").schedules[0].args == ["1", "--full"]
    for text in (
        f'[on]\nschedule = ["@hourly", {table}]',
        '[[on.schedule]]\ncron = "@hourly"\n[[on.schedule]]\ncron = "@daily"\noverlap = "cancel"',
    ):
        assert [each.cron for each in plan(text).schedules] == ["@hourly", "@daily"]
    assert plan("").schedules == [] and plan("[on]\nschedule = []").schedules == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[on]\nschedule = "0 3 * *"', "2:1: on.schedule: '0 3 * *' has 4 fields, not five"),
        ('[on]\nschedule = "0 0 30 2 *"', "2:1: on.schedule: '0 0 30 2 *' never comes: no such month"),
        (
            '[on]\nschedule = [\n  "@daily",\n  "61 * * * *",\n]',
            "4:3: on.schedule.cron: '61 * * * *' is no cron",
        ),
        (
            '[[on.schedule]]\ncron = "@daily"\n[[on.schedule]]\ncron = "@dayly"',
            "4:8: on.schedule.cron: '@dayly'",
        ),
        (
            '[on]\nschedule = { cron = "@daily", timezone = "Berlin" }',
            "2:42: on.schedule.timezone: there is no",
        ),
        (
            '[on]\nschedule = { cron = "@daily", overlap = "wait" }',
            "2:41: on.schedule.overlap = 'wait': must be",
        ),
        ('[on]\nschedule = { crom = "@daily" }', "2:1: unknown key 'crom', did you mean 'cron'?"),
        ('[on]\nschedule = ["@daily", "@daily"]', "2:1: on.schedule: '@daily' is there twice"),
        ("[on]\nschedule = 3", "2:1: on.schedule: must be a cron expression"),
        ('[on]\nschedule = ["@daily", 3]', "2:1: on.schedule: must be a cron expression"),
        (
            f"[on]\nschedule = {[f'{each} * * * *' for each in range(21)]}",
            "2:1: on.schedule: 21 schedules, 20",
        ),
        (
            '[on]\nschedule = { cron = "@daily", args = ["a\\u0000"] }',
            "2:31: on.schedule.args: must not hold",
        ),
    ],
)
def test_a_schedule_that_is_wrong_is_told_with_its_place(text: str, words: str) -> None:
    assert refusal(text).startswith(f"hermes.toml:{words}")


def test_the_schema_has_all_forms() -> None:
    on = json_schema()["$defs"]["OnPart"]["properties"]["schedule"]
    assert [each["type"] for each in on["anyOf"]] == ["string", "object", "array"]
    known = set(read_manifest("hermes.toml", b'on.schedule = "@daily"').on.schedule[0].model_dump())
    assert set(on["anyOf"][1]["properties"]) == known
