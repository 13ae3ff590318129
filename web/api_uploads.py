"""`/api/v1/functions/{owner}/{function}/inbox…`, `…/uploads` and `/uploads/{upload}`."""

from typing import Annotated

from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from hermes.errors import NotFound, UserError
from hermes.functions import FunctionName, find_function, find_repo_of, parse_function
from hermes.plan import Plan
from hermes.repos import visible_to
from hermes.tables import Upload
from web.api_invoke import FunctionAddress
from web.endpoint import PREFIX, Also, Asked, Content, Endpoint, Id, Name
from web.inbox import Inbox, named, uploads_of
from web.newest import NO_BOUND
from web.reading import Query
from web.site import Site
from web.tus import Parts
from web.upload_answers import UploadAnswer, UploadPage
from web.upload_rows import of_function, read_rows, rows_query
from web.upload_shapes import fresh_answer, upload_answer

_FILE = Content(("application/octet-stream",), "the file, byte for byte")
_PART = Content(
    ("application/offset+octet-stream", "application/octet-stream"), "the bytes from `Upload-Offset` on"
)
_JSON = "application/json"
_REFUSED = (400, 403, 409, 413, 507)
_KEY = {"Idempotency-Key": "the same key and file again within a day: no second run"}
_DIGEST = {"Repr-Digest": "`sha-256=:BASE64:`: only this file is taken", "X-Checksum-Sha256": "or in hex"}
_TUS = {"Tus-Resumable": "`1.0.0`"}


class UploadsQuery(Query):
    """A page of them, and which."""

    name: Annotated[str, Field(max_length=1024, description="of files of exactly this name")] = ""
    limit: Annotated[int, Field(ge=1, le=100, description="how many")] = 30
    before: Annotated[int, Field(ge=1, le=NO_BOUND, description="only uploads older than this one")] = (
        NO_BOUND
    )


class UploadsApi:
    """The handlers."""

    def __init__(self, site: Site) -> None:
        self.site, self.context = site, site.context
        self.base = site.context.settings.public_url
        uploads = uploads_of(site)
        self.inbox, self.parts = Inbox(site, uploads), Parts(site, uploads)

    async def put_file(self, asked: Asked, owner: Name, function: FunctionAddress, path: str) -> Response:
        """Upload a file: when all of it is here, it starts a run.

        The name has to match `on.upload` of the function's manifest. The program finds the file at
        `$HERMES_INPUT_FILE`. Each upload has a run of its own, also of a name that was uploaded before."""
        recorded = await self.inbox.take(asked.request, asked.user, named(asked.request, path))
        if recorded.row is not None:  # all that can be known of it
            answer = fresh_answer(recorded.row, recorded.function, asked.user, self.base)
        else:
            answer = await self._record(asked, recorded.upload_id)
        headers = {"Location": self._address(recorded.upload_id), "X-Hermes-Run": str(recorded.run_id)}
        status = 201 if recorded.is_new else 200
        return Response(answer.model_dump_json(), status, headers, _JSON)

    async def announce_file(self, asked: Asked, owner: Name, function: FunctionAddress) -> Response:
        """Announce a file that is sent in parts, and resumed where it broke off: tus 1.0.

        `Upload-Metadata: path BASE64` is its name. What is not finished is kept for a day."""
        number = await self.parts.begin(asked, parse_function(f"{owner}/{function}"))
        headers = self.parts.headers(Location=self._address(number))
        return Response((await self._record(asked, number)).model_dump_json(), 201, headers, _JSON)

    async def get_upload(self, asked: Asked, upload: Id) -> Response:
        """One upload: how much of it is here, and its run.

        With HEAD, as tus 1.0 has it, `Upload-Offset` says where its sender goes on."""
        if asked.request.method == "HEAD":
            return await self.parts.look(asked, upload)
        return Response((await self._record(asked, upload)).model_dump_json(), 200, {}, _JSON)

    async def send_part(self, asked: Asked, upload: Id) -> Response:
        """More of a file that was announced; the last of it starts the run."""
        return await self.parts.go_on(asked, upload)

    async def drop_upload(self, asked: Asked, upload: Id) -> Response:
        """Take back a file that was announced and is not whole."""
        return await self.parts.drop(asked, upload)

    async def list_uploads(
        self, asked: Asked, owner: Name, function: FunctionAddress, query: UploadsQuery
    ) -> UploadPage:
        """Files that were uploaded to a function, the newest first, and what came of them."""
        name = parse_function(f"{owner}/{function}")
        async with self.context.database.read() as session:
            repo = await find_repo_of(session, asked.user, name)
            found = rows_query().where(of_function(repo, name), Upload.id < query.before)
            if query.name:
                found = found.where(Upload.name == query.name)
            page = found.order_by(Upload.id.desc()).limit(query.limit + 1)
            rows = await read_rows(session, self.context.paths, page)
            patterns = await self._patterns(session, asked, name)
        shown = rows[: query.limit]
        address = f"{self.base}{PREFIX}/functions/{owner}/{function}/uploads"
        more = len(rows) > query.limit
        return UploadPage(
            function=f"{owner}/{name.name}",
            patterns=patterns,
            uploads=[upload_answer(each, self.base) for each in shown],
            next=query.following(address, before=shown[-1].upload.id) if more else None,
        )

    async def _record(self, asked: Asked, number: int) -> UploadAnswer:
        query = rows_query().where(Upload.id == number, visible_to(asked.user))
        async with self.context.database.read() as session:
            rows = await read_rows(session, self.context.paths, query)
        if not rows:
            raise NotFound("there is no such upload that you may see")
        return upload_answer(rows[0], self.base)

    async def _patterns(self, session: AsyncSession, asked: Asked, name: FunctionName) -> list[str]:
        try:
            found = await find_function(session, asked.user, name, self.context.paths)
        except UserError:  # nothing was built yet
            return []
        return Plan.model_validate(found.build.plan).uploads

    def _address(self, number: int) -> str:
        return f"{self.base}{PREFIX}/uploads/{number}"


def endpoints(site: Site) -> list[Endpoint]:
    """In the order of the documents."""
    api = UploadsApi(site)
    one, upload = "/functions/{owner}/{function}", "/uploads/{upload}"
    announced = _TUS | _DIGEST | {"Upload-Length": "its size in bytes", "Upload-Metadata": "`path BASE64`"}
    went_on = _TUS | {"Upload-Offset": "how many bytes are here"}
    again = {200: Also("this key was asked with before", UploadAnswer)}
    return [
        Endpoint(
            "PUT",
            f"{one}/inbox/{{path:path}}",
            api.put_file,
            status=201,
            errors=_REFUSED,
            model=UploadAnswer,
            raw_body=_FILE,
            others=again,
            headers=_KEY | _DIGEST,
        ),
        Endpoint(
            "POST",
            f"{one}/inbox",
            api.announce_file,
            status=201,
            errors=(*_REFUSED, 412),
            model=UploadAnswer,
            headers=announced,
        ),
        Endpoint("GET", upload, api.get_upload, model=UploadAnswer),
        Endpoint("PATCH", upload, api.send_part, 204, (*_REFUSED, 412, 423), raw_body=_PART, headers=went_on),
        Endpoint("DELETE", upload, api.drop_upload, 204, (409,)),
        Endpoint("GET", f"{one}/uploads", api.list_uploads),
    ]
