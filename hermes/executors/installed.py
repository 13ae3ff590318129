"""Packages and Dockerfiles with the local executor: the machine has them, or not: nothing is installed."""

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from hermes.errors import Refused, Unavailable
from hermes.executors.base import ImageFacts, Recipe
from hermes.threads import in_thread

_DEADLINE_S = 30.0


class Installed:
    """What dpkg knows of."""

    async def need(self, image: str, packages: Sequence[str], say: Callable[[str], None]) -> None:
        if packages:
            await in_thread(_check, packages)

    async def facts(self, image: str, packages: Sequence[str]) -> ImageFacts | None:
        return None  # boxes are made of the machine itself


class NoDockerfiles:
    """No engine, no images."""

    async def need(self, image: str, recipe: Recipe, write: Callable[[bytes], object]) -> bool:
        raise Refused(f"{recipe.dockerfile}: this machine has no container engine to build it")

    async def save_app(self, image: str, target: Path, limit_bytes: int) -> bool:
        return False


def _check(packages: Sequence[str]) -> None:
    missing = sorted({*packages} - _installed(packages))
    if missing:
        names = " ".join(missing)
        raise Refused(
            f"not installed on this machine: {', '.join(missing)}",
            f"it has no container engine, so its operator has to do it: apt-get install {names}",
        )


def _installed(packages: Sequence[str]) -> set[str]:
    command = ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\\n", "--", *packages]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_DEADLINE_S, check=False, env={"LC_ALL": "C"}
        )
    except FileNotFoundError:
        return set()  # not a Debian: nothing of it is here
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"dpkg-query: {error}") from error
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    return {name for status, name in lines if status == "installed"}
