"""What a repository that is followed has told us, or was found there by polling, and what became of it.

An arrival says "look at this ref": what is fetched is what the ref is there when somebody looks, so that two
of them, late ones and replayed ones do no harm. Only a pull request's says which commit, and no other is
taken."""

import time
from collections.abc import Collection, Sequence

from sqlalchemy import JSON, ForeignKey, Index, Integer, delete, func, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from hermes.columns import Base, Json
from hermes.refs import FOLLOWED, PULLS, TAGS

ARRIVALS = "arrival"  # a topic of the doorbell
#: States, in words for pages. What waits, waits for its turn or for its next try.
STATES = {
    "held": "waits for a collaborator",
    "waiting": "waits",
    "taken": "taken",
    "unchanged": "nothing new",
    "refused": "refused",
    "failed": "given up",
}
OVER = ("taken", "unchanged", "refused", "failed")
#: How long after each try that failed the next one follows; then it is given up, and polling finds it again.
WAITS_S = (5.0, 30.0, 120.0, 600.0, 1800.0, 7200.0)
_MOST_REASON = 300


class Arrival(Base):
    """One ref to look at."""

    __tablename__ = "arrival"
    __table_args__ = (Index("arrival_due", "state", "next_at"), Index("arrival_repo", "repo_id", "id"))
    id: Mapped[int] = mapped_column(primary_key=True)
    repo_id: Mapped[int] = mapped_column(ForeignKey("repo.id"))
    source: Mapped[str]  # webhook, poll, asked
    event: Mapped[str] = mapped_column(default="")  # of a webhook, as the forge calls it
    ref: Mapped[str]  # here; "": all branches
    sha: Mapped[str] = mapped_column(default="")  # what it is there, as we were told
    pull_request: Mapped[int | None] = mapped_column(Integer)
    sender: Mapped[str] = mapped_column(default="")  # who did it there
    cause: Mapped[Json] = mapped_column(JSON, default=dict)  # hermes.cause.Cause
    state: Mapped[str] = mapped_column(default="waiting")  # of STATES
    reason: Mapped[str] = mapped_column(default="")  # why it is not taken (yet)
    tries: Mapped[int] = mapped_column(Integer, default=0)
    next_at: Mapped[float] = mapped_column(default=0.0)  # not before; also the lease of a try
    push_id: Mapped[int | None] = mapped_column(ForeignKey("push.id"))  # what it became
    told_at: Mapped[float | None]  # when it happened, by the forge's clock
    created_at: Mapped[float]
    ended_at: Mapped[float | None]

    @property
    def is_exact(self) -> bool:
        """Whether `sha` is the only commit that may be taken: somebody has looked at that one."""
        return self.ref.startswith(PULLS)

    @property
    def is_followed_only(self) -> bool:
        """Whether its ref is of a kind that nobody pushes to."""
        return self.ref.startswith(FOLLOWED)


class UpstreamHeads(Base):
    """The branches and tags of a repository that is followed, as they were when they were last seen there."""

    __tablename__ = "upstream_heads"
    repo_id: Mapped[int] = mapped_column(ForeignKey("repo.id"), primary_key=True)
    heads: Mapped[Json] = mapped_column(JSON)  # {ref: commit}
    tags: Mapped[Json | None] = mapped_column(JSON(none_as_null=True))  # alike; None: not looked at yet

    def keep(self, refs: Json) -> None:
        """As they are there now. What is as it was is not written again."""
        tags = {ref: sha for ref, sha in refs.items() if ref.startswith(TAGS)}
        heads = {ref: sha for ref, sha in refs.items() if ref not in tags}
        if self.heads != heads:
            self.heads = heads
        if self.tags != tags:
            self.tags = tags


def put(session: AsyncSession, arrival: Arrival) -> None:
    """With what else this transaction writes; it is due now."""
    arrival.created_at = arrival.next_at = time.time()
    if arrival.state in OVER:
        arrival.ended_at = arrival.created_at
    session.add(arrival)


