"""`/functions/{owner}/{function}/uploads`: files dropped here start runs; which file became what."""

from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from hermes.errors import TooLarge, UserError
from hermes.functions import Function, FunctionName, find_function, find_repo_of
from hermes.inputs import Intake
from hermes.plan import Plan
from hermes.repos import may_write
from hermes.tables import Repo, Upload, User
from hermes.uploads import Uploads, check_wanted, page_address
from web import upload_parts
from web.files import artifact_url
from web.inbox import Inbox, Named, uploads_of
from web.intake import Form, boundary_of
from web.newest import NO_BOUND
from web.rates import check_rate
from web.site import Site, number
from web.upload_parts import function_of, refused
from web.upload_rows import of_function, read_rows, rows_query
from web.visitor import actor

_PER_PAGE = 50


@dataclass(frozen=True)
class Place:
    """The function that takes them; without patterns it takes none, and `trouble` may say why."""

    name: FunctionName
    repo: Repo
    patterns: list[str]
    may_upload: bool
    trouble: UserError | None = None


@dataclass(frozen=True)
class Said:
    """What was wrong with files that were sent; so many of them have started all the same."""

    error: UserError | None = None
    started: int = 0
    of: int = 0


class _Files(Form):
    """What a browser sends without scripts: each file goes to an intake of its own. Nothing starts before the
    end of the form, so one that breaks off starts nothing."""

    def __init__(self, inbox: Inbox, function: Function) -> None:
        self.inbox, self.function = inbox, function
        self.intakes: list[Intake] = []
        super().__init__(inbox.intake())

    def place_of(self, name: str, file: str) -> str | None:
        if name != "file" or not file:
            return None
        check_wanted(self.function, file)
        most = self.inbox.site.context.settings.input_files
        if len(self.intakes) >= most:
            raise TooLarge(
                f"more than {most} files at once", "send the rest after these (HERMES_INPUT_FILES)"
            )
        self.intake = self.inbox.intake()
        self.intakes.append(self.intake)
        return file


@dataclass(frozen=True)
class UploadPages:
    """The handlers."""

    site: Site
    uploads: Uploads
    inbox: Inbox = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "inbox", Inbox(self.site, self.uploads))

    async def show(self, request: Request) -> Response:
        """The page."""
        user = await self.site.reader(request)
        return await self._page(request, user, function_of(request), Said())

    async def send(self, request: Request) -> Response:
        """A form with files; or by a script one file as the body, whose name is `?path=`."""
        user, name = await self.site.user(request), function_of(request)
        if path := request.query_params.get("path"):
            return await self._take_one(request, user, Named(name, path))
        said = await self._take_all(request, user, name)
        if said.error is not None:
            return await self._page(request, user, name, said)
        return RedirectResponse(page_address(name.owner, name.name), 303)

    async def _take_one(self, request: Request, user: User, where: Named) -> Response:
        try:
            recorded = await self.inbox.take(request, user, where)
        except UserError as error:
            return refused(error)
        return JSONResponse({"upload": recorded.upload_id, "run": recorded.run_id}, 201)

    async def _take_all(self, request: Request, user: User, name: FunctionName) -> Said:
        boundary = boundary_of(request)
        function = await self.uploads.invoker.function(user, name)
        if boundary is None:
            raise UserError("no file was sent", "choose one, or send it with ?path=NAME")
        form, started, count = _Files(self.inbox, function), 0, 0
        try:
            async with self.uploads.watched_over(actor(request, user), str(name)):
                await form.read(request, boundary)
                if not form.intakes:
                    raise UserError("no file was chosen", "choose at least one")
                count = len(form.intakes)
                while form.intakes:
                    check_rate(self.site, user)
                    await self.inbox.settle(user, function, form.intakes.pop(0))
                    started += 1
        except UserError as error:
            return Said(error, started, count)
        finally:
            for intake in form.intakes:
                await intake.discard()
        return Said()

    async def _page(self, request: Request, user: User | None, name: FunctionName, said: Said) -> Response:
        context = self.site.context
        wanted = request.query_params.get("name", "")[:1024].replace("\0", "")
        before = number(request.query_params, "before") or NO_BOUND
        place = await self._place(user, name)
        async with context.database.read() as session:
            found = rows_query().where(of_function(place.repo, name), Upload.id < before)
            if wanted:
                found = found.where(Upload.name == wanted)
            page = found.order_by(Upload.id.desc()).limit(_PER_PAGE + 1)
            rows = await read_rows(session, context.paths, page)
        values = {
            "place": place,
            "owner": name.owner,
            "rows": rows[:_PER_PAGE],
            "older": rows[_PER_PAGE - 1].upload.id if len(rows) > _PER_PAGE else 0,
            "is_first": before == NO_BOUND,
            "wanted": wanted,
            "said": said,
            "artifact_url": artifact_url,
            "largest": context.settings.input_size,
        }
        status = 200 if said.error is None else said.error.status
        return self.site.look.page(request, "uploads.html", values, status)

    async def _place(self, user: User | None, name: FunctionName) -> Place:
        async with self.site.context.database.read() as session:
            repo = await find_repo_of(session, user, name)
            may = user is not None and (repo.public or await may_write(session, user, repo))
            try:
                function = await find_function(session, user, name, self.site.context.paths)
            except UserError as error:  # nothing that could run
                return Place(name, repo, [], may, error)
        return Place(name, repo, Plan.model_validate(function.build.plan).uploads, may)


def routes(site: Site) -> list[Route]:
    """Who sees a repo, sees them; who may run it, uploads."""
    pages, one = UploadPages(site, uploads_of(site)), "/functions/{owner}/{function}/uploads"
    own = [Route(one, pages.show, methods=["GET"]), Route(one, pages.send, methods=["POST"])]
    return own + upload_parts.routes(site, pages.uploads)
