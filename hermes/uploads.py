"""Uploads: a file that is whole and on disk gets its row and its run in one transaction, and only once."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple
from urllib.parse import quote

from sqlalchemy import bindparam, insert, select, update

from hermes.at_once import Ask, Rows
from hermes.audit import Actor, write_down
from hermes.cause import Cause
from hermes.columns import Base
from hermes.errors import DiskFull, Gone, NotFound, Refused, TooMany, UserError
from hermes.faultpoint import faultpoint
from hermes.functions import Function, FunctionName
from hermes.growing import check_digest
from hermes.inputs import Stored, check_input_name
from hermes.invocations import Invocation, Queued
from hermes.invoker import Invoker
from hermes.plan import Plan
from hermes.process import Context
from hermes.queue import RANKS
from hermes.tables import Repo, Upload, User

TRIGGER = "upload"
_ROWS = Base.metadata.tables["upload"]
_NEW = insert(_ROWS).returning(_ROWS.c.id)
_BY_ID = select(_ROWS.c.id, _ROWS.c.run_id).where(_ROWS.c.id == bindparam("row")).with_for_update()
_BY_RUN = select(_ROWS.c.id, _ROWS.c.run_id).where(_ROWS.c.run_id == bindparam("run"))
_BY_MARK = select(_ROWS.c.id, _ROWS.c.run_id).where(
    _ROWS.c.watch_id == bindparam("watch"),
    _ROWS.c.name == bindparam("file"),
    _ROWS.c.mark == bindparam("known"),
)
_BEGIN = update(_ROWS).where(_ROWS.c.id == bindparam("row")).values(run_id=bindparam("run"))
_MOST_SHOWN = 120
#: Somebody's way of asking, not a file that cannot be taken: nothing for the audit log.
_PASSING = (NotFound, TooMany, DiskFull, Gone)


@dataclass(frozen=True)
class Incoming:
    """A file that is whole and on disk, and how it came."""

    file: Stored
    words: str  # `uploaded by alice`
    sha256: str = ""
    key: str = ""  # Idempotency-Key
    row_id: int | None = None  # it came in parts, and has a row
    watch_id: int | None = None
    mark: str = ""  # as in Upload


class Recorded(NamedTuple):
    """What came of it; not `is_new`: it was recorded before, and this file is nobody's. `row`: as it was made
    now, of this function."""

    upload_id: int
    run_id: int
    is_new: bool
    row: Upload | None
    function: Function


def check_wanted(function: Function, name: str) -> None:
    """Raises UserError for a name that cannot be, Refused for what starts no run of this function."""
    check_input_name(name)
    plan, called = Plan.model_validate(function.build.plan), f"{function.owner}/{function.repo.name}"
    if not plan.uploads:
        raise Refused(
            f"{called} takes no uploads: its manifest has no on.upload",
            'add `[on]` with `upload = "*"` (or a pattern such as "*.png") to hermes.toml and push',
        )
    if not matches(plan, name):
        patterns = ", ".join(f'"{each}"' for each in plan.uploads)
        raise Refused(
            f"{shown(name)} does not match on.upload of {called}: {patterns}",
            "upload a file of such a name, or change the pattern in hermes.toml and push",
        )


def matches(plan: Plan, name: str) -> bool:
    """The whole path or its last part."""
    base = name.rpartition("/")[2]
    return any(fnmatchcase(name, each) or fnmatchcase(base, each) for each in plan.uploads)


def shown(name: str) -> str:
    """A file's name in a sentence: the end of a long one."""
    return name if len(name) <= _MOST_SHOWN else f"…{name[-_MOST_SHOWN:]}"


def page_address(owner: str, repo: str, name: str = "") -> str:
    """The page of the uploads of a function, or those of one name."""
    query = f"?name={quote(name, safe='')}" if name else ""
    return f"/functions/{owner}/{repo}/uploads{query}"


