"""The rows. Times are Unix seconds (UTC), sizes bytes; keys that make duplicates impossible are here."""

from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, Integer, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from hermes.columns import Base, Json
from hermes.credentials import SshKey as SshKey
from hermes.credentials import Token as Token
from hermes.invoked import STDIN as STDIN
from hermes.invoked import IdempotencyKey as IdempotencyKey
from hermes.invoked import Input as Input
from hermes.messages import NoticeAttempt as NoticeAttempt
from hermes.messages import Notification as Notification
from hermes.messages import Outbox as Outbox
from hermes.messages import WebhookDelivery as WebhookDelivery
from hermes.remains import Artifact as Artifact
from hermes.remains import GpuSample as GpuSample
from hermes.remains import Metric as Metric
from hermes.remains import Removal as Removal
from hermes.states import State
from hermes.uploaded import Upload as Upload
from hermes.uploaded import Watch as Watch
from hermes.watched import Counted as Counted
from hermes.watched import Process as Process

_CLAIMED = text("claimed_at IS NOT NULL")  # what waits costs this index nothing


class User(Base):
    """An account."""

    __tablename__ = "user"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    is_admin: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[float]
    disabled_at: Mapped[float | None]  # then nothing signs it in; what it has stays


class Repo(Base):
    """`owner/name`, a bare git repository."""

    __tablename__ = "repo"
    __table_args__ = (UniqueConstraint("owner_id", "name"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    name: Mapped[str]
    public: Mapped[bool] = mapped_column(default=False)
    default_branch: Mapped[str] = mapped_column(default="")  # "": nothing was pushed yet
    protected: Mapped[bool] = mapped_column(default=False)  # its default branch: no force, no delete
    created_at: Mapped[float]


class Collaborator(Base):
    """Who else may read (`read`) or push to (`write`) a repo."""

    __tablename__ = "collaborator"
    repo_id: Mapped[int] = mapped_column(ForeignKey("repo.id"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True)
    role: Mapped[str]


class Push(Base):
    """One accepted ref update: `received` until its ref moved, then `applied` (or `abandoned`)."""

    __tablename__ = "push"
    __table_args__ = (
        Index("push_repo", "repo_id", "id"),
        Index("push_ref", "repo_id", "ref", "id"),
        Index("push_commit", "repo_id", "new_sha"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    repo_id: Mapped[int] = mapped_column(ForeignKey("repo.id"))
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    trigger: Mapped[str] = mapped_column(default="push")
    cause: Mapped[Json] = mapped_column(JSON, default=dict)  # hermes.cause.Cause
    ref: Mapped[str]
    old_sha: Mapped[str]
    new_sha: Mapped[str]
    subject: Mapped[str] = mapped_column(default="")
    state: Mapped[str] = mapped_column(default="received", index=True)
    plan: Mapped[Json | None] = mapped_column(JSON)  # None: nothing is to be built
    schedules: Mapped[list[Json] | None] = mapped_column(
        JSON(none_as_null=True)
    )  # None: it says nothing of any
    created_at: Mapped[float]


class Work:
    """What builds and ranks share: a state, an attempt that fences every write, and a lease."""

    id: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[State] = mapped_column(default=State.QUEUED)
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    faults: Mapped[int] = mapped_column(Integer, default=0)
    lease_owner: Mapped[str | None]
    lease_until: Mapped[float | None]
    not_before: Mapped[float] = mapped_column(default=0.0)
    reason: Mapped[str] = mapped_column(default="")
    created_at: Mapped[float]
    claimed_at: Mapped[float | None]
    started_at: Mapped[float | None]
    ended_at: Mapped[float | None]


class Build(Work, Base):
    """A commit turned into an image: one per (repo, commit, build inputs)."""

    __tablename__ = "build"
    __table_args__ = (
        UniqueConstraint("repo_id", "commit_sha", "inputs"),
        Index("ix_build_state", "state"),
        Index("build_repo", "repo_id", "id"),
        Index("build_user", "user_id", "id"),
        Index("build_function", "repo_id", "name", "version", "state", "id"),
    )
    repo_id: Mapped[int] = mapped_column(ForeignKey("repo.id"))
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    commit_sha: Mapped[str]
    inputs: Mapped[str]  # digest of everything else that the image depends on
    name: Mapped[str] = mapped_column(default="")  # of the function, and its version: as the plan says
    version: Mapped[str] = mapped_column(default="")
    plan: Mapped[Json] = mapped_column(JSON)
    image_bytes: Mapped[int | None]
    cancel_requested_at: Mapped[float | None]
    deleted_at: Mapped[float | None]  # as a function: nobody can invoke it any more


class Run(Base):
    """One request to execute an image; its state follows from its ranks (`states.run_state`)."""

    __tablename__ = "run"
    __table_args__ = (
        UniqueConstraint("push_id"),
        Index("run_repo", "repo_id", "id"),
        Index("run_repo_state", "repo_id", "state", "id"),
        Index("run_build", "build_id", "id"),
        Index("run_user", "user_id", "id"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    repo_id: Mapped[int] = mapped_column(ForeignKey("repo.id"))
    build_id: Mapped[int] = mapped_column(ForeignKey("build.id"))
    push_id: Mapped[int | None] = mapped_column(ForeignKey("push.id"))
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    trigger: Mapped[str]
    cause: Mapped[Json] = mapped_column(JSON, default=dict)  # hermes.cause.Cause
    state: Mapped[State] = mapped_column(default=State.QUEUED, index=True)
    reason: Mapped[str] = mapped_column(default="")
    plan: Mapped[Json] = mapped_column(JSON)
    queue_key: Mapped[float]  # of its first rank (fairness.py)
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    ended_at: Mapped[float | None]
    cancel_requested_at: Mapped[float | None]
    cancelled_by: Mapped[str] = mapped_column(default="")
    callback_url: Mapped[str] = mapped_column(default="")  # gets the record when it ends
    kept_at: Mapped[float | None]  # since then retention leaves it alone
    kept_by: Mapped[str] = mapped_column(default="")


class Rank(Work, Base):
    """One of the N instances of a run."""

    __tablename__ = "rank"
    __table_args__ = (
        UniqueConstraint("run_id", "number"),
        Index("rank_position", "run_id", "position", unique=True),
        Index("rank_queue", "state", "queue_key", "id"),
        Index("rank_shape", "state", "shape"),
        Index("rank_claimed", "claimed_at", "ended_at", sqlite_where=_CLAIMED, postgresql_where=_CLAIMED),
    )
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"))
    number: Mapped[int] = mapped_column(Integer)  # what its program sees; some numbers may be left out
    position: Mapped[int] = mapped_column(Integer, default=lambda now: now.get_current_parameters()["number"])
    parameters: Mapped[Json] = mapped_column(JSON, default=dict)
    queue_key: Mapped[float]  # virtual time of its user (fairness.py): the smallest goes first
    shape: Mapped[str] = mapped_column(default="")  # what it asks for, a digest (Plan.shape)
    slot: Mapped[Json | None] = mapped_column(JSON)  # runner.slots.Slot, and {"runner"}
    gpu_count: Mapped[int] = mapped_column(Integer, default=0)  # in the slot
    failures: Mapped[int] = mapped_column(Integer, default=0)  # of its own, that were tried again
    exit_code: Mapped[int | None] = mapped_column(Integer)
    signal: Mapped[str] = mapped_column(default="")
    secrets: Mapped[list[str] | None] = mapped_column(JSON)  # the names of those that this attempt got
    progress: Mapped[float | None]
    progress_text: Mapped[str] = mapped_column(default="")
    summary: Mapped[Json | None] = mapped_column(JSON)  # {"wall_s", "cpu_s", "peak_memory_bytes", …}


class Event(Base):
    """What happened to a push, a build, a run or a rank. Append-only."""

    __tablename__ = "event"
    __table_args__ = (Index("event_subject", "kind", "subject_id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    subject_id: Mapped[int]
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    from_state: Mapped[str]
    to_state: Mapped[str]
    reason: Mapped[str] = mapped_column(default="")
    at: Mapped[float]


class Runner(Base):
    """A process that owns one machine's GPUs and CPUs, as it last described itself."""

    __tablename__ = "runner"
    name: Mapped[str] = mapped_column(primary_key=True)
    executor: Mapped[str]
    cpus: Mapped[float]
    memory_bytes: Mapped[int]
    gpus: Mapped[list[Any]] = mapped_column(JSON, default=list)
    quarantine: Mapped[Json] = mapped_column(JSON, default=dict)  # {UUID: {"reason", "since"}}
    uses: Mapped[Json] = mapped_column(JSON, default=dict)  # {UUID: runner.gpus.GpuUse} at `seen_at`
    bounds: Mapped[Json] = mapped_column(JSON, default=dict)  # hermes.waiting.Bounds
    seen_at: Mapped[float]
