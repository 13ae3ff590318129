"""The client of a Docker engine: where it is, and its errors in words that say what to do."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import docker
import requests
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.utils import kwargs_from_env

from hermes.errors import Unavailable
from hermes.executors.container import Ground
from hermes.executors.tars import write_bounded
from hermes.threads import in_thread

T = TypeVar("T")
CALL_S = 60.0
_SYSTEM_SOCKET = Path("/var/run/docker.sock")
_OUR_SOCKET = Path("/var/tmp/hermes-docker/docker.sock")


def connect(deadline_s: float) -> Any:
    """A client; nothing is asked of the engine yet but its version."""
    return docker.APIClient(version="auto", timeout=int(deadline_s), num_pools=64, **_where())


async def call(function: Callable[..., T], *args: Any, deadline_s: float = CALL_S) -> T:
    """An engine call in a thread, with a deadline, its errors as ours."""
    try:
        async with asyncio.timeout(deadline_s):
            return await in_thread(function, *args)
    except TimeoutError:
        raise Unavailable(f"the Docker engine did not answer within {deadline_s:.0f} s") from None
    except (DockerException, requests.RequestException, OSError) as error:  # APIError is one of these
        raise Unavailable(in_words(error)) from error


def check_ground(api: Any, ground: Ground) -> None:
    """Whether the engine has the runtime and the network that the operator chose. Raises Unavailable."""
    if ground.runtime:
        known = api.info().get("Runtimes") or {}
        if ground.runtime not in known:
            has = ", ".join(sorted(known))
            raise Unavailable(
                f"HERMES_RUNTIME={ground.runtime}: the Docker engine has no such runtime (it has: {has}); "
                "add it to /etc/docker/daemon.json"
            )
    for variable, network in (
        ("HERMES_NETWORK", ground.network),
        ("HERMES_PACKAGES_NETWORK", ground.packages_network),
        ("HERMES_DOCKERFILES_NETWORK", ground.dockerfiles_network),
    ):
        _check_network(api, variable, network)


def _check_network(api: Any, variable: str, network: str) -> None:
    if network in ("", "none", "bridge", "host"):  # every engine has these
        return
    try:
        api.inspect_network(network)
    except NotFound:
        raise Unavailable(
            f"{variable}={network}: the Docker engine has no such network; "
            f"`docker network create {network}` makes it"
        ) from None


def save_archive(api: Any, container: str, path: str, target: Path, limit_bytes: int) -> None:
    """A folder as a tar, read as a response that can be closed half-way (the SDK's own call cannot). Raises
    Refused when it is larger, and Unavailable."""
    url = api._url("/containers/{0}/archive", container)
    plain = {"Accept-Encoding": "identity"}  # the engine would compress, which takes five times as long
    try:
        with closing(api._get(url, params={"path": f"{path}/."}, headers=plain, stream=True)) as answer:
            api._raise_for_status(answer)
            write_bounded(answer.iter_content(1 << 20), target, limit_bytes)
    except (DockerException, requests.RequestException, OSError) as error:
        raise Unavailable(in_words(error)) from error


def has_image(api: Any, reference: str) -> bool:
    """Whether it is there."""
    try:
        api.inspect_image(reference)
    except ImageNotFound:
        return False
    return True


def has_file(api: Any, container: str, path: str) -> bool:
    """Whether a container, started or not, has it; links are followed."""
    url = api._url("/containers/{0}/archive", container)
    answer = api.head(url, params={"path": path}, timeout=api.timeout)
    return bool(answer.status_code == requests.codes.ok)


def box_names(api: Any, labels: Mapping[str, str], base: Path) -> tuple[set[str], set[str]]:
    """Of all containers and volumes with these labels, alive or dead, and of all folders below `base`; and
    which of them have volumes."""
    label = {"label": [f"{key}={value}" for key, value in labels.items()]}
    volumes = api.volumes(filters=label)["Volumes"] or []
    found = api.containers(all=True, filters=label)
    names = {name.lstrip("/") for each in found for name in each["Names"]}
    with_volumes = {str(volume["Name"]).rpartition(".")[0] for volume in volumes}
    return names | with_volumes | {each.name for each in base.glob("hermes-*")}, with_volumes


def stop_container(api: Any, container: str, grace_s: float) -> None:
    """SIGTERM, wait, SIGKILL; one that is not there is no error."""
    with suppress(NotFound):
        api.stop(container, timeout=int(grace_s))


def remove_container(api: Any, name: str, deadline_s: float) -> None:
    """End and delete it, and return when it is gone; one that is not there is no error."""
    with suppress(NotFound):
        try:
            api.remove_container(name, force=True, v=True)
        except APIError as error:
            if error.status_code != 409:  # 409: somebody else is removing it
                raise
            api.wait(name, timeout=deadline_s, condition="removed")


def wall_s(state: dict[str, Any], began: float | None) -> float:
    """From the engine's own clock: it starts and ends with the program, not with our calls. `began`: the time
    when the program did, if its container was started before."""
    started, ended = (
        datetime.fromisoformat(state[key][:26].rstrip("Z")).replace(tzinfo=UTC).timestamp()
        for key in ("StartedAt", "FinishedAt")
    )
    return max(ended - (started if began is None else began), 0.0)


def engine_url() -> str:
    """Where the engine is, as this process would use it."""
    url: str = _where().get("base_url", f"unix://{_SYSTEM_SOCKET}")
    return url


def engine_socket() -> str:
    """The path of the engine's Unix socket."""
    return engine_url().partition("://")[2]


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
