"""Invocations: a built function runs with other inputs, in one transaction and, by its key, only once."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import bindparam, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.again import change, grid_of
from hermes.at_once import Ask
from hermes.cause import Cause, Sender
from hermes.columns import Base
from hermes.errors import Conflict, UserError
from hermes.fairness import check_room
from hermes.functions import Function
from hermes.inputs import Stored
from hermes.plan import Instance, Plan
from hermes.queueing import queue
from hermes.removals import Data, refuse_removed
from hermes.settings import Settings
from hermes.tables import Input, Run, User

TRIGGER = "api"
KEY_LIFE_S = 86400.0
_KEYS, _INPUTS = Base.metadata.tables["idempotency_key"], Base.metadata.tables["input"]
_MINE = _KEYS.c.user_id == bindparam("user")
_FIND = select(_KEYS.c.request_sha256, _KEYS.c.run_id).where(
    _MINE, _KEYS.c.key == bindparam("key"), _KEYS.c.created_at >= bindparam("since")
)
_FORGET = delete(_KEYS).where(_MINE, _KEYS.c.created_at < bindparam("since"))
_REMEMBER, _BRING = insert(_KEYS), insert(_INPUTS)
_MOST_KEY = 255


@dataclass(frozen=True)
class Invocation:
    """What is asked of a function: `values` as for hermes.again, `env` and `parameters` to be added to those
    that it has, files that are on disk already."""

    values: Mapping[str, Any]
    env: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    inputs: Sequence[Stored] = ()
    callback_url: str = ""
    key: str = ""  # Idempotency-Key
    unread: Mapping[str, str] = field(default_factory=dict)  # what is wrong with it, as for hermes.again
    trigger: str = TRIGGER
    cause: Cause = field(default_factory=Cause)
    input_file: str = ""  # as in Plan

    def digest(self, function: Function) -> str:
        """Of all that makes it this request; of files their names and sizes."""
        files = sorted((each.name, each.size_bytes) for each in self.inputs)
        more = [dict(self.values), dict(self.env), dict(self.parameters)]
        asked = [function.repo.id, function.what, more, files, self.callback_url]
        asked += [self.trigger] * (self.trigger != TRIGGER)
        return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()


class Queued(NamedTuple):
    """What came of it; not `is_new`: this request was made before."""

    run_id: int
    plan: Plan
    at: float
    is_new: bool


def _earlier(ask: Ask, user: User, function: Function, asked: Invocation) -> int | None:
    """The run that this key has made already. Raises Conflict when it was another request."""
    if not asked.key:
        return None
    if len(asked.key) > _MOST_KEY:
        raise UserError(f"an Idempotency-Key has {_MOST_KEY} characters at most", "a UUID is a good one")
    found = ask(_FIND, user=user.id, key=asked.key, since=time.time() - KEY_LIFE_S)
    if not found:
        return None
    digest, run_id = found[0]
    if digest != asked.digest(function):
        raise Conflict(
            f"this Idempotency-Key has started run {run_id} with another request",
            "use a new key for each",
        )
    return int(run_id)


def invoke(
    ask: Ask, settings: Settings, user: User, function: Function, asked: Invocation, here: Instance
) -> Queued:
    """Queue it; its build may still be under way. Raises Wrong, Refused, Conflict."""
    own = {"runs": True, "keeps_result": True, "input_file": asked.input_file}
    plan = Plan.model_validate(function.build.plan).model_copy(update=own)
    if (
        before := _earlier(ask, user, function, asked)
    ) is not None:  # whatever this instance has become since
        return Queued(before, plan, time.time(), is_new=False)
    plan = change(plan, _values(plan, asked), here, asked.unread)
    check_room(ask, settings, user.id, len(plan.ranks), "this run")
    sender = Sender(user.id, asked.trigger, asked.cause)
    run_id = queue(ask, function.build, plan, sender, callback=asked.callback_url)
    for each in asked.inputs:
        ask(_BRING, run_id=run_id, name=each.name, token=each.token, size_bytes=each.size_bytes)
    if asked.key:
        ask(_FORGET, user=user.id, since=time.time() - KEY_LIFE_S)
        row = {"user_id": user.id, "key": asked.key, "run_id": run_id, "created_at": time.time()}
        ask(_REMEMBER, request_sha256=asked.digest(function), **row)
    return Queued(run_id, plan, time.time(), is_new=True)


def _values(plan: Plan, asked: Invocation) -> dict[str, Any]:
    values = dict(asked.values)
    if asked.env:
        values["run.env"] = values.get("run.env", plan.env) | asked.env
    if asked.parameters:
        rows = values.get("ranks.parameters", grid_of(plan).parameters)
        values["ranks.parameters"] = [row | asked.parameters for row in rows]
    return values


async def inputs_again(session: AsyncSession, run: Run, fresh: Run) -> None:
    """A run again has the same files. Raises Gone when they were removed."""
    await session.execute(select(Run.id).where(Run.id == run.id).with_for_update())  # nobody removes them now
    await refuse_removed(session, Data.INPUTS, run.id)
    for each in (await session.scalars(select(Input).where(Input.run_id == run.id))).all():
        session.add(Input(run_id=fresh.id, name=each.name, token=each.token, size_bytes=each.size_bytes))
