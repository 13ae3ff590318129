"""Images that the engine makes of users' Dockerfiles, where the operator allows that (HERMES_DOCKERFILES).

The engine's own builder runs their commands, as root. It bounds their memory, cores, size of a file and time;
it cannot bound processes and disk (docs/security.md). Closing its connection ends it."""

import asyncio
import json
import tarfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from docker.errors import APIError

from hermes.dockerfiles import ASK, OFF, REPOSITORY
from hermes.errors import Refused, Unavailable
from hermes.executors.base import Recipe
from hermes.executors.container import Ground
from hermes.executors.engine import call, engine_socket, remove_container, save_archive
from hermes.executors.kept import LOOKING, clear, keep_newest, touch
from hermes.threads import in_thread
from hermes.units import show_size

MEMORY_BYTES = 4 << 30
_CPUS = 2
_MOST_BYTES = 16 << 30
_MOST_FILE_BYTES = 8 << 30
_MOST_IMAGES = 30
_CALL_S = 60.0
_PIECE_BYTES = 1 << 18
_MOST_LINE = 1 << 22


class DockerfileImages:
    """Those of one engine."""

    def __init__(self, client: Callable[[], Any], ground: Ground) -> None:
        self._client, self._ground = client, ground

    async def need(self, image: str, recipe: Recipe, write: Callable[[bytes], object]) -> bool:
        if await call(touch, self._client(), image):
            return False
        if not self._ground.dockerfiles:
            raise Refused(OFF, ASK)
        bounds = f"{_CPUS} CPUs, {show_size(MEMORY_BYTES)}, network {self._ground.dockerfiles_network}"
        write(f"hermes: {recipe.dockerfile}: the engine builds it as root with {bounds}\n".encode())
        if not recipe.tree.exists():
            await in_thread(recipe.export)
        async with asyncio.timeout(recipe.timeout_s):
            build = _Build(self._client(), image, write)
            await build.follow(_parameters(recipe, self._ground), recipe.tree)
        try:
            await call(_accept, self._client(), build.made, image, recipe.dockerfile)
        except Refused:
            await call(_drop, self._client(), build.made)
            raise
        return True

    async def save_app(self, image: str, target: Path, limit_bytes: int) -> bool:
        return await in_thread(_save_app, self._client(), image, target, limit_bytes)


def _parameters(recipe: Recipe, ground: Ground) -> dict[str, str | int]:
    """docs.docker.com/reference/api/engine: ImageBuild. `ulimits` is what its own command line sends."""
    ulimits = {"nofile": 4096, "core": 0, "fsize": _MOST_FILE_BYTES}
    return {
        "dockerfile": recipe.dockerfile,
        "networkmode": ground.dockerfiles_network,
        "memory": MEMORY_BYTES,
        "memswap": MEMORY_BYTES,
        "cpuperiod": 100_000,
        "cpuquota": _CPUS * 100_000,
        "forcerm": 1,
        "labels": json.dumps({REPOSITORY: recipe.dockerfile}),
        "ulimits": json.dumps([{"Name": name, "Soft": most, "Hard": most} for name, most in ulimits.items()]),
    }


