"""Whose work may run where there is no container engine: the operator's own or all (HERMES_TRUST)."""

import time

from sqlalchemy import bindparam, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.accounts import DEMO_USER
from hermes.at_once import Ask, ask_in
from hermes.errors import Refused
from hermes.instance import FRESH_S, UNFENCED, are_unfenced, runners
from hermes.settings import Settings
from hermes.tables import Runner, User

NEXT_STEP = (
    "ask the operator to install Docker, or to set HERMES_TRUST=all (everybody with an account is trusted)"
)

_FIRST = select(func.min(User.id)).where(User.name != DEMO_USER).scalar_subquery()
_TRUSTED = or_(User.is_admin, User.name == DEMO_USER, User.id == _FIRST)
_EXECUTORS = select(Runner.executor).where(Runner.seen_at > bindparam("since"))
_DISTRUSTED = select(User.name).where(User.id == bindparam("user"), ~_TRUSTED)


def distrust(ask: Ask, settings: Settings, user_id: int) -> str:
    """Why nothing that this user asks for may run without an engine; empty if it may.

    An instance's first account is its operator's own; so is the one that `hermes demo` makes."""
    if settings.trust == "all":
        return ""
    found = ask(_DISTRUSTED, user=user_id)
    if not found:
        return ""
    name = found[0][0]
    return f"this machine has no container engine, and what {name} pushes is not trusted to run without one"


def check_trusted_at_once(ask: Ask, settings: Settings, user_id: int) -> None:
    """As `check_trusted`, in a transaction of fixed statements."""
    if settings.trust == "all":
        return
    executors = [row[0] for row in ask(_EXECUTORS, since=time.time() - FRESH_S)]
    if not executors or any(each != UNFENCED for each in executors):
        return
    if why := distrust(ask, settings, user_id):
        raise Refused(why, NEXT_STEP)


async def check_trusted(session: AsyncSession, settings: Settings, user: User) -> None:
    """Raises Refused when the runners that are alive could only run this user's work without an engine."""
    if not are_unfenced(await runners(session)):
        return
    if why := await session.run_sync(lambda plain: distrust(ask_in(plain), settings, user.id)):
        raise Refused(why, NEXT_STEP)
