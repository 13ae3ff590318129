"""`on.schedule` of a manifest: when runs begin by themselves, and what if the one before still runs."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from hermes.arguments import MOST as MOST_ARGS
from hermes.arguments import TEXT_SCHEMA, Text
from hermes.cron import check_zone
from hermes.cron_nearest import check_cron

Overlap = Literal["skip", "queue", "cancel"]
OVERLAPS: tuple[str, ...] = get_args(Overlap)
MOST = 20


class ScheduleWant(BaseModel):
    """One schedule, as a manifest writes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    cron: Annotated[str, AfterValidator(check_cron)]
    timezone: Annotated[str, AfterValidator(check_zone)] = "UTC"
    overlap: Overlap = "skip"
    args: Annotated[list[Text], Field(max_length=MOST_ARGS)] | None = None  # None: those of [run]


def _as_list(value: Any) -> Any:
    """A string, a table, or a list of them."""
    if isinstance(value, str):
        return [{"cron": check_cron(value)}]
    if isinstance(value, dict):
        return [value]
    if not isinstance(value, list) or not all(isinstance(each, str | dict) for each in value):
        raise ValueError('must be a cron expression such as "0 3 * * *", a table, or a list of them')
    if len(value) > MOST:
        raise ValueError(f"{len(value)} schedules, {MOST} at most")
    return [{"cron": each} if isinstance(each, str) else each for each in value]


def _different(found: list[ScheduleWant]) -> list[ScheduleWant]:
    """Two that are alike would be told apart by nothing."""
    for number, each in enumerate(found):
        if each in found[:number]:
            raise ValueError(f"{each.cron!r} is there twice")
    return found


_TABLE: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["cron"],
    "properties": {
        "cron": {
            "type": "string",
            "description": "minute hour day month weekday, or @daily and friends",
            "examples": ["0 3 * * *", "@daily"],
        },
        "timezone": {"type": "string", "default": "UTC", "examples": ["Europe/Berlin"]},
        "overlap": {
            "enum": list(OVERLAPS),
            "default": "skip",
            "description": "when it is due and its run before has not ended",
        },
        "args": {
            "type": "array",
            "items": TEXT_SCHEMA,
            "maxItems": MOST_ARGS,
            "description": "in place of run.args",
        },
    },
}
_ONE: Sequence[Any] = ({"type": "string", "examples": ["0 3 * * *", "@daily"]}, _TABLE)
_SCHEMA = {"anyOf": [*_ONE, {"type": "array", "items": {"anyOf": list(_ONE)}, "maxItems": MOST}]}

Timetable = Annotated[
    list[ScheduleWant],
    BeforeValidator(_as_list),
    AfterValidator(_different),
    WithJsonSchema({**_SCHEMA, "description": "when runs begin by themselves", "default": []}),
]
