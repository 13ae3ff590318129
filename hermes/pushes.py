"""A push: recorded before its ref moves, applied together with its build and run, never lost between.

`received` is committed before git swaps the ref; `applied` with build, run and ranks before the client
hears `ok`. What a crash leaves as `received` is resolved by looking at the ref (reconcile.py)."""

import time
from dataclasses import dataclass

from sqlalchemy import bindparam, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import make_transient_to_detached
from sqlalchemy.orm.attributes import set_committed_value

from hermes.at_once import Ask, ask_in
from hermes.cause import Sender, read_cause
from hermes.columns import Base, Json
from hermes.plan import Plan
from hermes.queueing import queue_run
from hermes.refs import BRANCHES as BRANCHES
from hermes.refs import TAGS as TAGS
from hermes.refs import short_ref
from hermes.removals import Data, removals_of
from hermes.schedules import follow_push
from hermes.states import TERMINAL, Event, State
from hermes.superseding import supersede
from hermes.tables import Build, Push, Repo, Run
from hermes.transitions import move, note, note_at_once, rebuild
from hermes.visibility import propose

USUAL = (f"{BRANCHES}main", f"{BRANCHES}master")  # of several first branches, what becomes the default one
HIDDEN = "refs/hermes/keep"  # what branches and tags have left behind
_TABLE = Base.metadata.tables["push"]
_RECEIVE = insert(_TABLE).returning(_TABLE.c.id)
_MINE = _TABLE.c.id == bindparam("push")
_IS_RECEIVED, _IS_ABANDONED = _TABLE.c.state == "received", _TABLE.c.state == "abandoned"
_APPLY = update(_TABLE).where(_MINE, or_(_IS_RECEIVED, _IS_ABANDONED)).values(state="applied")
_ABANDON = update(_TABLE).where(_MINE, _IS_RECEIVED).values(state="abandoned")
#: Who has seen the ref move is right, also after somebody who looked too early.
_SETTLE = {"applied": _APPLY.returning(_TABLE.c.id), "abandoned": _ABANDON.returning(_TABLE.c.id)}


@dataclass(frozen=True)
class RefUpdate:
    """What a client asks of one ref; a sha of zeros means that the ref does not exist."""

    ref: str
    old_sha: str
    new_sha: str

    @property
    def is_delete(self) -> bool:
        """Whether the ref is to go."""
        return set(self.new_sha) == {"0"}

    @property
    def is_create(self) -> bool:
        """Whether the ref is new."""
        return set(self.old_sha) == {"0"}

    @property
    def short(self) -> str:
        """The ref as people call it."""
        return short_ref(self.ref)


def receive(
    ask: Ask,
    repo_id: int,
    sender: Sender,
    change: RefUpdate,
    plan: Plan | None,
    subject: str,
    *,
    is_without_schedules: bool = False,
) -> Push:
    """Record a push whose objects are in quarantine. Without a plan it may still say that its branch has no
    schedules; one that goes has none."""
    none: list[Json] | None = [] if is_without_schedules or change.is_delete else None
    values = {
        "repo_id": repo_id,
        "user_id": sender.user_id,
        "trigger": sender.trigger,
        "cause": sender.cause.row(),
        "ref": change.ref,
        "old_sha": change.old_sha,
        "new_sha": change.new_sha,
        "subject": subject,
        "state": "received",
        "plan": None if plan is None else plan.model_dump(),
        "schedules": none if plan is None else [each.model_dump() for each in plan.schedules],
        "created_at": time.time(),
    }
    push = Push(id=ask(_RECEIVE, **values)[0][0], **values)
    make_transient_to_detached(push)
    note_at_once(ask, "push", push.id, ("", "received"), push.ref)
    return push


def settle(ask: Ask, push: Push, state: str, reason: str = "") -> bool:
    """It is `applied` or `abandoned`; False: it was settled already."""
    if not ask(_SETTLE[state], push=push.id):
        return False
    set_committed_value(push, "state", state)
    note_at_once(ask, "push", push.id, ("received", state), reason)
    return True


async def apply(session: AsyncSession, push: Push) -> Run | None:
    """The ref has moved: queue what the push asks for. A second call changes nothing and returns None."""
    if not await _settle(session, push, "applied"):
        return None
    repo = await session.get_one(Repo, push.repo_id)
    is_first = not repo.default_branch and push.ref.startswith(BRANCHES) and set(push.new_sha) != {"0"}
    if is_first:  # the first one that is there, as everywhere
        repo.default_branch = push.ref.removeprefix(BRANCHES)
    await follow_push(session, repo, push)
    if push.plan is None:
        return None
    plan = Plan.model_validate(push.plan)
    if plan.supersedes:
        await supersede(session, push)
    if is_first:
        await propose(session, repo, push.user_id, plan)
    build = await build_for(session, push, plan, f"pushed again (push {push.id})")
    build.deleted_at = None  # what is pushed again is a function again
    if not plan.runs:
        return None
    sender = Sender(push.user_id, push.trigger, read_cause(push.cause))
    return await queue_run(session, build, plan, sender, push.id)


async def abandon(session: AsyncSession, push: Push, reason: str) -> None:
    """The ref did not move: nothing was stored."""
    await _settle(session, push, "abandoned", reason)


async def _settle(session: AsyncSession, push: Push, state: str, reason: str = "") -> bool:
    return await session.run_sync(lambda plain: settle(ask_in(plain), push, state, reason))


async def build_for(session: AsyncSession, push: Push, plan: Plan, why: str) -> Build:
    """The one build of this commit and these inputs; one that did not succeed is tried again."""
    same = select(Build).where(
        Build.repo_id == push.repo_id, Build.commit_sha == push.new_sha, Build.inputs == plan.build_inputs()
    )
    if (await session.scalars(same)).first() is None:
        await _new_build(session, push, plan)
    build = (await session.scalars(same.with_for_update())).one()
    if plan.caches and not build.plan.get("caches", True):  # it was a stranger's, and is ours now
        build.name, build.version, build.plan = plan.name, plan.version, plan.model_dump()
    if build.state is State.BUILT:
        if Data.IMAGES in await removals_of(session, (Data.IMAGES,), build.id):
            await rebuild(session, build)
    elif build.state in TERMINAL:
        values = {"faults": 0, "cancel_requested_at": None, "user_id": push.user_id}
        await move(session, build, Event.RETRY, why, **values)
    return build


async def _new_build(session: AsyncSession, push: Push, plan: Plan) -> None:
    """Insert it, unless another push of the same commit does so at this moment."""
    build = Build(
        repo_id=push.repo_id,
        user_id=push.user_id,
        commit_sha=push.new_sha,
        inputs=plan.build_inputs(),
        name=plan.name,
        version=plan.version,
        plan=plan.model_dump(),
        created_at=time.time(),
    )
    try:
        async with session.begin_nested():
            session.add(build)
    except IntegrityError:
        return
    note(session, "build", build.id, ("", State.QUEUED), "")
