"""What the server says, typed. A newer server may say more; it is handed on as it came."""

from typing import Any, TypedDict


class Times(TypedDict):
    """Unix seconds (UTC), and the same for people."""

    created_at: float
    started_at: float | None
    ended_at: float | None
    created: str
    started: str | None
    ended: str | None


class Removal(TypedDict):
    """What was removed to make room (`logs`, `artifacts`, `image` …), when, and why."""

    what: str
    at: float
    why: str


class Artifact(TypedDict):
    """A file that a rank wrote; with `removed_at`, only this is left of it."""

    path: str
    rank: int
    size_bytes: int
    sha256: str
    removed_at: float | None
    url: str


class Metric(TypedDict):
    """The last value of a name that a rank printed."""

    rank: int
    name: str
    value: float
    unit: str
    at: float


class Rank(Times):
    """One instance of a run."""

    number: int
    state: str
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


class Run(Times):
    """One request to execute an image; `exit_code` is that of the first rank that failed, else of rank 0."""

    id: int
    state: str
    reason: str
    words: str
    trigger: str
    why: str
    why_url: str
    repo: str
    commit: str
    build: int
    user: str
    exit_code: int | None
    signal: str
    summary: dict[str, Any]
    rank_count: int
    world_size: int
    ranks: list[Rank]
    metrics: list[Metric]
    artifacts: list[Artifact]
    removed: list[Removal]
    kept_at: float | None
    kept_by: str
    url: str
    log_url: str
    events_url: str


class Build(Times):
    """A commit turned into an image."""

    id: int
    state: str
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
    removed: list[Removal]
    url: str
    log_url: str
    events_url: str


class Token(TypedDict):
    """The secret that a request came with; never the secret itself."""

    id: int
    name: str
    scope: str
    repo: str | None
    created_at: float
    expires_at: float | None
    last_used_at: float | None


class User(TypedDict):
    """Who the token acts for."""

    name: str
    is_admin: bool
    token: Token


class Version(TypedDict):
    """Which program answers, and which API it has."""

    version: str
    api: int


class LastRun(TypedDict):
    """The newest run of something."""

    id: int
    state: str
    reason: str
    created_at: float
    ended_at: float | None
    url: str


class GpuWant(TypedDict):
    """What each rank asks for; `count` 0: no GPU."""

    count: int
    memory_bytes: int
    capability: str
    model: str
    share: bool
    pool: str


class FunctionVersion(TypedDict):
    """One build; `address` is what invokes exactly this one."""

    address: str
    name: str
    version: str
    repo: str
    commit: str
    build: int
    state: str
    language: str
    image: str
    public: bool
    gpu: GpuWant
    created_at: float
    runs: int
    last_run: LastRun | None
    url: str


class Function(TypedDict):
    """A built repo as something to invoke; `runs` and `last_run` are of all its versions."""

    name: str
    public: bool
    may_invoke: bool
    versions: int
    runs: int
    last_run: LastRun | None
    newest: FunctionVersion
    url: str
    invoke_url: str


class Versions(TypedDict):
    """The versions of a function, the newest first."""

    name: str
    public: bool
    may_invoke: bool
    versions: list[FunctionVersion]
    next: str | None
    url: str
    invoke_url: str


class Deleted(TypedDict):
    """What is no function any more; its builds, runs, logs and artifacts stay."""

    name: str
    builds: list[int]