class _Build:
    """One build, followed. `made`: its image; `steps`: those after each step, as far as it came."""

    def __init__(self, api: Any, image: str, write: Callable[[bytes], object]) -> None:
        self._api, self._image, self._write = api, image, write
        self.made = ""
        self.steps: list[str] = []

    async def follow(self, parameters: dict[str, str | int], tree: Path) -> None:
        """To its end. Raises Refused and Unavailable."""
        transport = httpx.AsyncHTTPTransport(uds=engine_socket())
        try:
            async with httpx.AsyncClient(
                transport=transport, timeout=httpx.Timeout(_CALL_S, read=None)
            ) as client:
                post = client.stream(
                    "POST",
                    "http://engine/build",
                    params=parameters,
                    content=_pieces(tree),
                    headers={"Content-Type": "application/x-tar"},
                )
                async with post as answer:
                    if answer.is_error:
                        raise _refusal(answer.status_code, await answer.aread())
                    async for line in _lines(answer.aiter_bytes()):
                        self._take(json.loads(line))
        except httpx.HTTPError as error:
            raise Unavailable(f"the Docker engine does not answer ({type(error).__name__})") from error
        except BaseException:
            if (
                len(self.steps) > 1
            ):  # kept for the next try, as long as others are; the first is what it is FROM
                with suppress(Unavailable):  # a program may have printed what looks like a step
                    await asyncio.shield(call(_keep, self._api, self.steps[-1], f"{self._image}-part"))
            raise
        if not self.made:
            raise Unavailable("the Docker engine stopped in the middle of a Dockerfile")

    def _take(self, said: dict[str, Any]) -> None:
        if words := said.get("error"):
            raise Refused(f"Dockerfile: {str(words)[:300]}")
        self.made = (said.get("aux") or {}).get("ID", self.made)
        text = str(said.get("stream", ""))
        if "status" in said and "progressDetail" not in said:  # of an image that is fetched
            text = f"{said['status']}\n"
        step = text.removeprefix(" ---> ").strip()
        if text.startswith(" ---> ") and step.isalnum():
            self.steps.append(step)
        self._write(text.encode())


def _accept(api: Any, made: str, image: str, dockerfile: str) -> None:
    """Under its name, if boxes can be made of it. Raises Refused."""
    found = api.inspect_image(made)
    if found["Config"].get("Volumes"):
        raise Refused(
            f"{dockerfile}: VOLUME {' '.join(found['Config']['Volumes'])}: a run has no volumes",
            "leave it out; what a program writes into $HERMES_OUTPUT_DIR is kept",
        )
    if found["Size"] > _MOST_BYTES:
        size = show_size(found["Size"])
        raise Refused(f"{dockerfile}: its image has {size}, {show_size(_MOST_BYTES)} is the most")
    with _opened(api, made) as container:
        if not _has(api, container, "/bin/sh"):
            raise Refused(
                f"{dockerfile}: its image has no /bin/sh", "begin it with an image that has a shell"
            )
    _keep(api, made, image)


def _keep(api: Any, made: str, image: str) -> None:
    api.tag(made, REPOSITORY, image.rpartition(":")[2])
    keep_newest(api, REPOSITORY, _MOST_IMAGES)


def _drop(api: Any, made: str) -> None:
    with suppress(APIError):  # an equal one has a name, or something runs in it
        api.remove_image(made)


def _save_app(api: Any, image: str, target: Path, limit_bytes: int) -> bool:
    fresh = target.with_name(f"{target.name}.app")
    try:
        with _opened(api, image) as container:
            if not _has(api, container, "/app"):
                return False
            save_archive(api, container, "/app", fresh, limit_bytes)
        with tarfile.open(fresh) as tar:
            if not any(member.name.strip("./") for member in tar):
                return False
        fresh.replace(target)
        return True
    finally:
        fresh.unlink(missing_ok=True)


@contextmanager
def _opened(api: Any, image: str) -> Iterator[str]:
    """A container of it that is never started: to look into."""
    name = f"{LOOKING}{image.rpartition(':')[2]}"
    clear(api, name)
    api.create_container(image, ["sh"], name=name, entrypoint=[], network_disabled=True)
    try:
        yield name
    finally:
        remove_container(api, name, _CALL_S)


def _has(api: Any, container: str, path: str) -> bool:
    url = api._url("/containers/{0}/archive", container)
    return bool(api.head(url, params={"path": path}, timeout=_CALL_S).status_code == 200)


async def _pieces(file: Path) -> AsyncIterator[bytes]:
    with file.open("rb") as source:
        while data := await in_thread(source.read, _PIECE_BYTES):
            yield data


async def _lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in filter(bytes.strip, lines):
            yield line
        if len(rest) > _MOST_LINE:
            raise Unavailable("the Docker engine says a line without an end")


def _refusal(status: int, body: bytes) -> Exception:
    """What it does not even begin: a Dockerfile that cannot be read."""
    try:
        words = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        words = f"status {status}"
    if status < 500:
        return Refused(f"Dockerfile: {words[:300]}")
    return Unavailable(f"the Docker engine refused: {words[:300]}")
