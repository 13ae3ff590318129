"""What the buttons do: cancel, keep, and run again. Pages and the API write nothing else about work."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hermes.again import Wrong, change
from hermes.audit import Actor, write_down
from hermes.errors import Refused
from hermes.fairness import check_queue
from hermes.images import ImageTable
from hermes.instance import look_at_instance
from hermes.plan import Plan
from hermes.pools import PoolTable
from hermes.process import Context
from hermes.queue import BUILDS, CHANGED, RANKS
from hermes.repos import may_write
from hermes.requests import cancel_build, cancel_run, keep_run, release_run, run_again
from hermes.some_ranks import ONLY, only_these
from hermes.tables import Run, User
from hermes.trust import check_trusted
from web.lookup import find_build, find_run
from web.site import Site, number
from web.visitor import address

NOT_YOURS = "you may see this repository, but not change what it does"


@dataclass(frozen=True)
class Actions:
    """Each checks what the user may do, writes one transaction and rings."""

    context: Context
    images: ImageTable
    pools: PoolTable

    async def cancel_run(self, user: User, run_id: int, address: str) -> Run:
        """Raises NotFound, Refused."""
        async with self.context.database.write() as session:
            run, place = await find_run(session, user, run_id)
            if not await may_write(session, user, place.repo):
                raise Refused(NOT_YOURS, f"ask {place.owner} to cancel it")
            if await cancel_run(session, run, user):
                write_down(session, Actor(user.name, address), "run cancelled", f"run {run.id}", place.name)
        await self.context.doorbell.ring(RANKS, CHANGED)
        return run

    async def keep_run(self, user: User, run_id: int, address: str) -> Run:
        """Raises NotFound, Refused."""
        return await self._keep(user, run_id, address, keep_run, "run kept")

    async def release_run(self, user: User, run_id: int, address: str) -> Run:
        """Raises NotFound, Refused."""
        return await self._keep(user, run_id, address, release_run, "run kept no longer")

    async def _keep(
        self, user: User, run_id: int, address: str, ask: Callable[[AsyncSession, Run, User], bool], act: str
    ) -> Run:
        async with self.context.database.write() as session:
            run, place = await find_run(session, user, run_id)
            if not await may_write(session, user, place.repo):
                raise Refused(NOT_YOURS, f"ask {place.owner} to say what is kept")
            if ask(session, run, user):
                write_down(session, Actor(user.name, address), act, f"run {run.id}", place.name)
        await self.context.doorbell.ring(CHANGED)
        return run

    async def cancel_build(self, user: User, build_id: int, address: str) -> None:
        """Raises NotFound, Refused."""
        async with self.context.database.write() as session:
            build, place = await find_build(session, user, build_id)
            if not await may_write(session, user, place.repo):
                raise Refused(NOT_YOURS, f"ask {place.owner} to cancel it")
            if await cancel_build(session, build, user):
                what = f"build {build.id}"
                write_down(session, Actor(user.name, address), "build cancelled", what, place.name)
        await self.context.doorbell.ring(BUILDS, RANKS, CHANGED)

    async def run_again(
        self, user: User, run_id: int, values: Mapping[str, Any], unread: Mapping[str, str] | None = None
    ) -> Run:
        """With other values, if there are any (hermes.again). Raises NotFound, Refused, Wrong."""
        async with self.context.database.write() as session:
            run, place = await find_run(session, user, run_id)
            if not (place.repo.public or await may_write(session, user, place.repo)):
                raise Refused(NOT_YOURS, f"ask {place.owner} to make you a collaborator")
            await check_trusted(session, self.context.settings, user)
            plan, which = await self._plan(session, user, run, values, unread or {})
            await check_queue(session, self.context.settings, user.id, len(plan.ranks), "this run")
            fresh = await run_again(session, run, user, plan, which)
        await self.context.doorbell.ring(RANKS, CHANGED)
        return fresh

    async def _plan(
        self,
        session: AsyncSession,
        user: User,
        run: Run,
        values: Mapping[str, Any],
        unread: Mapping[str, str],
    ) -> tuple[Plan, str]:
        """And which of its ranks, if not all."""
        others = {key: value for key, value in values.items() if key != ONLY}
        plan, which = Plan.model_validate(run.plan), ""
        if ONLY in values:
            if twice := sorted(key for key in others if key.startswith("ranks.")):
                raise Wrong({ONLY: f"{ONLY} keeps ranks as they were: leave out {' and '.join(twice)}"})
            plan, which = await only_these(session, run, values[ONLY])
        if not others and not unread:
            return plan, which
        here = await look_at_instance(session, self.context.settings, self.images, self.pools)
        return change(plan, others, here.as_seen_by(user.name), unread), which


def actions_of(site: Site) -> Actions:
    """What the buttons of this site do."""
    return Actions(site.context, site.images, site.pools)


def routes(site: Site) -> list[Route]:
    """Forms of the pages."""
    actions = actions_of(site)

    async def cancel_one_run(request: Request) -> Response:
        run_id = number(request.path_params, "run")
        run = await actions.cancel_run(await site.user(request), run_id, address(request))
        return RedirectResponse(f"/runs/{run.id}", 303)

    async def keep_one_run(request: Request) -> Response:
        run_id = number(request.path_params, "run")
        run = await actions.keep_run(await site.user(request), run_id, address(request))
        return RedirectResponse(f"/runs/{run.id}", 303)

    async def release_one_run(request: Request) -> Response:
        run_id = number(request.path_params, "run")
        run = await actions.release_run(await site.user(request), run_id, address(request))
        return RedirectResponse(f"/runs/{run.id}", 303)

    async def cancel_one_build(request: Request) -> Response:
        build_id = number(request.path_params, "build")
        await actions.cancel_build(await site.user(request), build_id, address(request))
        return RedirectResponse(f"/builds/{build_id}", 303)

    return [
        Route("/runs/{run}/cancel", cancel_one_run, methods=["POST"]),
        Route("/runs/{run}/keep", keep_one_run, methods=["POST"]),
        Route("/runs/{run}/unkeep", release_one_run, methods=["POST"]),
        Route("/builds/{build}/cancel", cancel_one_build, methods=["POST"]),
    ]
