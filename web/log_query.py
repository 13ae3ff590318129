"""What may be asked of a log and of a stream of events: the same of runs and of builds."""

from typing import Annotated, Any, Literal

from pydantic import Field

from web.endpoint import Content
from web.reading import Query

LOG = Content(("text/plain",), "the bytes")
_EVENT: dict[str, Any] = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("event", "data", "id")},
}
_STREAM = "text/event-stream"
EVENT_SCHEMAS = {_STREAM: _EVENT}
EVENTS = Content((_STREAM,), "server-sent events: state, attempt, log, lines, end, reconnect", EVENT_SCHEMAS)
BYTES = Content(("application/octet-stream",), "the bytes")
Rank = Annotated[int | None, Field(ge=0, le=9999, description="of which rank; else of the first")]
Flag = Literal["0", "1"]


class BuildLogQuery(Query):
    """Which part of which log."""

    attempt: Annotated[int, Field(ge=0, le=999_999, description="another attempt than the newest")] = 0
    follow: Annotated[Flag, Field(description="1: keep the answer open until all is over")] = "0"
    offset: Annotated[int, Field(ge=0, le=1 << 49, description="with follow=1: begin at this byte")] = 0
    download: Annotated[Flag, Field(description="1: with a file name")] = "0"


class LogQuery(BuildLogQuery):
    """The same of a rank."""

    rank: Rank = None


class BuildEventsQuery(Query):
    """Where to begin, and how much to say."""

    after: Annotated[str, Field(pattern=r"^\d{1,6}\.\d{1,15}$", description="resume after this event id")] = (
        ""
    )
    lines: Annotated[Flag, Field(description="1: an event `lines` before each piece of the log")] = "0"


class EventsQuery(BuildEventsQuery):
    """The same of a rank."""

    rank: Rank = None
