"""`/api/v1/functions/{owner}/{function}/outbox…`: what came of uploads, by the names of their files."""

from typing import Annotated
from urllib.parse import quote

from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from hermes.errors import NotFound
from hermes.functions import FunctionName, find_repo_of, parse_function
from hermes.tables import Repo, Upload
from web.api_invoke import FunctionAddress
from web.beside import find_beside, outputs_of
from web.endpoint import Also, Asked, Content, Endpoint, Name
from web.files import sent
from web.log_query import BYTES
from web.reading import Query
from web.site import Site
from web.upload_answers import OutboxPage, OutputAnswer
from web.upload_rows import newest_names, of_function, read_rows, rows_query
from web.upload_shapes import outbox_address, upload_answer

_OUTPUT = Content(("application/octet-stream",), "the file; or what lies at this path")


class OutboxQuery(Query):
    """A page of it."""

    limit: Annotated[int, Field(ge=1, le=1000, description="how many")] = 100
    after: Annotated[str, Field(max_length=2048, description="only what comes after this name")] = ""


class OutboxApi:
    """The handlers."""

    def __init__(self, site: Site) -> None:
        self.site, self.context = site, site.context
        self.base = site.context.settings.public_url

    async def list_outbox(
        self, asked: Asked, owner: Name, function: FunctionAddress, query: OutboxQuery
    ) -> OutboxPage:
        """What came of uploads, by their names: the newest of each."""
        name = parse_function(f"{owner}/{function}")
        async with self.context.database.read() as session:
            repo = await find_repo_of(session, asked.user, name)
            return await self._folder(session, repo, name, "", query)

    async def get_outbox(
        self, asked: Asked, owner: Name, function: FunctionAddress, path: str, query: OutboxQuery
    ) -> Response:
        """A file that came of the newest upload of a name, at `NAME/FILE`; or what lies at this path."""
        name = parse_function(f"{owner}/{function}")
        async with self.context.database.read() as session:
            repo = await find_repo_of(session, asked.user, name)
            found = await find_beside(session, repo, name, path.rstrip("/"))
            if found is None:
                page = await self._folder(session, repo, name, path.rstrip("/"), query)
            else:
                page = await self._of_upload(session, owner, name, found.upload, query)
        if found is not None and found.artifact is not None:
            return await sent(self.site, asked.request, found.artifact)
        if not page.uploads and not query.after:
            whole = outbox_address("", owner, name.name)
            raise NotFound(f"nothing lies at {path[:120]!r}", f"GET {whole} lists what there is")
        return Response(page.model_dump_json(), 200, {}, "application/json")

    async def _folder(
        self, session: AsyncSession, repo: Repo, name: FunctionName, folder: str, query: OutboxQuery
    ) -> OutboxPage:
        ids = await newest_names(session, of_function(repo, name), folder, query.after, query.limit + 1)
        found = rows_query().where(Upload.id.in_(ids)).order_by(Upload.name)
        rows = await read_rows(session, self.context.paths, found)
        shown, following = rows[: query.limit], None
        if len(rows) > query.limit:
            address = outbox_address(self.base, name.owner, name.name, folder)
            following = query.following(address, after=shown[-1].upload.name)
        uploads = [upload_answer(each, self.base) for each in shown]
        return OutboxPage(path=folder, uploads=uploads, outputs=[], next=following)

    async def _of_upload(
        self, session: AsyncSession, owner: str, name: FunctionName, upload: Upload, query: OutboxQuery
    ) -> OutboxPage:
        placed = [each for each in await outputs_of(session, upload) if each[1] > query.after]
        rows = await read_rows(session, self.context.paths, rows_query().where(Upload.id == upload.id))
        address = outbox_address(self.base, owner, name.name, upload.name)
        shown = placed[: query.limit]
        outputs = [
            OutputAnswer(
                path=place, size_bytes=each.size_bytes, sha256=each.sha256, url=f"{address}/{quote(place)}"
            )
            for each, place in shown
        ]
        following = query.following(address, after=shown[-1][1]) if len(placed) > query.limit else None
        uploads = [upload_answer(each, self.base) for each in rows]
        return OutboxPage(path=upload.name, uploads=uploads, outputs=outputs, next=following)


def endpoints(site: Site) -> list[Endpoint]:
    """In the order of the documents."""
    api, one = OutboxApi(site), "/functions/{owner}/{function}"
    others = {206: Also("the range that was asked for", content=BYTES), 304: Also("you have it already")}
    return [
        Endpoint("GET", f"{one}/outbox", api.list_outbox),
        Endpoint(
            "GET",
            f"{one}/outbox/{{path:path}}",
            api.get_outbox,
            errors=(416,),
            model=OutboxPage,
            content=_OUTPUT,
            others=others,
        ),
    ]
