"""The API's answers, as models: what a field is called here is what programs may count on."""

from typing import Any

from pydantic import BaseModel

from hermes.states import State


class VisibilityAnswer(BaseModel):
    """Who may read a repository; `shows` is what everybody sees when it is public."""

    repo: str
    public: bool
    shows: dict[str, int]


class ErrorBody(BaseModel):
    """Why a request was not done, and the next step."""

    code: str
    message: str
    hint: str


class ErrorAnswer(BaseModel):
    """Every error has this shape."""

    error: ErrorBody


class Times(BaseModel):
    """Unix seconds (UTC), and the same for people."""

    created_at: float
    started_at: float | None
    ended_at: float | None
    created: str
    started: str | None
    ended: str | None


class RemovalAnswer(BaseModel):
    """What of it was removed to make room (`logs`, `artifacts`, `image` …), when (Unix seconds), and why."""

    what: str
    at: float
    why: str


class ArtifactAnswer(BaseModel):
    """A file that a rank wrote; with `removed_at`, only this is left of it."""

    path: str
    rank: int
    size_bytes: int
    sha256: str
    removed_at: float | None
    url: str


class ArtifactPage(BaseModel):
    """Files of a run; `next` is the address of the following ones."""

    artifacts: list[ArtifactAnswer]
    next: str | None


class MetricAnswer(BaseModel):
    """The last value of a name that a rank printed."""

    rank: int
    name: str
    value: float
    unit: str
    at: float


class RankAnswer(Times):
    """One instance of a run."""

    number: int
    state: State
    reason: str
    attempt: int
    exit_code: int | None
    signal: str
    progress: float | None
    progress_text: str
    parameters: dict[str, Any]
    slot: dict[str, Any] | None
    summary: dict[str, Any] | None
    log_url: str


class RunAnswer(Times):
    """One request to execute an image; `exit_code` is that of the first rank that failed, else of the first.

    In lists: its first 200 ranks of `rank_count`, its first 200 artifacts, metrics of its first rank."""

    id: int
    state: State
    reason: str
    words: str
    trigger: str
    why: str  # in words
    why_url: str  # where that can be looked at, or nothing
    repo: str
    commit: str
    build: int
    user: str
    exit_code: int | None
    signal: str
    summary: dict[str, Any]
    rank_count: int
    world_size: int  # as the ranks are told: more than there are when only some of them run again
    ranks: list[RankAnswer]
    metrics: list[MetricAnswer]
    artifacts: list[ArtifactAnswer]
    removed: list[RemovalAnswer]
    kept_at: float | None  # since then retention leaves it alone
    kept_by: str
    url: str
    log_url: str
    events_url: str


class BuildAnswer(Times):
    """A commit turned into an image."""

    id: int
    state: State
    reason: str
    words: str
    repo: str
    commit: str
    name: str
    version: str
    image: str
    image_bytes: int | None
    attempt: int
    user: str
    removed: list[RemovalAnswer]
    url: str
    log_url: str
    events_url: str


class PushAnswer(BaseModel):
    """One accepted ref update that brought a commit."""

    id: int
    ref: str
    old_sha: str
    new_sha: str
    user: str
    trigger: str
    why: str  # in words
    why_url: str  # where that can be looked at, or nothing
    created_at: float
    created: str


class CommitAnswer(BaseModel):
    """What was pushed and what came of it; `state` is that of the newest run, else of the newest build."""

    sha: str
    repo: str
    subject: str
    state: State | None
    pushes: list[PushAnswer]
    builds: list[BuildAnswer]
    runs: list[RunAnswer]
    url: str


class RunPage(BaseModel):
    """Runs, newest first; `next` is the address of the older ones."""

    runs: list[RunAnswer]
    next: str | None
