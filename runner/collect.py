"""What an ended box leaves: its folders as tars, and of those the artifacts."""

from collections.abc import Callable
from dataclasses import dataclass, field

from hermes.errors import Refused, Unavailable
from hermes.executors.base import Box, Executor, Folder
from hermes.logs import LogWriter
from hermes.process import Context
from hermes.room import FULL, is_full
from hermes.threads import in_thread
from runner.artifacts import ArtifactLimits, Kept, keep_artifacts, matches


@dataclass
class Collected:
    """What was kept; `lost`: why it is not all."""

    kept: list[Kept] = field(default_factory=list)
    lost: str = ""


async def collect(
    context: Context, executor: Executor, box: Box, patterns: list[str], writer: LogWriter
) -> Collected:
    """All of its output, and what `patterns` name of its tree. Too many or too large ones never change the
    verdict; the log says so. On a full disk its artifacts are lost, and only they."""
    kept: list[Kept] = []
    lost = ""
    try:
        await _collect_folder(context, executor, box, "output", kept, lambda name: True)
        if patterns:
            await _collect_folder(context, executor, box, "app", kept, matches(patterns))
    except Refused as error:
        writer.write(f"\nhermes: {error}\n".encode())
    except (Unavailable, OSError) as error:
        if not is_full(error):
            raise
        lost = f"{FULL}: {'not all' if kept else 'none'} of its artifacts are kept"
        writer.write(f"\nhermes: {lost}\n".encode())
    unique = {each.path: each for each in reversed(kept)}
    return Collected(list(unique.values()), lost)


async def _collect_folder(
    context: Context,
    executor: Executor,
    box: Box,
    folder: Folder,
    kept: list[Kept],
    wanted: Callable[[str], bool],
) -> None:
    settings, paths = context.settings, context.paths
    tar = paths.spooled(box.task.name, f"{folder}.tar")
    limits = ArtifactLimits(settings.artifact_files, settings.artifact_size)
    try:
        await executor.save(box, folder, tar, settings.disk)
        await in_thread(lambda: kept.extend(keep_artifacts(tar, paths, limits, wanted)))
    finally:
        tar.unlink(missing_ok=True)
