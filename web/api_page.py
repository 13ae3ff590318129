"""`/api`: what the API can do, for people to read, made from the same table as the API itself."""

from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from web.endpoint import PREFIX, Endpoint
from web.openapi import ERRORS, Document, errors_of, tag_of
from web.site import Site
from web.visitor import SignInNeeded


@dataclass(frozen=True)
class Field:
    """A name in a query, a body or an answer."""

    name: str
    kind: str
    words: str
    is_required: bool
    model: str  # whose fields it has


@dataclass(frozen=True)
class Shown:
    """One row of the table."""

    endpoint: Endpoint
    summary: str
    description: str
    query: list[Field]
    body: str  # the name of a model
    answer: str
    errors: list[int]


def with_code(text: str) -> Markup:
    """Words of ours, in which `code` stands between backticks."""
    parts = str(text).split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part)
        for place, part in enumerate(parts)
    )


def kind_of(schema: Mapping[str, Any]) -> tuple[str, str]:
    """`list of RunAnswer`, and the model in it."""
    if "$ref" in schema:
        model = str(schema["$ref"]).rpartition("/")[2]
        return model, model
    if "anyOf" in schema:
        kinds = [kind_of(each) for each in schema["anyOf"]]
        return " or ".join(dict.fromkeys(kind for kind, _ in kinds)), next((m for _, m in kinds if m), "")
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"])), ""
    kind = schema.get("type", "anything")
    if kind == "array":
        inner, model = kind_of(schema.get("items", {}))
        return f"list of {inner}", model
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        inner, model = kind_of(schema["additionalProperties"])
        return f"table of {inner}", model
    return " or ".join(kind) if isinstance(kind, list) else str(kind), ""


def fields_of(schema: Mapping[str, Any]) -> list[Field]:
    """The properties of a model."""
    required = set(schema.get("required", ()))
    return [
        Field(name, *_kind(each), is_required=name in required, model=kind_of(each)[1])
        for name, each in schema.get("properties", {}).items()
    ]


def _kind(schema: Mapping[str, Any]) -> tuple[str, str]:
    return kind_of(schema)[0], str(schema.get("description", ""))


def _shown(document: Document, endpoint: Endpoint) -> Shown:
    summary, description = endpoint.words
    body, answer = endpoint.body, endpoint.answer
    return Shown(
        endpoint=endpoint,
        summary=summary,
        description=description,
        query=fields_of({"properties": document.query_of(endpoint)}),
        body=document.name_of(body, "validation") if body else "",
        answer=document.name_of(answer) if answer else "",
        errors=errors_of(endpoint),
    )


def page_of(site: Site, document: Document) -> Route:
    """For everybody: it says nothing of this instance."""
    parts: dict[str, list[Shown]] = defaultdict(list)
    for each in document.endpoints:
        parts[tag_of(each)].append(_shown(document, each))
    queries = {document.name_of(each.query, "validation") for each in document.endpoints if each.query}
    models = {name: schema for name, schema in document.schemas.items() if name not in queries}
    values = {
        "parts": list(parts.items()),
        "models": {
            name: (schema.get("description", ""), fields_of(schema), schema.get("enum", []))
            for name, schema in sorted(models.items())
        },
        "statuses": ERRORS,
        "prefix": PREFIX,
        "code": with_code,
    }

    async def page(request: Request) -> Response:
        with suppress(SignInNeeded):
            await site.visitor(request)  # for the name at the top
        return site.look.page(request, "api.html", values)

    return Route("/api", page)
