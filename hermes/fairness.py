"""Who goes first: per-user virtual time, as DOMjudge does it for teams.

A rank's key is fixed when it is queued: the time, moved back by one `TURN_S` for every rank that its user
already has waiting. A flood of one user's runs, or one run of a thousand ranks, lines up behind the first
rank of everybody else; within one user the order is that of asking. The smallest key goes first.
Source: DOMjudge, webapp/src/Service/DOMJudgeService.php, `teamPriority`.
"""

from sqlalchemy import bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.at_once import Ask, ask_in
from hermes.errors import Refused
from hermes.settings import Settings
from hermes.states import State
from hermes.tables import Rank, Run

TURN_S = 60.0
_RUN, _RANK = Run.__table__, Rank.__table__
_ALL = select(func.count()).select_from(_RANK).where(_RANK.c.state == State.QUEUED)
#: No join: PostgreSQL, for whom the tables are small until it has counted them (a minute after a rush), would
#: compare each run of theirs with each rank that waits.
_WHOSE = select(_RUN.c.user_id).where(_RUN.c.id == _RANK.c.run_id).scalar_subquery()
_THEIRS = select(func.count(), func.max(_RANK.c.queue_key)).where(
    bindparam("user") == _WHOSE, _RANK.c.state == State.QUEUED
)


def check_room(ask: Ask, settings: Settings, user_id: int, ranks: int, what: str) -> None:
    """Raises Refused when so many more ranks of this user would make the queue too long."""
    theirs = ask(_THEIRS, user=user_id)[0][0] if settings.user_queued else 0
    together = ask(_ALL)[0][0] if settings.queued else 0
    for count, most, whose in (
        (theirs, settings.user_queued, "you have"),
        (together, settings.queued, "this instance has"),
    ):
        if most and count + ranks > most:
            raise Refused(
                f"{whose} {count} ranks in the queue, and {what} adds {ranks}: the limit is {most}",
                "wait for some to end, cancel some, or push with -o skip or -o build-only",
            )


async def check_queue(
    session: AsyncSession, settings: Settings, user_id: int, ranks: int, what: str = "this push"
) -> None:
    """The same in a transaction of more."""
    await session.run_sync(lambda plain: check_room(ask_in(plain), settings, user_id, ranks, what))


def queue_key(ask: Ask, user_id: int, now: float) -> float:
    """The key of the first rank of a run that this user queues now; the next ones follow by `TURN_S`."""
    waiting, last = ask(_THEIRS, user=user_id)[0]
    return float(max((last or 0.0) + 1.0, now + TURN_S * waiting)) if waiting else now
