"""One build from its claim to its verdict: export the tree, make it in a box, keep the result as an image.

An image is the base image's name and the built tree as one file, not an engine's image: it is the same for
every executor, nothing of ours is left in the engine's store, the working copy of a run lies on a bounded
disk, and it is no slower (docs/performance.md, bench/image)."""

import re
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from builder.base import Base
from builder.script import NO_PROGRAM, build_command, build_env
from builder.stages import StagedLog
from hermes import logs
from hermes.attempt import Ending, before_stop, follow_to_end, open_box
from hermes.boxes import box_name
from hermes.errors import Refused, Unavailable
from hermes.executors.base import Box, Executor, Limits, Task
from hermes.export import export_commit
from hermes.faultpoint import faultpoint
from hermes.instance import UNFENCED
from hermes.logs import LogWriter
from hermes.plan import Plan
from hermes.process import Context
from hermes.queue import CHANGED, RANKS
from hermes.stages import StageRecord
from hermes.states import Event
from hermes.supervisor import Job, Stop
from hermes.tables import Build
from hermes.threads import in_thread
from hermes.transitions import move
from hermes.trust import NEXT_STEP, distrust
from hermes.units import show_limit, show_size

MEMORY_BYTES = 4 << 30
_PIDS = 1024
_DIAGNOSTIC = re.compile(
    rb"^.*?(?:\berror\b|\*\*\*|undefined reference|hermes: [a-zD ]+ went well).*$", re.MULTILINE
)


class BuildWork:
    """Does builds with one executor."""

    def __init__(self, context: Context, executor: Executor) -> None:
        self._context, self._executor = context, executor

    async def do(self, job: Job[Build]) -> None:
        """The steps of one build; each leaves nothing behind, whatever ends it."""
        build, plan = job.row, Plan.model_validate(job.row.plan)
        path = self._context.paths.log("build", build.id, build.attempt)
        writer = LogWriter(path, self._context.settings.log_size)
        stages = StageRecord(path)
        tree = self._context.paths.spooled(box_name(self._context, build), "tree")
        try:
            if why := await self._distrust(build):
                writer.write(f"hermes: {why}; {NEXT_STEP}\n".encode())
                await self._end(job, Event.FAIL, why)
                return
            if ended := await self._prepare(job, plan, tree, writer, stages):
                await self._end(job, *ended)
                return
            faultpoint("build.exported")
            stages.begin("box", writer.position)
            printed = StagedLog(writer, stages)
            async with open_box(self._executor, self._task(job, plan, tree, printed.key)) as box:
                faultpoint("build.started")
                ending = await follow_to_end(self._executor, box, printed.write, job, plan.build_timeout_s)
                printed.finish()
                writer.close()
                await self._settle(job, plan, box, ending, stages)
        finally:
            stages.close()
            writer.close()
            tree.unlink(missing_ok=True)

    async def _prepare(
        self, job: Job[Build], plan: Plan, tree: Path, writer: LogWriter, stages: StageRecord
    ) -> tuple[Event, str] | None:
        """Its tree, and what it stands on; or how it ends without them."""
        base = Base(self._executor, plan, writer, stages)
        await base.need_image()
        stages.begin("tree", writer.position)
        try:
            for warning in await in_thread(self._export, job.row, tree):
                writer.write(f"hermes: {warning}\n".encode())
            if not await before_stop(job, base.prepare(tree, self._context.settings.disk)):
                return Event.CANCEL, "cancelled"
        except Refused as error:
            writer.write(f"hermes: {error.whole}\n".encode())
            return Event.FAIL, str(error)
        except TimeoutError:
            return Event.TIME_OUT, f"{plan.dockerfile} took longer than {show_limit(plan.build_timeout_s)}"
        return None

    async def _distrust(self, build: Build) -> str:
        """Asked again here: the engine may have gone since the push was taken."""
        if self._executor.name != UNFENCED:
            return ""
        settings = self._context.settings
        return await self._context.database.read_at_once(lambda ask: distrust(ask, settings, build.user_id))

    def _export(self, build: Build, target: Path) -> list[str]:
        submodules = export_commit(self._context.paths, self._context.settings, build, target)
        return [
            f"submodule {path!r} is not fetched; commit its files if the build needs them"
            for path in submodules
        ]

    def _task(self, job: Job[Build], plan: Plan, tree: Path, key: str) -> Task:
        build, settings = job.row, self._context.settings
        return Task(
            name=box_name(self._context, build),
            image=plan.reference,
            packages=tuple(plan.packages),
            command=build_command(plan, key),
            tree=tree,
            limits=Limits(cpus=2, memory_bytes=MEMORY_BYTES, disk_bytes=settings.disk, pids=_PIDS),
            env=build_env(plan) | {"HERMES_COMMIT": build.commit_sha},
            cache=self._context.paths.compiler_cache(build.repo_id) if plan.caches else None,
        )

    async def _settle(
        self, job: Job[Build], plan: Plan, box: Box, ending: Ending, stages: StageRecord
    ) -> None:
        """Our own intent first, then memory, then what make said."""
        if ending.stop is Stop.SHUTDOWN:
            raise Unavailable("the service was stopped")
        if ending.stop is Stop.TIMEOUT:
            await self._end(job, Event.TIME_OUT, f"make ran longer than {show_limit(plan.build_timeout_s)}")
        elif ending.stop is Stop.CANCEL:
            await self._end(job, Event.CANCEL, "cancelled")
        elif ending.exit.out_of_memory:
            await self._end(job, Event.FAIL, f"make ran out of memory ({show_size(MEMORY_BYTES)})")
        elif ending.exit.overrun:
            await self._end(job, Event.FAIL, f"make {ending.exit.overrun}")
        elif ending.exit.code != 0:
            await self._end(job, Event.FAIL, await in_thread(_why, ending.exit.code, stages.log))
        else:
            await self._keep(job, box, stages)

    async def _keep(self, job: Job[Build], box: Box, stages: StageRecord) -> None:
        faultpoint("build.made")
        stages.begin("image", logs.size_bytes(stages.log))
        image = self._context.paths.image(job.row.id)
        fresh = self._context.paths.spooled(box.task.name, "image")
        try:
            await self._executor.save(box, "app", fresh, self._context.settings.disk)
            faultpoint("build.saved")
            image.parent.mkdir(parents=True, exist_ok=True)
            fresh.replace(image)
        except Refused as error:
            await self._end(job, Event.FAIL, f"the built tree is {error}")
            return
        finally:
            fresh.unlink(missing_ok=True)
        faultpoint("build.stored")
        stages.close()
        await self._end(job, Event.SUCCEED, "", image_bytes=image.stat().st_size)

    async def _end(self, job: Job[Build], event: Event, reason: str, **values: int) -> None:
        async with self._context.database.write() as session:
            await self._move(session, job, event, reason, **values)
        faultpoint("build.settled")
        await self._context.doorbell.ring(RANKS, CHANGED)

    async def _move(
        self, session: AsyncSession, job: Job[Build], event: Event, reason: str, **values: int
    ) -> None:
        row = await session.get(Build, job.row.id)
        if row is not None and job.owns(row):
            await move(session, row, event, reason, **values)


def _why(code: int, log: Path) -> str:
    """The compiler's first word on the matter, with where; else the exit code."""
    found = _DIAGNOSTIC.search(logs.read(log, 0, 1 << 20))
    if found is None:
        return f"make ended with exit code {code}"
    words = found[0].decode("utf-8", "replace").strip()[:300]
    return words.removeprefix("hermes: ") if code == NO_PROGRAM else words
