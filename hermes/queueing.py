"""A run and its ranks enter the queue: by fixed statements, as every push and every invocation does it."""

import time
from typing import Any

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.at_once import Ask, ask_in
from hermes.cause import Sender
from hermes.columns import Base
from hermes.fairness import TURN_S, queue_key
from hermes.plan import Plan
from hermes.reports import tell_run
from hermes.states import State
from hermes.tables import Build, Run
from hermes.transitions import note_at_once

_RUN, _RANK = Base.metadata.tables["run"], Base.metadata.tables["rank"]
_NEW_RUN = insert(_RUN).returning(_RUN.c.id)
_NEW_RANK = insert(_RANK)
_FRESH = {"state": State.QUEUED, "reason": ""}
_UNTRIED: dict[str, Any] = {
    "attempt": 0,
    "faults": 0,
    "not_before": 0.0,
    "gpu_count": 0,
    "failures": 0,
    "signal": "",
    "progress_text": "",
}


def queue(
    ask: Ask,
    build: Build,
    plan: Plan,
    sender: Sender,
    *,
    push_id: int | None = None,
    callback: str = "",
) -> int:
    """One run of a build, with a rank for each set of parameters; returns its number."""
    now, user_id = time.time(), sender.user_id
    first_key, shape = queue_key(ask, user_id, now), plan.shape()
    who = {"repo_id": build.repo_id, "build_id": build.id, "push_id": push_id, "user_id": user_id}
    what = {"trigger": sender.trigger, "cause": sender.cause.row(), "plan": plan.model_dump()}
    what |= {"callback_url": callback, "cancelled_by": "", "kept_by": ""}
    made = ask(_NEW_RUN, **who, **what, **_FRESH, queue_key=first_key, created_at=now)
    run_id = int(made[0][0])
    for position, (number, parameters) in enumerate(plan.numbered()):
        place = {"number": number, "position": position, "queue_key": first_key + TURN_S * position}
        ask(
            _NEW_RANK,
            **{"run_id": run_id, "parameters": parameters, "shape": shape, "created_at": now},
            **place,
            **_FRESH,
            **_UNTRIED,
        )
    note_at_once(ask, "run", run_id, ("", State.QUEUED), sender.cause.words or sender.trigger)
    return run_id


async def queue_run(
    session: AsyncSession, build: Build, plan: Plan, sender: Sender, push_id: int | None = None
) -> Run:
    """The same in a transaction of more."""
    await session.flush()
    run_id = await session.run_sync(lambda plain: queue(ask_in(plain), build, plan, sender, push_id=push_id))
    run = await session.get_one(Run, run_id)
    await tell_run(session, run)
    return run
