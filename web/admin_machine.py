"""`/admin/images`, `/admin/runners`, `/admin/settings`: what this instance stands on, for admins only."""

import time

from sqlalchemy import select
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hermes.audit import write_down
from hermes.errors import Unavailable, UserError
from hermes.executors import choose_executor
from hermes.executors.base import Executor
from hermes.instance import FRESH_S
from hermes.quarantine import list_quarantined, release
from hermes.settings import settings_in_force
from hermes.tables import Runner
from web.forms import Outcome, done, read_form
from web.site import Site
from web.visitor import actor


class Machine:
    """The handlers. The engine is opened by the first who asks for it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._executor: Executor | None = None

    async def images(self, request: Request) -> Response:
        """What `hermes images` shows."""
        await self.site.admin(request)
        there, trouble = {}, ""
        try:
            if self._executor is None:
                self._executor, _ = await choose_executor(self.site.context.settings)
            for name, image in self.site.images.items():
                there[name] = await self._executor.has_image(image.reference)
        except Unavailable as error:
            trouble = str(error)
        return self.site.page(
            request, "admin_images.html", images=self.site.images, there=there, trouble=trouble
        )

    async def runners(self, request: Request) -> Response:
        """All that ever showed themselves, and their GPUs in quarantine."""
        await self.site.admin(request)
        return await self._runners(request, done(request))

    async def _runners(self, request: Request, outcome: Outcome) -> Response:
        async with self.site.context.database.read() as session:
            rows = (await session.scalars(select(Runner).order_by(Runner.name))).all()
            away = await list_quarantined(session)
        values = {"runners": rows, "away": away, "alive_after": time.time() - FRESH_S, "outcome": outcome}
        return self.site.look.page(request, "admin_runners.html", values, outcome.status)

    async def release(self, request: Request) -> Response:
        """Give a GPU away again, and remember why it was thought to be well."""
        admin = await self.site.admin(request)
        typed = await read_form(request)
        uuid, why = typed.get("gpu", ""), typed.get("why", "").strip()
        try:
            if not uuid or not why:
                raise UserError("say why this GPU is well again", "for example: reset, memory test passed")
            async with self.site.context.database.write() as session:
                for each in await release(session, uuid):
                    words = f"{why}; it was in quarantine: {each.reason}"
                    subject = f"{each.name} of {each.runner}"
                    write_down(session, actor(request, admin), "GPU released", subject, words)
        except UserError as error:
            return await self._runners(request, Outcome("release", error, typed))
        return RedirectResponse("/admin/runners?done=release", 303)

    async def settings(self, request: Request) -> Response:
        """As this process has read them."""
        await self.site.admin(request)
        found = settings_in_force(self.site.context.settings)
        return self.site.page(request, "admin_settings.html", settings=found)


def routes(site: Site) -> list[Route]:
    """For admins; there is no such page for anybody else."""
    machine = Machine(site)
    return [
        Route("/admin/images", machine.images, methods=["GET"]),
        Route("/admin/runners", machine.runners, methods=["GET"]),
        Route("/admin/runners", machine.release, methods=["POST"]),
        Route("/admin/settings", machine.settings, methods=["GET"]),
    ]