async def waiting(session: AsyncSession, busy: Collection[int], most: int) -> Sequence[Arrival]:
    """Those whose time has come: of each repository that is not `busy` the oldest."""
    due = (Arrival.state == "waiting", Arrival.next_at <= time.time(), Arrival.repo_id.not_in(busy))
    first = select(func.min(Arrival.id)).where(*due).group_by(Arrival.repo_id)
    found = select(Arrival).where(Arrival.id.in_(first)).order_by(Arrival.id).limit(most)
    return (await session.scalars(found)).all()


async def claim(session: AsyncSession, arrival: Arrival, lease_s: float) -> bool:
    """For the caller alone. False: somebody was faster."""
    same = (Arrival.id == arrival.id, Arrival.state == "waiting", Arrival.next_at == arrival.next_at)
    taken = await session.execute(update(Arrival).where(*same).values(next_at=time.time() + lease_s))
    assert isinstance(taken, CursorResult)
    return bool(taken.rowcount)


async def resume(session: AsyncSession) -> None:
    """Their one worker begins: whoever was at them before is gone."""
    await session.execute(update(Arrival).where(Arrival.state == "waiting").values(next_at=time.time()))


async def end_alike(session: AsyncSession, arrival: Arrival, before: float) -> None:
    """Others that asked for the same look before it began have had it, too."""
    same = (Arrival.repo_id == arrival.repo_id, Arrival.ref == arrival.ref, Arrival.state == "waiting")
    if not arrival.is_exact:
        values = {"state": "unchanged", "reason": f"seen with arrival {arrival.id}", "ended_at": time.time()}
        alike = update(Arrival).where(*same, Arrival.id != arrival.id, Arrival.created_at < before)
        await session.execute(alike.values(**values))


def release(arrival: Arrival, by: str) -> None:
    """It was held until somebody has said so."""
    arrival.state, arrival.reason, arrival.next_at = "waiting", f"let run by {by}"[:100], time.time()


def note(arrival: Arrival, reason: str) -> None:
    """What is known of why it waits."""
    arrival.reason = reason[:_MOST_REASON]


def end(arrival: Arrival, state: str, reason: str = "", push_id: int | None = None) -> None:
    """It is over."""
    arrival.state, arrival.reason, arrival.ended_at = state, reason[:_MOST_REASON], time.time()
    arrival.push_id = push_id


def try_again(arrival: Arrival, reason: str) -> None:
    """Something that passes was in the way; after many times it is given up."""
    if arrival.tries >= len(WAITS_S):
        end(arrival, "failed", reason)
        return
    arrival.next_at, arrival.reason = time.time() + WAITS_S[arrival.tries], reason[:_MOST_REASON]
    arrival.tries += 1


async def seen(session: AsyncSession, repo_id: int, ref: str, sha: str) -> None:
    """A branch or a tag was looked at there; "": it is gone. Polling goes on from that."""
    row = await session.get(UpstreamHeads, repo_id)
    if row is None:
        return
    if not ref.startswith(TAGS):
        row.heads = _with(row.heads, ref, sha)
    elif row.tags is not None:
        row.tags = _with(row.tags, ref, sha)


def _with(refs: Json, ref: str, sha: str) -> Json:
    return {each: known for each, known in {**refs, ref: sha}.items() if known}


async def forget(session: AsyncSession, repo_id: int) -> None:
    """What was seen there says nothing of another repository there."""
    await session.execute(delete(UpstreamHeads).where(UpstreamHeads.repo_id == repo_id))


async def recent(session: AsyncSession, repo_id: int, most: int) -> Sequence[Arrival]:
    """Of one repository, the newest first."""
    found = select(Arrival).where(Arrival.repo_id == repo_id).order_by(Arrival.id.desc()).limit(most)
    return (await session.scalars(found)).all()


async def held(session: AsyncSession, repo_id: int, pull_request: int) -> Sequence[Arrival]:
    """The commits of a pull request that wait for a collaborator, the newest first."""
    mine = (Arrival.repo_id == repo_id, Arrival.pull_request == pull_request, Arrival.state == "held")
    return (await session.scalars(select(Arrival).where(*mine).order_by(Arrival.id.desc()))).all()
