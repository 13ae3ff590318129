"""Uploads in parts, by tus 1.0 (https://tus.io/protocols/resumable-upload): core, creation, termination.

Where a sender goes on is the size of the file on disk, so a restart of ours costs nothing but its time."""

import asyncio
import base64
import binascii
from collections.abc import Mapping

from sqlalchemy import delete, select
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from hermes.errors import Conflict, NotFound, UserError
from hermes.faultpoint import faultpoint
from hermes.functions import FunctionName
from hermes.growing import Growing, make_growing, said_digest
from hermes.inputs import Stored
from hermes.tables import Upload, User
from hermes.threads import in_thread
from hermes.uploads import Uploads
from web.endpoint import Asked
from web.inbox import Named, check_size
from web.rates import check_rate
from web.reading import UnsupportedType
from web.site import Site, as_number

VERSION = "1.0.0"
_TYPES = ("application/offset+octet-stream", "application/octet-stream")
_MOST_DIGITS = 16


class WrongVersion(UserError):
    """Another protocol than ours."""

    code = "wrong_version"
    status = 412


class Parts:
    """The handlers."""

    def __init__(self, site: Site, uploads: Uploads) -> None:
        self.site, self.context, self.uploads = site, site.context, uploads
        self._writing: dict[int, asyncio.Task[None]] = {}

    def headers(self, **more: str) -> dict[str, str]:
        """Of every answer."""
        limit = {"Tus-Max-Size": str(self.context.settings.input_size)}
        about = {"Tus-Version": VERSION, "Tus-Extension": "creation,termination"}
        named = {name.replace("_", "-"): value for name, value in more.items()}
        return {"Tus-Resumable": VERSION, "Cache-Control": "no-store", **about, **limit, **named}

    async def begin(self, asked: Asked, function: FunctionName) -> int:
        """A file is announced; returns its number."""
        request, user = asked.request, asked.user
        _check_version(request)
        where = Named(function, _path_of(request.headers.get("upload-metadata", "")))
        async with self.uploads.watched_over(asked.by, where.subject):
            size_bytes = _number(request, "Upload-Length")
            digest = said_digest(request.headers)
            found = await self.uploads.function(user, function, where.path)
            check_rate(self.site, user)
            check_size(self.site, size_bytes)
            token = await in_thread(make_growing, self.context.paths)
            file = Stored(where.path, token, size_bytes)
            number = await self.uploads.announce(user, found, file, digest)
            if not size_bytes:
                await self._finish(asked, await self._find(user, number))
        return number

    async def look(self, asked: Asked, number: int) -> Response:
        """How much of it is here."""
        upload = await self._find(asked.user, number)
        await self._take_over(upload.id)
        received = await in_thread(self._received, upload)
        if upload.run_id is None and received == upload.size_bytes:
            await self._finish(asked, upload)
        headers = self.headers(Upload_Offset=str(received), Upload_Length=str(upload.size_bytes))
        return Response(status_code=200, headers=headers)

    async def go_on(self, asked: Asked, number: int) -> Response:
        """More of it."""
        request, upload = asked.request, await self._find(asked.user, number)
        _check_version(request)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in _TYPES:
            raise UnsupportedType(f"a part of an upload is sent as {_TYPES[0]}", "as tus 1.0 says it")
        offset = _number(request, "Upload-Offset")
        received = upload.size_bytes
        if upload.run_id is None:
            await self._take_over(upload.id)
            if await in_thread(self._received, upload) < upload.size_bytes:
                received = await self._append(request, upload, offset)
                faultpoint("upload.received")
            if received == upload.size_bytes:
                await self._finish(asked, upload)
        elif offset != upload.size_bytes:
            raise Conflict(f"all of upload {number} is here", "GET its record")
        return Response(status_code=204, headers=self.headers(Upload_Offset=str(received)))

    async def drop(self, asked: Asked, number: int) -> Response:
        """Its sender wants it no more."""
        upload = await self._find(asked.user, number)
        await self._take_over(upload.id)
        async with self.context.database.write() as session:
            waits = (Upload.id == upload.id, Upload.run_id.is_(None))
            gone = await session.scalars(delete(Upload).where(*waits).returning(Upload.id))
            if gone.first() is None:
                raise Conflict(
                    f"upload {number} is whole and has started its run",
                    "cancel the run if you do not want it",
                )
        path = self.context.paths.input(upload.token)
        await in_thread(path.unlink, missing_ok=True)
        return Response(status_code=204, headers=self.headers())

    async def _find(self, user: User, number: int) -> Upload:
        async with self.context.database.read() as session:
            query = select(Upload).where(Upload.id == number, Upload.user_id == user.id)
            found = (await session.scalars(query.where(Upload.watch_id.is_(None)))).first()
        if found is None:
            raise NotFound("there is no such upload of yours", "one that was not finished is kept for a day")
        return found

    def _received(self, upload: Upload) -> int:
        if upload.run_id is not None:
            return upload.size_bytes
        try:
            return self.context.paths.input(upload.token).stat().st_size
        except FileNotFoundError:
            raise NotFound("what came of this upload was removed", "begin it anew") from None

    async def _take_over(self, number: int) -> None:
        """Whose connection broke comes back before we know that it did: the newest request goes on."""
        if (task := self._writing.get(number)) is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _append(self, request: Request, upload: Upload, offset: int) -> int:
        """How much is here then."""
        growing = await in_thread(Growing, self.context.paths.input(upload.token))
        task = asyncio.create_task(_receive(request, growing, upload.size_bytes, offset))
        self._writing[upload.id] = task
        try:
            await asyncio.wait({task})
            if task.cancelled():
                raise Conflict("another request goes on with this upload", "ask where it is (HEAD)")
            task.result()
        finally:
            task.cancel()
            await asyncio.wait({task})
            if self._writing.get(upload.id) is task:
                del self._writing[upload.id]
            growing.close()
        return growing.size_bytes

    async def _finish(self, asked: Asked, upload: Upload) -> None:
        """All of it is here: a run. Raises UserError; then what is here stays for a day."""
        await self.uploads.finish(asked.by, asked.user, upload)


