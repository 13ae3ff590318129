"""Queries and bodies of the API, read into models: a mistake is said by its name, with what is near to it."""

import json
from typing import Any, TypeVar, get_origin
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request

from hermes.errors import UserError
from hermes.manifest_file import explain

M = TypeVar("M", bound=BaseModel)
_MOST_PROBLEMS = 5


class Query(BaseModel):
    """What may stand after the `?`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def following(self, address: str, **place: int | str) -> str:
        """The address of the next page. Times in it are fixed: `2h` ago moves."""
        return f"{address}?{urlencode(self.model_dump(exclude_unset=True) | place, doseq=True)}"


class Body(BaseModel):
    """A JSON object that is sent: `1` is no `true` there, and no text."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class UnsupportedType(UserError):
    """A body of a kind that this address does not read."""

    code = "unsupported_type"
    status = 415


def read_query(request: Request, model: type[M]) -> M:
    """Raises UserError."""
    values: dict[str, Any] = {}
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    for name in request.query_params:
        given = request.query_params.getlist(name)
        field = fields.get(name)
        is_list = field is not None and get_origin(field.annotation) is list
        if not is_list and len(given) > 1:
            raise UserError(f"{name[:80]} stands {len(given)} times in the query", "name it once")
        if any("\0" in each for each in given):
            raise UserError(f"{name[:80]} holds a NUL", "leave it out")
        values[name] = given if is_list else given[0]
    return checked(model, values, "GET /api/v1/openapi.json lists what may stand in the query")


async def read_model(request: Request, model: type[M]) -> M:
    """The body. Raises UserError."""
    return checked(model, await read_json(request), "GET /api/v1/openapi.json describes the body")


async def read_json(request: Request) -> dict[str, Any]:
    """The object in the body, {} for an empty one. Raises UserError."""
    body = await request.body()
    if not body.strip():
        return {}
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise UnsupportedType(
            f"the body is {kind[:80] or 'of no type'}, not JSON", "send it with `curl --json '{…}'`"
        )
    try:
        found = json.loads(body, parse_constant=_no_number)
        json.dumps(found, ensure_ascii=False).encode()  # half a character (`\ud800`) can be stored nowhere
    except (ValueError, RecursionError) as error:
        raise UserError(f"the body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise UserError("the body must be a JSON object")
    return found


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number in JSON")


def checked(model: type[M], values: Any, hint: str) -> M:
    """Raises UserError."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [explain(model, each) for each in error.errors()[:_MOST_PROBLEMS]]
        raise UserError("; ".join(each[:300] for each in problems), hint) from None
