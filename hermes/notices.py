"""What is told of the end of a run, and to whom: decided in the transaction that ends it (docs/triggers.md).

The *series* of a branch are its runs that were pushed, fetched from elsewhere or scheduled, by number; and of
runs again those with the build and the values of the newest of these. Cancelled ones do not count. A run that
ends badly is `broke` when the one before it in the series that has ended was good, or there is none; a good
one is `fixed` when that was bad. A run that ends after a later one of its series has changed nothing."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes import outbox
from hermes.branch_patterns import is_among
from hermes.states import TERMINAL, State
from hermes.tables import Build, Notification, Push, Repo, Run

TOPIC = "notice"
BROKE, FIXED, FAILED, SUCCEEDED, CANCELLED = "broke", "fixed", "failed", "succeeded", "cancelled"
#: What is told of, by the policy of a notification.
EVENTS: dict[str, frozenset[str]] = {
    "changes": frozenset({BROKE, FIXED}),
    "failures": frozenset({BROKE, FIXED, FAILED}),
    "all": frozenset({BROKE, FIXED, FAILED, SUCCEEDED, CANCELLED}),
}
_COUNTED, _AGAIN = ("push", "webhook", "schedule"), "retry"
_LOOKED_AT = 200  # runs of a repository, for those of one branch
_MOST_PUSHES = 50  # of one commit
_OF_RANKS = ("ranks", "numbers", "of_world")  # of a plan: what differs when only some ranks run again


class Seen(NamedTuple):
    """A run, as far as its series needs it."""

    id: int
    state: State
    trigger: str
    build_id: int


def lane_of(notification_id: int) -> str:
    """In the outbox."""
    return f"notification {notification_id}"


async def tell(session: AsyncSession, run: Run) -> None:
    """A run has ended, in this transaction: what is to be said of it goes into the outbox."""
    listeners = await _listeners(session, run)
    if not listeners:
        return
    branch = await branch_of(session, run.repo_id, run.push_id, run.build_id)
    event, before = await _event(session, run, branch)
    for each, default_branch in listeners:
        if event in EVENTS[each.events] and _is_for(each, branch, default_branch):
            about = {"notification": each.id, "run": run.id, "event": event, "branch": branch}
            key = f"{TOPIC}-{each.id}-run-{run.id}"
            outbox.put(session, TOPIC, key, about | {"previous": before}, lane_of(each.id))


async def _listeners(session: AsyncSession, run: Run) -> Sequence[tuple[Notification, str]]:
    """With the default branch of the repository."""
    own = and_(Notification.repo_id.is_(None), Notification.user_id == run.user_id)
    rows = await session.execute(
        select(Notification, Repo.default_branch)
        .join(Repo, Repo.id == run.repo_id)
        .where(or_(Notification.repo_id == run.repo_id, own), Notification.paused_at.is_(None))
        .order_by(Notification.id)
    )
    return [(each, branch) for each, branch in rows.all()]


def _is_for(notification: Notification, branch: str, default_branch: str) -> bool:
    if notification.branches:
        return is_among(branch, notification.branches)
    return notification.repo_id is None or branch == default_branch


def _short(ref: str) -> str:
    """`main`, `tags/v1`."""
    return ref.removeprefix("refs/heads/").removeprefix("refs/")


async def branch_of(session: AsyncSession, repo_id: int, push_id: int | None, build_id: int) -> str:
    """That of its push. Of a run without one: where its commit was pushed, the default branch before others,
    then the newest push; "" if nowhere."""
    if push_id is not None:
        return _short(await session.scalar(select(Push.ref).where(Push.id == push_id)) or "")
    rows = await session.execute(
        select(Push.ref, Repo.default_branch)
        .join(Build, and_(Build.id == build_id, Push.new_sha == Build.commit_sha))
        .join(Repo, Repo.id == Push.repo_id)
        .where(Push.repo_id == repo_id, Push.state == "applied")
        .order_by(Push.id.desc())
        .limit(_MOST_PUSHES)
    )
    found = [(_short(ref), default_branch) for ref, default_branch in rows.all()]
    return next((branch for branch, default in found if branch == default), found[0][0] if found else "")


async def _event(session: AsyncSession, run: Run, branch: str) -> tuple[str, int | None]:
    """And the number of the run that it is compared with."""
    plain = SUCCEEDED if run.state is State.SUCCEEDED else FAILED
    if run.state is State.CANCELLED:
        return CANCELLED, None
    if run.trigger not in (*_COUNTED, _AGAIN):
        return plain, None
    series = await _series(session, run, branch)
    ended = [each for each in series if each.state in TERMINAL and each.state is not State.CANCELLED]
    if run.id not in [each.id for each in series] or any(each.id > run.id for each in ended):
        return plain, None
    before = next((each for each in ended if each.id < run.id), None)
    was_good = before is None or before.state is State.SUCCEEDED
    event = plain if (plain == SUCCEEDED) == was_good else FIXED if plain == SUCCEEDED else BROKE
    return event, None if before is None else before.id


async def _series(session: AsyncSession, run: Run, branch: str) -> list[Seen]:
    """Runs of this branch that count, the newest first, whatever their state."""
    rows = await session.execute(
        select(Run.id, Run.state, Run.trigger, Run.build_id, Run.push_id, Push.ref)
        .outerjoin(Push, Push.id == Run.push_id)
        .where(Run.repo_id == run.repo_id, Run.trigger.in_((*_COUNTED, _AGAIN)))
        .where(or_(Push.id.is_(None), Push.ref.in_((f"refs/heads/{branch}", f"refs/{branch}"))))
        .order_by(Run.id.desc())
        .limit(_LOOKED_AT)
    )
    found, of_builds = [], dict[int, str]()
    for *values, push_id, ref in rows.all():
        seen = Seen._make(values)
        if push_id is None and seen.build_id not in of_builds:
            of_builds[seen.build_id] = await branch_of(session, run.repo_id, None, seen.build_id)
        if branch == (of_builds[seen.build_id] if push_id is None else _short(ref)):
            found.append(seen)
    return [
        each
        for at, each in enumerate(found)
        if each.trigger != _AGAIN or await _is_same_again(session, each, found[at + 1 :])
    ]


async def _is_same_again(session: AsyncSession, run: Seen, before: Sequence[Seen]) -> bool:
    """Whether it repeats the newest run of the branch that was no repetition, or some of its ranks."""
    first = next((each for each in before if each.trigger != _AGAIN), None)
    if first is None or first.build_id != run.build_id:
        return False
    plans = dict(
        (await session.execute(select(Run.id, Run.plan).where(Run.id.in_((run.id, first.id))))).all()
    )
    mine, its = plans[run.id], plans[first.id]
    return _without_ranks(mine) == _without_ranks(its) and (
        bool(mine.get("numbers")) or mine.get("ranks") == its.get("ranks")
    )


def _without_ranks(plan: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in plan.items() if key not in _OF_RANKS}
