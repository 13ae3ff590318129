"""`/healthz`: would a push work? Redis and the runner may be away; then work only waits."""

import os

from sqlalchemy import text
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hermes.errors import HermesError
from hermes.instance import runners
from hermes.process import Context
from hermes.threads import in_thread
from web.site import Site


async def _state(context: Context) -> dict[str, object]:
    """Raises HermesError with the reason why a push would not work."""
    async with context.database.read() as session:
        await session.execute(text("SELECT 1"))
        alive = await runners(session)
    await in_thread(context.room.require)
    disk = os.statvfs(context.settings.data)
    redis = context.doorbell.connected
    return {
        "status": "ok",
        "degraded": not (redis and alive),
        "redis": redis,
        "runner": bool(alive),
        "gpus": sum(len(runner.gpus) for runner in alive),
        "disk_free_bytes": disk.f_bavail * disk.f_frsize,
    }


def routes(site: Site) -> list[Route]:
    """Open to everybody."""

    async def healthz(request: Request) -> Response:
        try:
            return JSONResponse(await _state(site.context))
        except (HermesError, OSError) as error:
            return JSONResponse({"status": "failing", "reason": str(error)}, 503, {"Retry-After": "10"})

    return [Route("/healthz", healthz)]
