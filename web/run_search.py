"""Which runs are asked for: the filters of `GET /api/v1/runs`, read, and as conditions on rows."""

import re
import time
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema
from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from hermes.repos import visible_to
from hermes.states import State
from hermes.tables import Build, Repo, Run, User
from hermes.units import parse_span_s
from web.newest import NO_BOUND, newest_in
from web.reading import Query

RunState = Literal[
    "queued", "starting", "running", "succeeded", "failed", "cancelled", "timed_out", "lost"
]  # a build's are others
_NUMBER = re.compile(r"\d{1,11}(\.\d{1,9})?", re.ASCII)
_NAME = r"[a-z0-9_][a-z0-9_.-]{0,99}"
_MOMENT_SCHEMA = {
    "description": "Unix seconds, ISO 8601, or how long ago: `90s`, `15m`, `2h`, `7d`",
    "anyOf": [
        {"type": "number", "minimum": 0, "maximum": 99999999999},
        {"type": "string", "pattern": r"^[1-9][0-9]{0,3}[smhd]$"},
        {"type": "string", "format": "date-time"},
    ],
}


def parse_moment(text: Any) -> float:
    """Raises ValueError with the accepted forms."""
    word = str(text).strip()
    if _NUMBER.fullmatch(word):
        return float(word)
    try:
        return time.time() - parse_span_s(word)
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(word.replace(" ", "+"))  # a + in a query is a blank
    except ValueError:
        raise ValueError(
            f"{word[:80]!r} is no time; write Unix seconds, 2026-11-21T03:22:25Z, or 2h"
        ) from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


Moment = Annotated[float, BeforeValidator(parse_moment), WithJsonSchema(_MOMENT_SCHEMA)]


class RunsQuery(Query):
    """Each that is given narrows; `state` may stand several times."""

    state: list[RunState] = Field(default_factory=list, max_length=8, description="one of these states")
    function: Annotated[
        str,
        Field(pattern=rf"^{_NAME}/{_NAME}(:\d+\.\d+\.\d+)?$", description="`owner/name[:1.0.0]`"),
    ] = ""
    repo: Annotated[str, Field(pattern=rf"^{_NAME}/{_NAME}$", description="`owner/name`")] = ""
    trigger: Annotated[
        str,
        Field(
            pattern=r"^[a-z]{1,20}$", description="`push`, `retry`, `api`, `webhook`, `schedule`, `upload`"
        ),
    ] = ""
    user: Annotated[str, Field(pattern=rf"^{_NAME}$", description="who asked for it")] = ""
    commit: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{4,40}$", description="its beginning")] = ""
    since: Annotated[Moment | None, Field(description="asked for at this time or later")] = None
    until: Annotated[Moment | None, Field(description="asked for before this time")] = None
    limit: Annotated[int, Field(ge=1, le=100, description="how many")] = 30
    before: Annotated[int, Field(ge=1, le=NO_BOUND, description="only runs older than this one")] = NO_BOUND

    @property
    def has_filter(self) -> bool:
        """Whether anything but a page is asked for."""
        return bool(self.model_fields_set - {"limit", "before"})


async def search_runs(session: AsyncSession, user: User, query: RunsQuery) -> list[int]:
    """Ids of what this user may see, the newest first: one more than the page holds, if there are more."""
    if not query.has_filter:
        return await newest_in(session, Run, visible_to(user), query.limit + 1, query.before)
    owner, asker = aliased(User), aliased(User)
    found = (
        select(Run.id)
        .join(Repo, Repo.id == Run.repo_id)
        .join(owner, owner.id == Repo.owner_id)
        .join(asker, asker.id == Run.user_id)
        .join(Build, Build.id == Run.build_id)
        .where(visible_to(user), Run.id < query.before, *_conditions(query))
    )
    if query.user:
        found = found.where(asker.name == query.user)
    for column, text in ((Repo.name, query.repo), (Build.name, query.function.partition(":")[0])):
        if text:
            whose, _, name = text.partition("/")
            found = found.where(owner.name == whose, column == name)
    return list((await session.scalars(found.order_by(Run.id.desc()).limit(query.limit + 1))).all())


def _conditions(query: RunsQuery) -> list[ColumnElement[bool]]:
    """Those on the run and its build alone."""
    found: list[ColumnElement[bool]] = []
    if query.state:
        found.append(Run.state.in_([State(each) for each in query.state]))
    if query.trigger:
        found.append(Run.trigger == query.trigger)
    if version := query.function.partition(":")[2]:
        found.append(Build.version == version)
    if sha := query.commit.lower():
        found += [Build.commit_sha >= sha, Build.commit_sha < f"{sha}g"]
    if query.since is not None:
        found.append(Run.created_at >= query.since)
    if query.until is not None:
        found.append(Run.created_at < query.until)
    return found
