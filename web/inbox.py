"""A file that is uploaded in one request: streamed to disk, and a run when it is whole."""

from collections.abc import AsyncIterator
from typing import NamedTuple

from starlette.requests import Request

from hermes.errors import TooLarge, UserError
from hermes.functions import Function, FunctionName, parse_function
from hermes.growing import check_digest, said_digest
from hermes.inputs import Intake
from hermes.tables import User
from hermes.units import show_size
from hermes.uploads import Incoming, Recorded, Uploads
from web.rates import check_rate
from web.site import Site
from web.visitor import actor


class Named(NamedTuple):
    """Where a file is to go."""

    function: FunctionName
    path: str

    @property
    def subject(self) -> str:
        """For the audit log."""
        return f"{self.function} {self.path}"


def named(request: Request, path: str) -> Named:
    """By the address. Raises UserError."""
    return Named(parse_function("{owner}/{function}".format(**request.path_params)), path)


def uploads_of(site: Site) -> Uploads:
    """Of this instance."""
    return Uploads(site.context, site.invoker)


class Inbox:
    """Takes whole files."""

    def __init__(self, site: Site, uploads: Uploads) -> None:
        self.site, self.uploads = site, uploads

    async def take(self, request: Request, user: User, where: Named) -> Recorded:
        """The body of a request is the file. Raises UserError, and then nothing of it stays."""
        async with self.uploads.watched_over(actor(request, user), where.subject):
            check_whole(request)
            digest = said_digest(request.headers)
            function = await self.uploads.function(user, where.function, where.path)
            check_rate(self.site, user)
            check_size(self.site, int(request.headers.get("content-length", "0")))
            intake, paths = self.intake(), self.site.context.paths
            try:
                await fill(intake, where.path, request.stream())
                await check_digest(paths.input(intake.stored[0].token), digest)
            except BaseException:
                await intake.discard()
                raise
            key = request.headers.get("idempotency-key", "")
            return await self.settle(user, function, intake, digest, key)

    def intake(self) -> Intake:
        """For one file."""
        return Intake(self.site.context.paths, self.site.context.settings.input_size, 1)

    async def settle(
        self, user: User, function: Function, intake: Intake, digest: str = "", key: str = ""
    ) -> Recorded:
        """The run of a file that is here, or nothing of it stays. Where nobody knows, as we end amid it, it
        stays until the sweep of inputs has looked for its run."""
        incoming = Incoming(intake.stored[0], f"uploaded by {user.name}", digest, key)
        try:
            recorded = await self.uploads.record(user, function, incoming)
        except UserError:
            await intake.discard()
            raise
        if not recorded.is_new:
            await intake.discard()
        return recorded


async def fill(intake: Intake, name: str, pieces: AsyncIterator[bytes]) -> None:
    """All of one file. Raises UserError."""
    await intake.begin(name)
    async for piece in pieces:
        if piece:
            await intake.write(piece)
    await intake.end()


def check_whole(request: Request) -> None:
    """Raises UserError for a part of a file."""
    if "content-range" in request.headers:
        raise UserError(
            "a PUT brings a whole file, and this has a Content-Range",
            "send it whole, or in parts by tus 1.0: POST …/inbox, then PATCH (docs/triggers.md)",
        )


def check_size(site: Site, size_bytes: int) -> None:
    """Raises TooLarge before any of it is read."""
    limit = site.context.settings.input_size
    if size_bytes > limit:
        raise TooLarge(
            f"the file has {show_size(size_bytes)}, more than {show_size(limit)}",
            "send less, or ask the operator (HERMES_INPUT_SIZE)",
        )
