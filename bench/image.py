"""Why an image is a base and a stored tree, and not an image of the engine: what it costs to keep and start.

From the same ended box of a build, with a tree of 30 KiB and one of 50 MB (random bytes), in turns:
(a) ours: `DockerExecutor.save` to a file, then the next box with that file put into its /app, on a disk
with a limit; (b) the engine's: `docker build` of FROM base and COPY, the tree streamed from the box without
touching the disk, then a container of that image with the same flags and a writable /app (a named volume
that the engine fills from the image; it has no limit). Each until a program that does nothing has ended.

    make bench NAME=image [ARGS="--runs 5"]
"""

import argparse
import asyncio
import io
import os
import tarfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import docker

from bench import _tools
from bench._tools import IMAGE, Figures, say, scratch
from hermes.executors import disks
from hermes.executors.base import Box, Limits, Task
from hermes.executors.container import USER, hardening
from hermes.executors.docker import DockerExecutor
from hermes.tree import OWNER_ID

_LABEL = "bench-image"
_TREES = {"30KiB": (10, 3 << 10), "50MB": (50, 1_000_000)}  # files, bytes of each
_DISK_BYTES = 2 << 30  # HERMES_DISK's default
_DOCKERFILE = f"FROM {IMAGE}\nCOPY --chown={USER} app /app\n".encode()
_DOES_NOTHING = ("true",)


def _task(name: str, tree: Path) -> Task:
    return Task(
        name=f"hermes-{_LABEL}-{os.getpid()}-{name}",
        image=IMAGE,
        command=_DOES_NOTHING,
        tree=tree,
        limits=Limits(cpus=2, memory_bytes=1 << 30, disk_bytes=_DISK_BYTES),
    )


def _write_tree(target: Path, files: int, size_bytes: int) -> None:
    with tarfile.open(target, "w") as tar:
        for number in range(files):
            member = tarfile.TarInfo(f"data-{number}")
            member.size, member.uid, member.gid = size_bytes, OWNER_ID, OWNER_ID
            tar.addfile(member, io.BytesIO(os.urandom(size_bytes)))


@asynccontextmanager
async def _ended_box(executor: DockerExecutor, task: Task) -> AsyncIterator[Box]:
    """A box whose program has ended."""
    box = await executor.start(task)
    try:
        assert (await executor.follow(box, lambda _data, _stream: None)).code == 0
        yield box
    finally:
        await executor.remove(task.name)


async def _ours(executor: DockerExecutor, built: Box, file: Path) -> tuple[float, float]:
    """Seconds to keep the built tree, and to run something in it."""
    began = time.monotonic()
    await executor.save(built, "app", file, _DISK_BYTES)
    kept = time.monotonic()
    async with _ended_box(executor, _task("ours", file)):
        ended = time.monotonic()
    return kept - began, ended - kept


class _Engine:
    """The same with an image of the engine."""

    def __init__(self) -> None:
        self._api: Any = docker.from_env(version="auto").api
        self._name = f"hermes-{_LABEL}-{os.getpid()}"

    def keep_and_run(self, built: Box) -> tuple[float, float]:
        """Seconds to make an image of the built tree, and to run something in it."""
        try:
            began = time.monotonic()
            self._build(built.handle.container)
            kept = time.monotonic()
            self._run()
            return kept - began, time.monotonic() - kept
        finally:
            self._remove()

    def _build(self, container: str) -> None:
        words = [
            *self._api.build(
                fileobj=self._context(container),
                custom_context=True,
                tag=self._name,
                rm=True,
                forcerm=True,
                nocache=True,
                decode=True,
            )
        ]
        assert not any("error" in each for each in words), words

    def _context(self, container: str) -> Iterator[bytes]:
        """A Dockerfile, and behind it the engine's own tar of /app as it comes."""
        head = tarfile.TarInfo("Dockerfile")
        head.size = len(_DOCKERFILE)
        yield head.tobuf() + _DOCKERFILE.ljust(tarfile.BLOCKSIZE, b"\0")
        chunks, _stat = self._api.get_archive(container, "/app", chunk_size=1 << 20)
        yield from chunks

    def _run(self) -> None:
        flags = hardening(_task("engine", Path()))
        container = self._api.create_container(
            self._name,
            list(_DOES_NOTHING),
            name=self._name,
            user=USER,
            working_dir="/app",
            volumes=["/app"],
            host_config=self._api.create_host_config(binds=[f"{self._name}:/app:rw"], **flags),
        )["Id"]
        self._api.start(container)
        assert self._api.wait(container)["StatusCode"] == 0

    def _remove(self) -> None:
        for remove in (self._api.remove_container, self._api.remove_volume, self._api.remove_image):
            with suppress(docker.errors.NotFound):
                remove(self._name, force=True)


async def _measure(folder: Path, runs: int) -> Figures:
    executor, engine, figures = DockerExecutor(folder / "boxes", _LABEL), _Engine(), Figures()
    try:
        say(await executor.check())
        for size in _TREES:
            await _compare(executor, engine, folder, size, runs, figures)
        disks_s = [await asyncio.to_thread(_limited_disk, folder) for _ in range(runs)]
        figures.median("of_which_disk_with_limit", disks_s)
    finally:
        await executor.close()
    return figures


async def _compare(
    executor: DockerExecutor, engine: _Engine, folder: Path, size: str, runs: int, figures: Figures
) -> None:
    tree, file = folder / f"{size}.tar", folder / "kept.tar"
    _write_tree(tree, *_TREES[size])
    ours, theirs = [], []
    async with _ended_box(executor, _task("built", tree)) as built:
        for _ in range(runs):
            ours.append(await _ours(executor, built, file))
            theirs.append(await asyncio.to_thread(engine.keep_and_run, built))
            say(f"{size}: ours {sum(ours[-1]):.3f} s, an engine image {sum(theirs[-1]):.3f} s")
    _add(figures, size, ours, theirs)


def _limited_disk(folder: Path) -> float:
    """Seconds for the disk of a box, which (a) has and (b) lacks."""
    if os.geteuid() != 0:
        return 0.0
    began = time.monotonic()
    disks.make_disk(folder / "disk.img", _DISK_BYTES)
    disks.mount(folder / "disk.img", folder / "disk")
    took_s = time.monotonic() - began
    disks.unmount(folder / "disk")
    return took_s


def _add(
    figures: Figures, size: str, ours: list[tuple[float, float]], theirs: list[tuple[float, float]]
) -> None:
    for index, step in enumerate(("keep", "run")):
        figures.median(f"stored_tree_{size}_{step}", [each[index] for each in ours])
        figures.median(f"engine_image_{size}_{step}", [each[index] for each in theirs])
    ratios = [sum(b) / sum(a) for a, b in zip(ours, theirs, strict=True)]
    figures.median(f"stored_tree_{size}_total", [sum(each) for each in ours])
    figures.median(f"engine_image_{size}_total", [sum(each) for each in theirs])
    figures.median(f"engine_image_{size}_ratio_to_stored_tree", ratios, "x")


def measure() -> Figures:
    """The whole measurement, as the command line asks for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    with scratch() as folder:
        return asyncio.run(_measure(folder, args.runs))


if __name__ == "__main__":
    _tools.main(measure)
