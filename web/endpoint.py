"""One row of the API's table: a method, a path, and a handler whose signature says all the rest."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel, Field, TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from hermes.audit import Actor
from hermes.errors import NotFound
from hermes.tables import Token, User
from web.reading import read_json, read_model, read_query
from web.site import Site, as_number
from web.visitor import actor, program

PREFIX = "/api/v1"
Handler = Callable[..., Awaitable[BaseModel | Response | None]]

Id = Annotated[int, Field(ge=1, le=(1 << 53) - 1)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$")]
Sha = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{7,40}$")]


@dataclass(frozen=True)
class Asked:
    """A request of somebody who has shown a token."""

    request: Request
    user: User
    token: Token

    @property
    def by(self) -> Actor:
        """Who acts, for the audit log."""
        return actor(self.request, self.user)


@dataclass(frozen=True)
class Content:
    """What is no model: of which types, what it is, and schemas of types of which more can be said."""

    types: tuple[str, ...]
    words: str
    schemas: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Also:
    """What else it may answer, and that is no error."""

    words: str
    model: type[BaseModel] | None = None
    content: Content | None = None


@dataclass(frozen=True)
class Endpoint:
    """`handler(asked, run, query, body)`: the names in the path, and `query` and `body` if it has such; who
    takes a Request in place of Asked is open to everybody. Its docstring is what the documents say."""

    method: str
    path: str
    handler: Handler
    status: int = 200
    errors: tuple[int, ...] = ()  # besides those that follow from the signature
    location: str = ""  # of what was made, `/runs/{id}`, from fields of the answer
    content: Content | None = None  # of an answer that is no model
    raw_body: Content | None = None  # read by the handler itself
    model: type[BaseModel] | None = None  # of an answer that the handler writes itself
    others: Mapping[int, Also] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)  # of the request: what they are for

    @cached_property
    def hints(self) -> dict[str, Any]:
        """The types of the handler's parameters and of its answer."""
        return get_type_hints(self.handler, include_extras=True)

    @cached_property
    def needs_token(self) -> bool:
        """Whether nobody may ask without one."""
        return Request not in self.hints.values()

    @cached_property
    def path_names(self) -> list[str]:
        """The names in the path that the handler takes, in its order."""
        given = inspect.signature(self.handler).parameters
        return [name for name in given if f"{{{name}}}" in self.shown_path]

    @property
    def shown_path(self) -> str:
        """As documents write it, with the prefix."""
        return PREFIX + self.path.replace(":path}", "}")

    @cached_property
    def query(self) -> type[BaseModel] | None:
        """The model of the query, or what describes one that the handler reads itself."""
        return self._described("query")

    @cached_property
    def body(self) -> type[BaseModel] | None:
        """The model of the body, or what describes a JSON object that the handler reads itself."""
        return self._described("body")

    def _described(self, name: str) -> type[BaseModel] | None:
        hint = self.hints.get(name)
        return get_args(hint)[1] if get_origin(hint) is Annotated else hint

    def _is_raw(self, name: str) -> bool:
        return get_origin(self.hints[name]) is Annotated

    @cached_property
    def answer(self) -> type[BaseModel] | None:
        """The model of the answer; None: bytes, or nothing."""
        hint = self.hints.get("return")
        return hint if isinstance(hint, type) and issubclass(hint, BaseModel) else self.model

    @cached_property
    def words(self) -> tuple[str, str]:
        """The first sentence of the docstring, and the rest of it."""
        first, _, rest = inspect.cleandoc(self.handler.__doc__ or "").partition("\n")
        return first.strip(), rest.strip()

    @property
    def name(self) -> str:
        """What programs that are generated from the document call it."""
        return getattr(self.handler, "__name__", "")

    def path_schema(self, name: str) -> dict[str, Any]:
        """What can stand at a name in the path."""
        return TypeAdapter(self.hints[name]).json_schema()

    async def reply(self, site: Site, request: Request) -> Response:
        """Read what is asked for, ask the handler, write its answer."""
        asked: Asked | Request = request
        if self.needs_token:
            identity = await program(request, site.context)
            asked = Asked(request, identity.user, identity.token)
        found = await self.handler(asked, **self._from_path(request), **await self._values(request))
        if isinstance(found, Response):
            return found
        if found is None:
            return Response(status_code=self.status)
        headers = {}
        if self.location:
            where = self.location.format(**dict(found))
            headers["Location"] = f"{site.context.settings.public_url}{PREFIX}{where}"
        return Response(found.model_dump_json(), self.status, headers, "application/json")

    def _from_path(self, request: Request) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name in self.path_names:
            text = str(request.path_params[name])
            if "\0" in text:  # no name of ours has one, and PostgreSQL takes none
                raise NotFound("there is no such thing")
            is_number = self.path_schema(name).get("type") == "integer"
            values[name] = as_number(text) if is_number else text
        return values

    async def _values(self, request: Request) -> dict[str, Any]:
        values: dict[str, Any] = {}
        if self.query is not None:
            raw = self._is_raw("query")
            values["query"] = request.query_params if raw else read_query(request, self.query)
        if self.body is not None:
            raw = self._is_raw("body")
            values["body"] = await read_json(request) if raw else await read_model(request, self.body)
        return values
