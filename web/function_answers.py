"""The API's answers about functions, as models."""

from pydantic import BaseModel

from hermes.states import State


class LastRunAnswer(BaseModel):
    """The newest run of something."""

    id: int
    state: State
    reason: str
    created_at: float
    ended_at: float | None
    url: str


class GpuWantAnswer(BaseModel):
    """What each rank asks for; `count` 0: no GPU."""

    count: int
    memory_bytes: int
    capability: str
    model: str
    share: bool
    pool: str


class VersionOfFunction(BaseModel):
    """One build; `address` is what invokes exactly this one."""

    address: str
    name: str
    version: str
    repo: str
    commit: str
    build: int
    state: State
    language: str
    image: str
    public: bool
    gpu: GpuWantAnswer
    created_at: float
    runs: int
    last_run: LastRunAnswer | None
    url: str


class FunctionAnswer(BaseModel):
    """A built repository as something to invoke; `runs` and `last_run` are of all its versions."""

    name: str
    public: bool
    may_invoke: bool
    versions: int
    runs: int
    last_run: LastRunAnswer | None
    newest: VersionOfFunction
    url: str
    invoke_url: str


class FunctionPage(BaseModel):
    """Functions, the newest first; `next` is the address of the older ones."""

    functions: list[FunctionAnswer]
    next: str | None


class FunctionVersions(BaseModel):
    """The versions of a function, the newest first; `next` is the address of the older ones."""

    name: str
    public: bool
    may_invoke: bool
    versions: list[VersionOfFunction]
    next: str | None
    url: str
    invoke_url: str


class DeletedAnswer(BaseModel):
    """What is no function any more; its builds, runs, logs and artifacts stay."""

    name: str
    builds: list[int]
