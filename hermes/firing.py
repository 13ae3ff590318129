"""What comes of a schedule that is due: a run, once, or words why not.

Fixed statements, many schedules in one transaction: a thousand may be due in the same second."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from zoneinfo import ZoneInfoNotFoundError

from sqlalchemy import String, bindparam, cast, select, update
from sqlalchemy.orm import aliased

from hermes.at_once import Ask, as_row
from hermes.audit import Actor, write_down_at_once
from hermes.cause import Cause, Sender
from hermes.columns import Base
from hermes.cron import NotCron, next_time, show_time
from hermes.errors import Refused
from hermes.fairness import check_room
from hermes.faultpoint import faultpoint
from hermes.journal import log
from hermes.plan import Plan
from hermes.queueing import queue
from hermes.removals import Data, is_removed
from hermes.schedules import HEADS, Schedule
from hermes.settings import Settings
from hermes.states import TERMINAL, State
from hermes.tables import Build, Collaborator, Push, Repo, Run, User
from hermes.trust import check_trusted_at_once

TRIGGER = "schedule"
MOST_COUNTED = 1000  # of those that were missed
_TABLE, _BUILD = Base.metadata.tables["schedule"], Base.metadata.tables["build"]
_OWNER = aliased(User)
_ROLE = (
    select(Collaborator.role)
    .where(Collaborator.repo_id == Schedule.repo_id, Collaborator.user_id == Schedule.user_id)
    .scalar_subquery()
)
_KNOW = (
    select(
        Schedule.id, Schedule.repo_id, Schedule.cron, Schedule.timezone, Schedule.overlap, Schedule.args,
        Schedule.next_at, Schedule.paused_at, Schedule.last_run_id, Schedule.user_id, User.name,
        User.disabled_at, User.is_admin, Repo.owner_id, _OWNER.name, Repo.name, Repo.default_branch, _ROLE,
    )
    .join(User, User.id == Schedule.user_id)
    .join(Repo, Repo.id == Schedule.repo_id)
    .join(_OWNER, _OWNER.id == Repo.owner_id)
    .where(Schedule.id == bindparam("row"))
)  # fmt: skip
_THIS = _TABLE.c.id == bindparam("row")
_CLAIM = (
    update(_TABLE)
    .where(_THIS, _TABLE.c.next_at == bindparam("due"), _TABLE.c.paused_at.is_(None))
    .values(next_at=bindparam("following"), last_at=bindparam("due"), outcome=bindparam("words"))
    .returning(_TABLE.c.id)
)
_SAY = update(_TABLE).where(_THIS).values(outcome=bindparam("words"))
_RAN = update(_TABLE).where(_THIS).values(last_run_id=bindparam("run"))
_PAUSE = (
    update(_TABLE)
    .where(_THIS)
    .values(paused_at=bindparam("now"), paused_by="", paused_why=bindparam("words"))
)
_NEWEST = (
    select(Push.id, Push.new_sha, Push.plan)
    .where(Push.repo_id == bindparam("repo"), Push.ref == bindparam("branch"), Push.state == "applied")
    .where(cast(Push.plan, String) != "null")  # as JSON says that there is none
    .order_by(Push.id.desc())
    .limit(1)
)
_OF_COMMIT = (_BUILD.c.repo_id == bindparam("repo"), _BUILD.c.commit_sha == bindparam("sha"))
_BUILT = select(_BUILD).where(*_OF_COMMIT, _BUILD.c.inputs == bindparam("digest"))
_HAS_NO_IMAGE = select(Build.id).where(Build.id == bindparam("build"), is_removed(Data.IMAGES, Build.id))
_RUN = select(Run.state, Run.cancel_requested_at).where(Run.id == bindparam("run"))


class Known(NamedTuple):
    """A schedule with what decides about it."""

    id: int
    repo_id: int
    cron: str
    timezone: str
    overlap: str
    args: list[str] | None
    next_at: float
    paused_at: float | None
    last_run_id: int | None
    user_id: int
    user: str
    disabled_at: float | None
    is_admin: bool
    owner_id: int
    owner: str
    repo: str
    branch: str
    role: str | None

    @property
    def name(self) -> str:
        """Of the repository."""
        return f"{self.owner}/{self.repo}"

    @property
    def why_not(self) -> str:
        """Why nobody runs it any more; "" mostly."""
        if self.disabled_at is not None:
            return f"the account of {self.user}, who pushed it, is disabled"
        may = self.is_admin or self.owner_id == self.user_id or self.role == "write"
        return "" if may else f"{self.user}, who pushed it, may not push to {self.name} any more"


class Due(NamedTuple):
    """A schedule, and when it is."""

    id: int
    at: float


class Newest(NamedTuple):
    """What is to run: of the newest push of the default branch that was to be built."""

    push_id: int
    sha: str
    plan: Plan


@dataclass(frozen=True)
class Fired:
    """What came of it. `is_later`: nothing was written, first its build is to be made or a run to be ended."""

    run_id: int = 0
    is_later: bool = False


class _Able(NamedTuple):
    """What can be run now, or words why nothing is."""

    build: Build | None = None
    plan: Plan | None = None
    words: str = ""
    is_later: bool = False


def know(ask: Ask, schedule_id: int) -> Known | None:
    """As it is now."""
    found = ask(_KNOW, row=schedule_id)
    return Known(*found[0]) if found else None


def newest(ask: Ask, known: Known) -> Newest:
    """Raises Refused where nothing was ever pushed to be built."""
    found = ask(_NEWEST, repo=known.repo_id, branch=HEADS + known.branch)
    if not found:
        raise Refused(f"nothing of {known.branch} was pushed to be built", "push a commit to it")
    push_id, sha, plan = found[0]
    args = {} if known.args is None else {"args": known.args}
    return Newest(push_id, sha, Plan.model_validate(plan).model_copy(update={"runs": True, **args}))


def usable(ask: Ask, known: Known, what: Newest) -> Build | None:
    """The build of that, if it has an image or will have one."""
    found = ask(_BUILT, repo=known.repo_id, sha=what.sha, digest=what.plan.build_inputs())
    build = as_row(Build, found[0]) if found else None
    if build is None or build.state not in (State.BUILT, State.QUEUED, State.BUILDING):
        return None
    return None if ask(_HAS_NO_IMAGE, build=build.id) else build


def earlier(ask: Ask, known: Known) -> int | None:
    """Its run before, if that has not ended and nobody has asked for its end."""
    found: Sequence[Any] = ask(_RUN, run=known.last_run_id) if known.last_run_id else ()
    goes_on = bool(found) and found[0][0] not in TERMINAL and found[0][1] is None
    return known.last_run_id if goes_on else None


def start(ask: Ask, settings: Settings, known: Known, build: Build, plan: Plan, sender: Sender) -> int:
    """Its run is queued. Raises Refused."""
    check_trusted_at_once(ask, settings, sender.user_id)
    check_room(ask, settings, sender.user_id, len(plan.ranks), "this run")
    run_id = queue(ask, build, plan, sender)
    ask(_RAN, row=known.id, run=run_id)
    return run_id


def fire(ask: Ask, settings: Settings, due: Due, now: float) -> Fired:
    """Claim what is due, and do it. Whoever comes second to the same tick finds nothing to do."""
    known = know(ask, due.id)
    if known is None or known.paused_at is not None or known.next_at != due.at:
        return Fired()
    if known.why_not:
        return _pause(ask, known, known.why_not)
    try:
        following, missed = _following(known, now)
    except (
        NotCron,
        ZoneInfoNotFoundError,
    ) as error:  # of another version of us, of a machine with fewer zones
        return _pause(ask, known, f"it cannot be read here: {error}")
    able = _look(ask, known)
    if able.is_later:
        return Fired(is_later=True)
    if not ask(_CLAIM, row=known.id, due=due.at, following=following, words=able.words):
        return Fired()
    faultpoint("schedule.claimed")
    if able.build is None or able.plan is None:
        log.info("schedule skipped", id=known.id, repo=known.name, reason=able.words)
        return Fired()
    sender = Sender(known.user_id, TRIGGER, _cause(known, missed, now))
    try:
        return Fired(start(ask, settings, known, able.build, able.plan, sender))
    except Refused as error:
        ask(_SAY, row=known.id, words=sentence(error))
        log.info("schedule refused", id=known.id, repo=known.name, reason=str(error))
        return Fired()


def _look(ask: Ask, known: Known) -> _Able:
    """What it would run now."""
    before = earlier(ask, known)
    if before and known.overlap == "skip":
        return _Able(words=f"skipped: run {before} has not ended")
    try:
        what = newest(ask, known)
    except Refused as error:
        return _Able(words=sentence(error))
    build = usable(ask, known, what)
    return _Able(build, what.plan, is_later=build is None or bool(before and known.overlap == "cancel"))


def _following(known: Known, now: float) -> tuple[float, int]:
    """When it is due after now; and how many times it was since, besides this one."""
    following, missed = next_time(known.cron, known.timezone, now), 0
    at = known.next_at
    while missed < MOST_COUNTED and (at := next_time(known.cron, known.timezone, at)) <= now:
        missed += 1
    return following, missed


def _cause(known: Known, missed: int, now: float) -> Cause:
    words = f"schedule {known.cron}, due {show_time(known.next_at, known.timezone, now)}"
    if missed:
        words += f", {'at least ' * (missed >= MOST_COUNTED)}{missed} more missed"
    return Cause(words, f"/{known.name}#schedules")


def _pause(ask: Ask, known: Known, why: str) -> Fired:
    ask(_PAUSE, row=known.id, now=time.time(), words=why)
    write_down_at_once(ask, Actor("", TRIGGER), "schedule paused", known.name, f"{known.cron}: {why}")
    log.warning("schedule paused", id=known.id, repo=known.name, reason=why)
    return Fired()


def sentence(error: Refused) -> str:
    """Why not, and the next step."""
    return f"{error} ({error.hint})" if error.hint else str(error)
