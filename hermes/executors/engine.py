"""The client of a Docker engine: where it is, and its errors in words that say what to do."""

from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError
from docker.utils import kwargs_from_env

_SYSTEM_SOCKET = Path("/var/run/docker.sock")
_OUR_SOCKET = Path("/var/tmp/hermes-docker/docker.sock")


def connect(deadline_s: float) -> Any:
    """A client; nothing is asked of the engine yet but its version."""
    return docker.APIClient(version="auto", timeout=int(deadline_s), num_pools=64, **_where())


def _where() -> dict[str, Any]:
    """The engine of DOCKER_HOST, of the system, or the one that scripts/ensure-docker starts."""
    kwargs: dict[str, Any] = {**kwargs_from_env()}
    if "base_url" not in kwargs and not _SYSTEM_SOCKET.exists() and _OUR_SOCKET.exists():
        kwargs["base_url"] = f"unix://{_OUR_SOCKET}"
    return kwargs


def in_words(error: Exception) -> str:
    """One sentence for the reason of a lost attempt."""
    words = str(error.explanation if isinstance(error, APIError) and error.explanation else error)
    if "could not select device driver" in words or "unresolvable CDI" in words:
        return (
            "the NVIDIA Container Toolkit is not installed on this runner (the engine cannot hand out GPUs)"
        )
    if "No such image" in words:
        image = words.partition("No such image:")[2].strip()
        return f"the base image is missing: {image}; `make images` makes it"
    if isinstance(error, APIError):
        return f"the Docker engine refused: {words[:300]}"
    return f"the Docker engine does not answer ({type(error).__name__}: {words[:160]}); is dockerd running?"
