"""`/api/v1/…/secrets`: what secrets there are, and new values for them. No answer has a value in it."""

from collections.abc import Awaitable, Callable

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hermes.audit import write_down
from hermes.errors import NotFound, UserError
from hermes.repos import get_readable, may_manage
from hermes.secret_keys import key_file
from hermes.secret_store import (
    Keeping,
    NewSecret,
    Secret,
    find_secret,
    list_secrets,
    remove_secret,
    set_secret,
)
from web.site import Site
from web.visitor import actor, program

_BODY = 'send {"value": "…", "branches": ["main"]} as JSON; branches may be left out'
_Whose = Callable[[Request], Awaitable[tuple[Keeping, str]]]


class SecretAnswer(BaseModel):
    """One secret; `branches` empty: the default branch."""

    name: str
    branches: list[str]
    user: str  # who set it
    created_at: float
    updated_at: float
    last_used_at: float | None


class SecretList(BaseModel):
    """All of one repository, or of a user."""

    secrets: list[SecretAnswer]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    value: str
    branches: list[str] = []


class SecretApi:
    """The handlers, of all secrets that `whose` finds, with what the audit log calls whose they are."""

    def __init__(self, site: Site, whose: _Whose) -> None:
        self._database, self._whose = site.context.database, whose
        self._key = key_file(site.context.settings)

    def routes(self, path: str) -> list[Route]:
        """Below `path`."""
        return [
            Route(path, self.index),
            Route(f"{path}/{{name}}", self.show),
            Route(f"{path}/{{name}}", self.put, methods=["PUT"]),
            Route(f"{path}/{{name}}", self.delete, methods=["DELETE"]),
        ]

    async def index(self, request: Request) -> Response:
        """By name."""
        keeping, _ = await self._whose(request)
        async with self._database.read() as session:
            found = await list_secrets(session, keeping)
        return _json(SecretList(secrets=[_answer(*each) for each in found]))

    async def show(self, request: Request) -> Response:
        """One of them."""
        keeping, _ = await self._whose(request)
        async with self._database.read() as session:
            return _json(_answer(*await find_secret(session, keeping, request.path_params["name"])))

    async def put(self, request: Request) -> Response:
        """Make or replace it."""
        keeping, whose = await self._whose(request)
        body, name = await _body(request), request.path_params["name"]
        new = NewSecret(name, body.value, tuple(body.branches))
        async with self._database.write() as session:
            is_new = await set_secret(session, self._key, keeping, new)
            write_down(
                session, actor(request, keeping.user), "secret set", whose, " ".join((name, *body.branches))
            )
            found = await find_secret(session, keeping, name)
        return _json(_answer(*found), 201 if is_new else 200)

    async def delete(self, request: Request) -> Response:
        """Remove it."""
        keeping, whose = await self._whose(request)
        async with self._database.write() as session:
            row = await remove_secret(session, keeping, request.path_params["name"])
            write_down(session, actor(request, keeping.user), "secret removed", whose, row.name)
        return Response(status_code=204)


async def _body(request: Request) -> _Body:
    """Raises UserError, whose words never repeat what was sent."""
    try:
        return _Body.model_validate_json(await request.body())
    except ValidationError as error:
        where = ", ".join(".".join(map(str, each["loc"])) or each["msg"] for each in error.errors())
        raise UserError(f"the body is not as it should be: {where[:200]}", _BODY) from None


def _answer(secret: Secret, user: str) -> SecretAnswer:
    return SecretAnswer(
        name=secret.name,
        branches=secret.branches,
        user=user,
        created_at=secret.created_at,
        updated_at=secret.updated_at,
        last_used_at=secret.last_used_at,
    )


def _json(answer: BaseModel, status: int = 200) -> Response:
    return Response(answer.model_dump_json(), status, media_type="application/json")


def routes(site: Site) -> list[Route]:
    """Of repositories, for who may change their settings; of users, for themselves."""

    async def of_repo(request: Request) -> tuple[Keeping, str]:
        user = (await program(request, site.context)).user
        owner, name = request.path_params["owner"], request.path_params["repo"]
        async with site.context.database.read() as session:
            repo = await get_readable(session, user, owner, name)
        if not may_manage(user, repo):
            raise NotFound("there are no secrets for you", f"ask {owner} for what is to be changed")
        return Keeping(user, repo), f"{owner}/{name}"

    async def of_user(request: Request) -> tuple[Keeping, str]:
        user = (await program(request, site.context)).user
        return Keeping(user), user.name

    return [
        *SecretApi(site, of_repo).routes("/api/v1/repos/{owner}/{repo}/secrets"),
        *SecretApi(site, of_user).routes("/api/v1/user/secrets"),
    ]
