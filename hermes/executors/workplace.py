"""Where a box works: its folders, on a bounded disk where that can be, its tree, and what outlives it."""

import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from hermes.executors import disks, loops
from hermes.executors.base import Task
from hermes.executors.container import (
    CALL,
    CHECKPOINT,
    GIVEN_STDIN,
    INPUT,
    STDIN,
    TASK,
    kept_disks,
    start_script,
)
from hermes.executors.tars import unpack

Places = dict[str, Path]  # {where the program finds it: the folder}
_FRESH = "checkpoint.img"


def lay_out(own: Path, task: Task, folders: Mapping[Any, str], owner: int | None) -> Places:
    """On a bounded disk in the folder `own`; what is kept has disks too. `folders`: {name: place}; `owner`:
    as whom the program runs, if not as us."""
    disks.make_disk(own / "disk.img", task.limits.disk_bytes)
    disks.mount(own / "disk.img", own / "disk")
    places = {place: _own(own / "disk" / name, owner) for name, place in folders.items()}
    unpack(task.tree, places["/app"], owner)
    for kept, size_bytes, place in kept_disks(task):
        point = _inside(own, place)
        if disks.mount_kept(kept, point, size_bytes):
            places[place] = _own(point / "kept", owner)
    return places


def lay_out_unbounded(own: Path, task: Task, folders: Mapping[Any, str], owner: int | None) -> Places:
    """The same in plain folders, where disks cannot be mounted: somebody has to watch their size."""
    places = {place: _own(own / name, owner) for name, place in folders.items()}
    unpack(task.tree, places["/app"], owner)
    for kept, _size_bytes, place in kept_disks(task):
        if kept.is_file():  # a disk of a service that could mount: what is kept can be made again
            kept.unlink()
        places[place] = _own(kept, owner)
    return places


def bring(own: Path, task: Task, *, may_link: bool = True) -> Places:
    """What it is given to read: its input directory, if it has one; links where it cannot write there."""
    if not task.inputs:
        return {}
    folder = own / "input"
    for name, file in task.inputs:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        _link(file, target) if may_link else shutil.copyfile(file, target)
    for each in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        each.chmod(0o755)
    return {INPUT: folder.absolute()}


def bring_all(own: Path, task: Task) -> Places:
    """The same and its stdin, for who cannot give it an open file."""
    return bring(own, task) | ({} if task.stdin is None else {STDIN: task.stdin.absolute()})


def lay_out_open(own: Path, task: Task, folders: Mapping[Any, str], owner: int | None) -> Places:
    """As `lay_out`, for a task whose command and input come later (`hand_over`): with a folder for each, as
    the box may be started before, and with the disk of a first attempt. The command comes with secrets, so
    never to a disk, and nobody else of this machine gets there."""
    places = lay_out(own, task, folders, owner)
    own.chmod(0o700)
    given = {place: _inside(own, place).absolute() for place in (CALL, INPUT, STDIN)}
    for folder in given.values():
        folder.mkdir()
    loops.mount_memory(given[CALL])
    disks.make_disk(own / _FRESH, task.limits.disk_bytes)
    disks.mount(own / _FRESH, _inside(own, CHECKPOINT))
    _kept(own).mkdir()  # nobody but us writes there until it is somebody's
    return places | given | {CHECKPOINT: _kept(own)}


def hand_over(own: Path, task: Task, owner: int) -> None:
    """What is to be started in such a box, and what that reads. Raises OSError, also for a task that has a
    checkpoint already."""
    bring(own, task)
    places = [INPUT] if task.inputs else []
    if task.stdin is not None:
        _link(task.stdin, _inside(own, STDIN) / Path(GIVEN_STDIN).name)
    if task.checkpoint is not None:
        _own(_kept(own), owner)
        task.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        os.link(own / _FRESH, task.checkpoint)
        places.append(CHECKPOINT)
    script = _inside(own, CALL) / Path(TASK).name
    script.write_text(start_script(task, places), encoding="utf-8", errors="surrogateescape")
    script.chmod(0o400)
    shutil.chown(script, owner, owner)


def take_back(own: Path, task: Task) -> None:
    """After a hand-over that failed: nothing has begun, so the task has no checkpoint. Raises OSError."""
    with suppress(FileNotFoundError):
        if task.checkpoint is not None and task.checkpoint.samefile(own / _FRESH):
            task.checkpoint.unlink()


def _inside(own: Path, place: str) -> Path:
    return own / place.rpartition("/")[2]


def _kept(own: Path) -> Path:
    return (_inside(own, CHECKPOINT) / "kept").absolute()


def _link(file: Path, target: Path) -> None:
    try:
        os.link(file, target)
    except OSError:  # another file system, or too many links
        shutil.copyfile(file, target)


def clear(own: Path) -> None:
    """Nothing of it stays but what outlives a box."""
    for point in list(own.glob("*")):
        disks.unmount(point)
    shutil.rmtree(own, ignore_errors=True)


def size_bytes(folders: Iterable[Path]) -> int:
    """What these folders take of the disk, together; what vanishes meanwhile is not counted."""
    total, todo = 0, [str(folder) for folder in folders]
    while todo:
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    total += _count(entry, todo)
        except OSError:
            continue
    return total


def _count(entry: "os.DirEntry[str]", todo: list[str]) -> int:
    if entry.is_dir(follow_symlinks=False):
        todo.append(entry.path)
    try:
        return entry.stat(follow_symlinks=False).st_blocks * 512
    except OSError:
        return 0


def _own(folder: Path, owner: int | None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if owner is not None:
        shutil.chown(folder, owner, owner)
    return folder.absolute()