async def _receive(request: Request, growing: Growing, whole_bytes: int, offset: int) -> None:
    """To the end of the request, or as far as it came: that is on disk then."""
    if offset != growing.size_bytes:
        raise Conflict(f"{growing.size_bytes} bytes are here, not {offset}", "go on there (HEAD tells)")
    taken = offset
    try:
        async for piece in request.stream():
            taken += len(piece)
            if taken > whole_bytes:
                raise UserError(
                    f"this is more than the {whole_bytes} bytes that were announced", "begin anew"
                )
            if piece:
                await growing.write(piece)
    except ClientDisconnect:
        await growing.settle(is_whole=False)
        raise
    except asyncio.CancelledError:
        await growing.settle(is_whole=False)
        raise
    await growing.settle(is_whole=taken == whole_bytes)


def _check_version(request: Request) -> None:
    said = request.headers.get("tus-resumable", "")
    if said != VERSION:
        raise WrongVersion(
            f"Tus-Resumable is {said[:20] or 'missing'}: this server speaks {VERSION}",
            f"send `Tus-Resumable: {VERSION}`",
        )


def _number(request: Request, name: str) -> int:
    text = request.headers.get(name, "")
    if not text.isascii() or not text.isdecimal() or len(text) >= _MOST_DIGITS:
        raise UserError(f"{name} is {text[:20]!r}: a number of bytes", f"send `{name}: 12345`")
    return as_number(text)


def _path_of(metadata: str) -> str:
    """The name in `Upload-Metadata`: `path`, or `filename` as most programs say it. Raises UserError."""
    found = _pairs(metadata)
    for key in ("path", "filename"):
        if found.get(key):
            return found[key]
    raise UserError("Upload-Metadata has no path", "send `Upload-Metadata: path BASE64`, as in img/a.png")


def _pairs(metadata: str) -> Mapping[str, str]:
    found = {}
    for each in metadata.split(","):
        name, _, value = each.strip().partition(" ")
        try:
            found[name] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise UserError(f"{name[:40]!r} of Upload-Metadata is not UTF-8 in base64", "") from None
    return found
