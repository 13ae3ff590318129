"""What decides about a schedule when it is due: whose it is, what it would run, whether it still runs.

Read by fixed statements: a thousand schedules may be due in the same second."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import String, bindparam, cast, select
from sqlalchemy.orm import aliased

from hermes.at_once import Ask, as_row
from hermes.columns import Base
from hermes.errors import Refused
from hermes.plan import Plan
from hermes.removals import Data, is_removed
from hermes.schedules import HEADS, Schedule
from hermes.states import TERMINAL, State
from hermes.tables import Build, Collaborator, Push, Repo, Run, User

_BUILD = Base.metadata.tables["build"]
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
    def page(self) -> str:
        """Where its schedules stand."""
        return f"/{self.name}#schedules"

    @property
    def why_not(self) -> str:
        """Why nobody runs it any more; "" mostly."""
        if self.disabled_at is not None:
            return f"the account of {self.user}, who pushed it, is disabled"
        may = self.is_admin or self.owner_id == self.user_id or self.role == "write"
        return "" if may else f"{self.user}, who pushed it, may not push to {self.name} any more"


class Newest(NamedTuple):
    """What is to run: of the newest push of the default branch that was to be built."""

    push_id: int
    sha: str
    plan: Plan


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
