"""Where a box works: its folders, on a bounded disk where that can be, its tree, and what outlives it."""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hermes.errors import Unavailable
from hermes.executors import disks, loops
from hermes.executors.base import Task
from hermes.executors.container import CALL, CHECKPOINT, INPUT, STDIN, kept_disks, start_script
from hermes.executors.tars import unpack

Places = dict[str, Path]  # {where the program finds it: the folder}


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
    """As `lay_out`, for a task whose command and input come later (`hand_over`): with a place for each. The
    command comes with secrets, so never to a disk, and nobody else of this machine gets there."""
    places = lay_out(own, task, folders, owner)
    own.chmod(0o700)
    for place in (CALL, INPUT, CHECKPOINT):
        _inside(own, place).mkdir()
    loops.mount_memory(_inside(own, CALL))
    given = {place: _inside(own, place).absolute() for place in (CALL, INPUT, STDIN)}
    return places | given | {CHECKPOINT: _kept(own)}


def hand_over(own: Path, task: Task, owner: int) -> None:
    """What is to be started in such a box, and what that reads. Raises OSError and Unavailable."""
    bring(own, task)
    places = [INPUT] if task.inputs else []
    if task.stdin is None:
        _inside(own, STDIN).touch()
    else:
        _link(task.stdin, _inside(own, STDIN))
    for kept, size_bytes, place in kept_disks(task):
        if not disks.mount_kept(kept, _inside(own, place), size_bytes):
            raise Unavailable("another box has its checkpoint")
        _own(_kept(own), owner)
        places.append(place)
    _kept(own).mkdir(exist_ok=True)  # without a disk nobody but us writes there
    script = _inside(own, CALL) / "start"
    script.write_text(start_script(task, places), encoding="utf-8", errors="surrogateescape")
    script.chmod(0o400)
    shutil.chown(script, owner, owner)


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
