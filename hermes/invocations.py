"""Invocations: a built function runs with other inputs, in one transaction and, by its key, only once."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.again import change, grid_of
from hermes.errors import UserError
from hermes.functions import Function
from hermes.inputs import Stored
from hermes.plan import Instance, Plan
from hermes.queueing import queue_run
from hermes.tables import IdempotencyKey, Input, Run, User

TRIGGER = "api"
KEY_LIFE_S = 86400.0
_MOST_KEY = 255


class Conflict(UserError):
    """Contradicts what was asked before."""

    code = "conflict"
    status = 409


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

    def digest(self, function: Function) -> str:
        """Of all that makes it this request; of files their names and sizes."""
        files = sorted((each.name, each.size_bytes) for each in self.inputs)
        more = [dict(self.values), dict(self.env), dict(self.parameters)]
        asked = [function.repo.id, more, files, self.callback_url]
        return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()


async def earlier(session: AsyncSession, user: User, function: Function, asked: Invocation) -> Run | None:
    """The run that this key has made already. Raises Conflict when it was another request."""
    if not asked.key:
        return None
    if len(asked.key) > _MOST_KEY:
        raise UserError(f"an Idempotency-Key has {_MOST_KEY} characters at most", "a UUID is a good one")
    row = await session.get(IdempotencyKey, (user.id, asked.key))
    if row is None or row.created_at < time.time() - KEY_LIFE_S:
        return None
    if row.request_sha256 != asked.digest(function):
        raise Conflict(
            f"this Idempotency-Key has started run {row.run_id} with another request",
            "use a new key for each",
        )
    return await session.get_one(Run, row.run_id)


async def invoke(
    session: AsyncSession, user: User, function: Function, asked: Invocation, here: Instance
) -> Run:
    """Queue it; its build may still be under way. Raises Wrong, Refused, Conflict."""
    plan = Plan.model_validate(function.build.plan).model_copy(update={"runs": True, "keeps_result": True})
    plan = change(plan, _values(plan, asked), here)
    run = await queue_run(session, function.build, plan, user.id, TRIGGER)
    run.callback_url = asked.callback_url
    session.add_all(
        Input(run_id=run.id, name=each.name, token=each.token, size_bytes=each.size_bytes)
        for each in asked.inputs
    )
    if asked.key:
        await _remember(session, user, asked.key, asked.digest(function), run)
    return run


def _values(plan: Plan, asked: Invocation) -> dict[str, Any]:
    values = dict(asked.values)
    if asked.env:
        values["run.env"] = values.get("run.env", plan.env) | asked.env
    if asked.parameters:
        rows = values.get("ranks.parameters", grid_of(plan).parameters)
        values["ranks.parameters"] = [row | asked.parameters for row in rows]
    return values


async def _remember(session: AsyncSession, user: User, key: str, digest: str, run: Run) -> None:
    too_old = IdempotencyKey.created_at < time.time() - KEY_LIFE_S
    await session.execute(delete(IdempotencyKey).where(IdempotencyKey.user_id == user.id, too_old))
    row = IdempotencyKey(
        user_id=user.id, key=key, request_sha256=digest, run_id=run.id, created_at=time.time()
    )
    try:
        async with session.begin_nested():
            session.add(row)
    except IntegrityError:  # the same request at this moment
        raise Conflict("a request with this Idempotency-Key is being taken", "ask again") from None


async def inputs_again(session: AsyncSession, run: Run, fresh: Run) -> None:
    """A run again has the same files."""
    for each in (await session.scalars(select(Input).where(Input.run_id == run.id))).all():
        session.add(Input(run_id=fresh.id, name=each.name, token=each.token, size_bytes=each.size_bytes))
