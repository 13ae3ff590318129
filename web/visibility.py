"""`/api/v1/repos/{owner}/{repo}/visibility`: whether everybody may read it, for programs."""

import json

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hermes.audit import write_down
from hermes.errors import Refused, UserError
from hermes.repos import get_readable, may_manage
from hermes.tables import Repo
from hermes.visibility import what_shows
from web.answers import VisibilityAnswer
from web.site import Site
from web.visitor import actor, program

_SHAPE = 'send {"public": true} or {"public": false}'


async def _wish(request: Request) -> bool:
    """Raises UserError."""
    try:
        asked = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise UserError(f"the body is not JSON: {error}", _SHAPE) from None
    if not isinstance(asked, dict) or not isinstance(asked.get("public"), bool) or len(asked) != 1:
        raise UserError("the body must say whether it is public, and nothing else", _SHAPE)
    return bool(asked["public"])


def routes(site: Site, address: str) -> list[Route]:
    """Who may read it asks; its owner and admins change it."""
    database = site.context.database

    async def answer(repo: Repo, name: str) -> Response:
        async with database.read() as session:
            shows = (await what_shows(session, repo.id))._asdict()
        model = VisibilityAnswer(repo=name, public=repo.public, shows=shows)
        return Response(model.model_dump_json(), media_type="application/json")

    async def visibility(request: Request) -> Response:
        user = (await program(request, site.context)).user
        owner, name = request.path_params["owner"], request.path_params["repo"]
        async with database.read() as session:
            repo = await get_readable(session, user, owner, name)
        path = f"{owner}/{name}"
        if request.method != "PUT":
            return await answer(repo, path)
        if not may_manage(user, repo):
            raise Refused("only its owner and admins change who may read it", f"ask {owner} to do it")
        public = await _wish(request)
        async with database.write() as session:
            repo = await session.get_one(Repo, repo.id)
            repo.public = public
            what = f"visibility={'public' if public else 'private'}"
            write_down(session, actor(request, user), "repo settings", path, what)
        return await answer(repo, path)

    return [Route(address, visibility, methods=["GET", "PUT"])]
