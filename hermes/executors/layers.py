"""Debian packages as a layer of their own above a base image: made once in the engine, then shared.

Its only input is a list of checked names: nothing of a user's is there while it is made, so it may have what
a box never has, a network and root. Packages come from the sources of the base image, signed as those are."""

import asyncio
import difflib
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import requests
from docker.errors import DockerException, ImageNotFound
from docker.types import LogConfig

from hermes.errors import Refused, Unavailable
from hermes.executors.base import Dockerfiles, ImageFacts, Layers, Task
from hermes.executors.container import LAYERS, Ground, layer_of
from hermes.executors.engine import call, remove_container
from hermes.executors.kept import MAKING, clear, keep_newest, touch
from hermes.executors.seccomp import PROFILE
from hermes.units import show_size

_MOST_BYTES = 4 << 30
_MOST_LAYERS = 30
_MAKE_S = 900.0
_CALL_S = 60.0
_MISSING, _TOO_LARGE, _IMPOSSIBLE, _NO_APT = 66, 67, 68, 69
_CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETGID", "SETUID"]  # what dpkg and apt need
_SCRIPT = f"""
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
command -v apt-get >/dev/null || exit {_NO_APT}
get() {{
  apt-get -q -o APT::Update::Error-Mode=any -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 "$@" </dev/null
}}
get update >/dev/null || exit 1
for name; do
  apt-cache show --no-all-versions -- "$name" >/dev/null 2>&1 && continue
  printf '\\nmissing %s\\n' "$name"
  apt-cache pkgnames -- "$(printf %.2s "$name")"
  exit {_MISSING}
done
get install -s --no-install-recommends -- "$@" >/tmp/asked 2>&1 || {{
  grep -E 'Depends: |^E: ' /tmp/asked
  exit {_IMPOSSIBLE}
}}
size=$(apt-cache show --no-all-versions -- $(awk '/^Inst / {{ print $2 }}' /tmp/asked) 2>/dev/null |
  awk '/^Installed-Size:/ {{ size += $2 }} END {{ printf "%.0f", size * 1024 }}')
printf '\\nsize %s\\n' "${{size:-0}}"
[ "${{size:-0}}" -le {_MOST_BYTES} ] || exit {_TOO_LARGE}
get install -y --no-install-recommends -- "$@" >/tmp/done || {{ tail -n 20 /tmp/done; exit 1; }}
rm -rf /var/lib/apt/lists/* /var/cache/apt/* /tmp/asked /tmp/done
"""


@dataclass(frozen=True)
class _Order:
    """One layer to make."""

    image: str
    packages: tuple[str, ...]
    layer: str

    @property
    def container(self) -> str:
        return f"{MAKING}{self.layer.rpartition(':')[2]}"


class PackageLayers:
    """The layers of one engine."""

    def __init__(self, client: Callable[[], Any], ground: Ground) -> None:
        self._client, self._ground = client, ground
        self._making: dict[str, asyncio.Task[int]] = {}

    async def need(self, image: str, packages: Sequence[str], say: Callable[[str], None]) -> None:
        if not packages:
            return
        order = _Order(
            image, tuple(sorted({*packages})), await call(layer_of, self._client(), image, packages)
        )
        if await call(touch, self._client(), order.layer):
            return
        names, began = ", ".join(order.packages), time.monotonic()
        say(f"packages {names}: installing")
        making = self._making.get(order.layer)
        if making is None:
            making = self._making[order.layer] = asyncio.create_task(self._make(order))
            making.add_done_callback(lambda done: self._made(order.layer, done))
        size_bytes = await asyncio.shield(making)
        say(f"packages: {show_size(size_bytes)} installed in {time.monotonic() - began:.1f} s, and kept")

    async def facts(self, image: str, packages: Sequence[str]) -> ImageFacts | None:
        return await call(_facts, self._client(), image, packages)

    def _made(self, layer: str, done: "asyncio.Task[int]") -> None:
        del self._making[layer]
        if not done.cancelled():
            done.exception()  # whoever waited has it; perhaps nobody does any more

    async def _make(self, order: _Order) -> int:
        """Returns the size of what was installed."""
        api = self._client()
        await call(clear, api, order.container)
        try:
            await call(self._start, api, order)
            code, words = await call(_end_of, api, order.container, deadline_s=_MAKE_S + 10)
            if code != 0:
                raise _trouble(order, code, words)
            await call(_keep, api, order, deadline_s=_MAKE_S)
            return _size_bytes(words)
        finally:  # also when this process ends
            with suppress(DockerException, requests.RequestException, OSError):
                remove_container(api, order.container, _CALL_S)

    def _start(self, api: Any, order: _Order) -> None:
        host = api.create_host_config(
            network_mode=self._ground.packages_network,
            runtime=self._ground.runtime or None,
            cap_drop=["ALL"],
            cap_add=_CAPABILITIES,
            security_opt=["no-new-privileges", f"seccomp={PROFILE}"],
            pids_limit=512,
            mem_limit=2 << 30,
            memswap_limit=2 << 30,
            nano_cpus=int(1e9),
            init=True,
            oom_score_adj=500,
            log_config=LogConfig(type="json-file", config={"max-size": "8m"}),
        )
        api.create_container(
            order.image,
            ["sh", "-c", _SCRIPT, "packages", *order.packages],
            name=order.container,
            user="0:0",
            working_dir="/",
            entrypoint=[],
            host_config=host,
        )
        api.start(order.container)


