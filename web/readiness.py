"""`/readyz`: would a push be built and run, now? Rows and files can be written, builder and runner are there.

`/healthz` asks for less: with the builder away pushes are still taken, and only wait."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from sqlalchemy import String, bindparam, column, select, table, update
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hermes.at_once import Ask
from hermes.errors import Unavailable
from hermes.process import Context
from hermes.room import look
from hermes.schema import compare
from hermes.tables import Counted
from hermes.threads import in_thread
from hermes.units import show_span
from web.gauges import Sign, signs
from web.site import Site

_GOOD_FOR_S = 2.0
_PATIENCE_S = 5.0
_WRITE = update(Counted).where(Counted.id == bindparam("row")).values(at=bindparam("now"))
_VERSION = select(column("version_num", String)).select_from(table("alembic_version"))
_DOCTOR = "hermes doctor, on the machine of the service, says what to do"


@dataclass(frozen=True)
class Reason:
    """Why not."""

    name: str
    found: str
    step: str = _DOCTOR


class Readiness:
    """Looked at once for all who ask within two seconds."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._reasons: list[Reason] = []
        self._looked_at = -_GOOD_FOR_S
        self._one_look = asyncio.Lock()

    async def reasons(self) -> list[Reason]:
        """None: ready."""
        async with self._one_look:
            if time.monotonic() - self._looked_at > _GOOD_FOR_S:
                self._reasons = [*await self._rows(), *await self._files()]
                self._looked_at = time.monotonic()
        return self._reasons

    async def _rows(self) -> list[Reason]:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                version, shown = await self._context.database.write_at_once(_write)
        except TimeoutError:
            return [Reason("database", f"it has not taken a row within {_PATIENCE_S:g} s")]
        except Unavailable as error:
            return [Reason("database", str(error))]
        schema = compare(version)
        if schema.found != schema.head:
            found = f"it has schema {schema.found}, and this program knows {schema.head}"
            return [Reason("schema", found, "restart the service with the program that was installed last")]
        return [*_of_kind("builder", shown), *_of_kind("runner", shown)]

    async def _files(self) -> list[Reason]:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                trouble = await in_thread(look, self._context.settings.data)
        except TimeoutError:
            return [Reason("data", f"nothing could be written there within {_PATIENCE_S:g} s")]
        return [Reason("data", trouble, "make room on its disk")] if trouble else []


def _write(ask: Ask) -> tuple[str, list[Sign]]:
    """Really a row: a transaction that writes nothing succeeds on a disk that is full."""
    now = time.time()
    ask(_WRITE, row=1, now=now)
    return str(ask(_VERSION)[0][0]), signs(ask, now)


def _of_kind(name: str, shown: list[Sign]) -> Iterator[Reason]:
    mine = [sign for sign in shown if sign.name == name]
    alive = [sign for sign in mine if sign.is_alive]
    if not alive:
        last_s = min((sign.age_s for sign in mine), default=None)
        found = "has never shown itself" if last_s is None else f"last showed itself {show_span(last_s)} ago"
        yield Reason(name, f"the {name} {found}")
    elif all(sign.trouble for sign in alive):
        yield Reason("executor", f"the {alive[0].executor} executor does not answer the {name}")


def routes(site: Site) -> list[Route]:
    """Open to everybody."""
    readiness = Readiness(site.context)

    async def readyz(request: Request) -> Response:
        reasons = await readiness.reasons()
        if not reasons:
            return JSONResponse({"status": "ready"})
        body = {"status": "not ready", "reasons": [asdict(reason) for reason in reasons]}
        return JSONResponse(body, 503, {"Retry-After": "10"})

    return [Route("/readyz", readyz)]
