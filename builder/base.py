"""What a build stands on: a base image, or its Dockerfile's, and packages; noted as its layers."""

from pathlib import Path

from hermes.errors import Refused, Unavailable
from hermes.executors.base import Executor, Recipe
from hermes.logs import LogWriter
from hermes.plan import Plan
from hermes.stages import Layer, StageRecord


class Base:
    """Of one build, whose tree is a tar already."""

    def __init__(self, executor: Executor, plan: Plan, writer: LogWriter, stages: StageRecord) -> None:
        self._executor, self._plan, self._writer, self._stages = executor, plan, writer, stages

    async def need_image(self) -> None:
        """Raises Unavailable for a base image that is not there; a Dockerfile's is made later."""
        plan = self._plan
        if plan.dockerfile:
            return
        if not await self._executor.has_image(plan.reference):
            raise Unavailable(
                f"the base image {plan.reference} is not on this machine: `make images` makes it"
            )
        await self._note(made=False)

    async def prepare(self, tree: Path, limit_bytes: int) -> None:
        """All that is not there yet. Raises Refused, TimeoutError, Unavailable."""
        if self._plan.dockerfile:
            await self._build_dockerfile(tree, limit_bytes)
        if self._plan.packages:
            await self._install_packages()

    async def _build_dockerfile(self, tree: Path, limit_bytes: int) -> None:
        plan, dockerfiles = self._plan, self._executor.dockerfiles
        self._stages.begin("dockerfile", self._writer.position)
        recipe = Recipe(plan.dockerfile, tree, lambda: None, plan.build_timeout_s)
        made = await dockerfiles.need(plan.reference, recipe, self._writer.write)
        await self._note(made)
        if not plan.makes:
            try:
                await dockerfiles.save_app(plan.reference, tree, limit_bytes)
            except Refused as error:
                raise Refused(f"{plan.dockerfile}: /app is {error}", error.hint) from None

    async def _install_packages(self) -> None:
        plan, layers, made = self._plan, self._executor.layers, False

        def say(line: str) -> None:
            nonlocal made
            made = True
            self._writer.write(f"hermes: {line}\n".encode())

        self._stages.begin("packages", self._writer.position)
        await layers.need(plan.reference, plan.packages, say)
        below, with_them = [await layers.facts(plan.reference, each) for each in ((), plan.packages)]
        if below and with_them:
            more_bytes = max(with_them.size_bytes - below.size_bytes, 0)
            self._stages.note_layer(Layer(", ".join(plan.packages), with_them.digest, more_bytes, made))

    async def _note(self, made: bool) -> None:
        if base := await self._executor.layers.facts(self._plan.reference, ()):
            self._stages.note_layer(Layer(self._plan.image, base.digest, base.size_bytes, made))