async def have_again(dockerfiles: Dockerfiles, layers: Layers, task: Task) -> None:
    """What a build that has succeeded stands on may have been removed since. Raises Unavailable."""
    recipe = task.recipe
    try:
        if recipe is not None:
            await dockerfiles.need(task.image, recipe, lambda _: None)
        await layers.need(task.image, task.packages, lambda _: None)
    except Refused as error:
        what = f"{recipe.dockerfile} or its packages" if recipe else "its packages"
        raise Unavailable(f"{what} cannot be installed any more: {error}") from error
    except TimeoutError:
        raise Unavailable(f"{recipe.dockerfile if recipe else ''} took too long to be built again") from None
    finally:
        if recipe is not None:
            recipe.tree.unlink(missing_ok=True)


def _facts(api: Any, image: str, packages: Sequence[str]) -> ImageFacts | None:
    try:
        found = api.inspect_image(layer_of(api, image, packages))
    except ImageNotFound:
        return None
    return ImageFacts(str(found["Id"]), int(found["Size"]))


def _end_of(api: Any, container: str) -> tuple[int, str]:
    try:
        code = int(api.wait(container, timeout=_MAKE_S)["StatusCode"])
    except (requests.ReadTimeout, requests.ConnectionError):
        raise Unavailable(f"installing packages took longer than {_MAKE_S / 60:.0f} minutes") from None
    return code, api.logs(container).decode(errors="replace")


def _keep(api: Any, order: _Order) -> None:
    """As the base image, but for the packages."""
    changes = ['CMD ["/bin/sh"]', "WORKDIR /app", f"LABEL {LAYERS}={' '.join(order.packages)!r}"]
    api.commit(order.container, LAYERS, order.layer.rpartition(":")[2], changes=changes)
    keep_newest(api, LAYERS, _MOST_LAYERS)


def _size_bytes(words: str) -> int:
    found = [line.split()[1] for line in words.splitlines() if line.startswith("size ")]
    return int(found[0]) if found else 0


def _trouble(order: _Order, code: int, words: str) -> Exception:
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    if code == _MISSING:
        at = next(i for i, line in enumerate(lines) if line.startswith("missing "))
        name, known = lines[at].split()[1], lines[at + 1 :]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "packages.debian.org lists them"
        return Refused(f"build.packages: the base image's Debian has no package {name}", hint)
    if code == _TOO_LARGE:
        size = show_size(_size_bytes(words))
        return Refused(
            f"build.packages: {size} in all, {show_size(_MOST_BYTES)} is the most", "ask for fewer"
        )
    if code == _IMPOSSIBLE:
        return Refused(f"build.packages cannot be installed: {lines[0].removeprefix('E: ')}")
    if code == _NO_APT:
        return Refused("build.packages: this base image has no apt-get", "name another as build.image")
    faults = [line for line in lines if line.startswith("E: ")] or lines[-1:] or [f"exit code {code}"]
    return Unavailable(f"packages cannot be installed: {faults[0].removeprefix('E: ')[:300]}")
