"""What the server says of itself, its accounts and repositories, typed."""

from typing import TypedDict

from hermes.client.answers import Token


class TokenMade(Token):
    """A new one; `token` is the secret, which is said this once."""

    token: str


class Account(TypedDict):
    """A user, as admins see them."""

    name: str
    is_admin: bool
    created_at: float
    disabled_at: float | None
    repos: int
    last_run_at: float | None
    last_seen_at: float | None


class Repo(TypedDict):
    """A repository, and what you may do there."""

    id: int
    name: str
    public: bool
    default_branch: str
    protected: bool
    may_push: bool
    may_manage: bool
    created_at: float
    url: str
    clone_url: str
    ssh_url: str | None


class Upstream(TypedDict):
    """The repository elsewhere that one here follows; "" as an error: it goes well; "" as `ssh`: it is
    fetched over HTTPS."""

    repo: str
    kind: str
    name: str
    url: str
    hook_url: str
    has_token: bool
    reports: bool
    error: str
    report_error: str
    created_at: float
    delivered_at: float | None
    polled_at: float | None
    ssh: str
    public_key: str
    host_keys: list[str]


class Connected(Upstream):
    """What came of connecting it: `webhook` is `made`, `updated` or `by hand`; then `steps` say how. So is
    `deploy_key`; `host_key` is `published`, `first seen`, `known` or `confirmed`; both "" over HTTPS."""

    webhook: str
    lacks: list[str]
    steps: list[str]
    secret: str
    deploy_key: str
    host_key: str


class Limit(TypedDict):
    """`default` is what one gets who asks for nothing, `most` what may be asked for; None: no bound."""

    name: str
    words: str
    default: float | None
    most: float | None
    unit: str
    per: str
    setting: str | None


class Image(TypedDict):
    """What a manifest can name as `build.image`; the first one of a language is its default."""

    name: str
    reference: str
    languages: list[str]
    cuda: str
    summary: str


class Holder(TypedDict):
    """Who holds a GPU; `repo` is None where you may not see it."""

    run: int
    rank: int
    user: str
    repo: str | None
    since: float
    gpu_memory_bytes: int | None


class Quarantine(TypedDict):
    """Why a GPU is given to nobody."""

    reason: str
    since: float


class GpuUse(TypedDict):
    """A few seconds ago; None where its driver does not say."""

    percent: float | None
    memory_bytes: int | None
    power_w: float | None
    celsius: int | None
    mhz: int | None


class Gpu(TypedDict):
    """One GPU and who holds it."""

    uuid: str
    index: int
    model: str
    memory_bytes: int
    capability: str
    instance: int | None
    pool: str
    use: GpuUse | None
    held_by: Holder | None
    shared_by: list[Holder]
    quarantine: Quarantine | None


class Machine(TypedDict):
    """A runner: what it has, and what is held of it."""

    name: str
    executor: str
    alive: bool
    seen_at: float
    cpus: float
    cpus_held: float
    memory_bytes: int
    memory_held_bytes: int
    gpus: list[Gpu]


class Waiting(TypedDict):
    """A run in the queue."""

    run: int
    user: str
    repo: str | None
    wants: str
    why: str
    since: float


class Gpus(TypedDict):
    """All machines; `queue` is the head of what waits, `waiting` how many there are."""

    runners: list[Machine]
    queue: list[Waiting]
    waiting: int