@dataclass(frozen=True)
class Uploads:
    """Of one instance."""

    context: Context
    invoker: Invoker

    async def function(self, user: User, asked: FunctionName, name: str) -> Function:
        """The function that a file of this name starts. Raises UserError."""
        function = await self.invoker.function(user, asked)
        check_wanted(function, name)
        return function

    async def announce(self, user: User, function: Function, file: Stored, sha256: str) -> int:
        """The row of a file that comes in parts; returns its number."""
        values = _values(user, function, Incoming(file, "", sha256)) | {"run_id": None}
        made = await self.context.database.write_at_once(lambda ask: ask(_NEW, **values))
        return int(made[0][0])

    async def record(self, user: User, function: Function, incoming: Incoming) -> Recorded:
        """Its row, if it has none yet, and its run. Raises Refused, Conflict."""
        faultpoint("upload.stored")
        name, found, values = incoming.file.name, list[int](), _values(user, function, incoming)

        def around(ask: Ask, call: Callable[[], Queued]) -> Queued:
            if known := _known(ask, incoming):
                found.append(known[0])
                return Queued(known[1], Plan.model_validate(function.build.plan), time.time(), is_new=False)
            queued = call()
            if not queued.is_new:  # by its key
                found.extend(row[0] for row in ask(_BY_RUN, run=queued.run_id))
            elif incoming.row_id is None:
                found.append(int(ask(_NEW, **values, run_id=queued.run_id)[0][0]))
            else:
                ask(_BEGIN, row=incoming.row_id, run=queued.run_id)
                found.append(incoming.row_id)
            return queued

        page = page_address(function.owner, function.repo.name, name)
        asked = Invocation(
            values={},
            inputs=[incoming.file],
            key=incoming.key,
            trigger=TRIGGER,
            cause=Cause(f"{shown(name)} {incoming.words}", page),
            input_file=name,
        )
        queued = await self.invoker.queue(user, function, asked, around)
        faultpoint("upload.recorded")
        await self.context.doorbell.ring(RANKS)
        row = None
        if queued.is_new and incoming.row_id is None:
            row = Upload(id=found[0], run_id=queued.run_id, **values)
        return Recorded(found[0], queued.run_id, queued.is_new, row, function)

    async def finish(self, by: Actor, user: User, upload: Upload) -> None:
        """A file that came in parts is all here: its run. Raises UserError."""
        async with self.context.database.read() as session:
            repo = await session.get_one(Repo, upload.repo_id)
            owner = await session.get_one(User, repo.owner_id)
        asked = FunctionName(owner.name, repo.name, upload.what)
        async with self.watched_over(by, f"{asked} {upload.name}"):
            await check_digest(self.context.paths.input(upload.token), upload.sha256)
            function = await self.function(user, asked, upload.name)
            file = Stored(upload.name, upload.token, upload.size_bytes)
            await self.record(user, function, Incoming(file, f"uploaded by {user.name}", row_id=upload.id))

    @asynccontextmanager
    async def watched_over(self, by: Actor, subject: str) -> AsyncIterator[None]:
        """What is refused meanwhile is written down."""
        try:
            yield
        except UserError as error:
            if not isinstance(error, _PASSING):
                async with self.context.database.write() as session:
                    write_down(session, by, "upload refused", subject, str(error))
            raise


def _known(ask: Ask, incoming: Incoming) -> tuple[int, int] | None:
    """The upload and the run of this very file, if it was recorded before. Raises NotFound for a row that is
    gone: whoever announced it has taken it back."""
    rows: Rows = ()
    if incoming.row_id is not None:
        rows = ask(_BY_ID, row=incoming.row_id)
        if not rows:
            raise NotFound("there is no such upload any more", "begin it anew")
    elif incoming.watch_id is not None:
        rows = ask(_BY_MARK, watch=incoming.watch_id, file=incoming.file.name, known=incoming.mark)
    return next(((row[0], row[1]) for row in rows if row[1] is not None), None)


def _values(user: User, function: Function, incoming: Incoming) -> dict[str, object]:
    file = incoming.file
    who = {"repo_id": function.repo.id, "user_id": user.id, "function": function.build.name}
    what = {"what": function.what, "name": file.name, "size_bytes": file.size_bytes, "token": file.token}
    how = {"sha256": incoming.sha256, "watch_id": incoming.watch_id, "mark": incoming.mark}
    return who | what | how | {"created_at": time.time(), "delivered_at": None}
