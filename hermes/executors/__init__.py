"""How a build or a rank is started: in a container of an engine, or as processes of this machine.

Both sides that start things, the builder and the runner, need the same hardened box, so it lies here and
not in either of them: two copies of the flags that keep strangers in would drift apart."""

import hashlib
from pathlib import Path

from hermes.errors import Unavailable
from hermes.executors.base import Executor
from hermes.executors.container import Ground
from hermes.executors.docker import DockerExecutor
from hermes.executors.local import LocalExecutor
from hermes.paths import Paths
from hermes.settings import Settings

LOCAL_WARNING = (
    "THE LOCAL EXECUTOR IS IN USE: what people push runs as processes of this machine, so only people "
    "whom you trust with it may push to it (HERMES_TRUST); install Docker for a fence"
)


def instance_label(settings: Settings) -> str:
    """What marks the boxes of this instance apart from others on the same engine."""
    return hashlib.sha256(str(settings.data.absolute()).encode()).hexdigest()[:12]


async def choose_executor(settings: Settings, keeper: Path | None = None) -> tuple[Executor, str]:
    """The executor of the settings, checked, and a line about it; `keeper` as for DockerExecutor.

    Raises Unavailable with the next step."""
    boxes = Paths(settings.data).boxes
    boxes.mkdir(parents=True, exist_ok=True)
    local = LocalExecutor(boxes, hidden=settings.data)
    if settings.executor == "local":
        return local, await local.check()
    ground = Ground(
        settings.network,
        settings.runtime,
        settings.packages_network,
        settings.dockerfiles == "on",
        settings.dockerfiles_network,
    )
    engine = DockerExecutor(boxes, instance_label(settings), ground, keeper)
    try:
        return engine, await engine.check()
    except Unavailable as error:
        if settings.executor == "docker" or settings.runtime or settings.network != "none":
            raise
        return local, f"{await local.check()} ({error})"
