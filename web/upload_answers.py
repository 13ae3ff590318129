"""The API's answers about uploads, as models."""

from pydantic import BaseModel


class UploadAnswer(BaseModel):
    """A file that was uploaded to a function, and its run. `state`: `receiving` while it comes in parts (of
    `size_bytes`, `received_bytes` are here), then that of its run. `version`: what of the function has
    started, `latest` or as it was asked for."""

    id: int
    name: str
    function: str
    version: str
    state: str
    reason: str
    size_bytes: int
    received_bytes: int
    sha256: str
    user: str
    run: int | None
    artifacts: int
    created_at: float
    ended_at: float | None
    url: str
    run_url: str
    outbox_url: str


class UploadPage(BaseModel):
    """Uploads, the newest first; `next` is the address of the older ones. `patterns`: `on.upload` of what an
    upload starts now; none: it takes none."""

    function: str
    patterns: list[str]
    uploads: list[UploadAnswer]
    next: str | None


class OutputAnswer(BaseModel):
    """A file that came of an upload; with several ranks it lies below `rank-N/`."""

    path: str
    size_bytes: int
    sha256: str
    url: str


class OutboxPage(BaseModel):
    """What lies at a path of an outbox: uploads whose names begin with it (the newest of each name), or of
    one upload what came of it. `next` is the address of the following ones."""

    path: str
    uploads: list[UploadAnswer]
    outputs: list[OutputAnswer]
    next: str | None
