"""The OpenAPI 3.1 document of the API, made from its table: nothing in it is written twice."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from hermes import __version__
from web.account_answers import TokenMade
from web.answers import BuildAnswer, ErrorAnswer, RunAnswer
from web.endpoint import Also, Content, Endpoint
from web.guard import VERSION_HEADER

_REF = "#/components/schemas/"
#: What each error status means, wherever it comes.
ERRORS = {
    400: "the query or the body is wrong; it says where",
    401: "no token, or one that is not valid (any more)",
    403: "you may see this, and not do that",
    404: "it does not exist, or you may not know that it does",
    405: "this address does not take that method",
    409: "it contradicts an earlier request: with the same Idempotency-Key, or of the same upload",
    412: "another version of the protocol than ours",
    413: "the body is too large",
    415: "the body is not of a type that is read here",
    416: "the range begins after the end",
    423: "another request does this now",
    429: "too often; `Retry-After` says when again",
    500: "a mistake of ours, which was written down",
    507: "no room on the disk of the service; `Retry-After` says when again",
    503: "a part of the service does not answer; `Retry-After` says when again",
}
#: What an answer leads on to: names in paths, from its fields.
_LEADS: dict[type[BaseModel], dict[str, str]] = {
    RunAnswer: {"run": "id", "build": "build"},
    BuildAnswer: {"build": "id"},
    TokenMade: {"token_id": "id"},
}
_INSTANCE = ("version", "limits", "images", "gpus", "manifest", "openapi")
_INTRODUCTION = """Git pushes build and run; this API looks at what came of them and asks for more.

Send a token as `Authorization: Bearer hermes_…`. What you may not see is answered as if it did not exist.
Lists come in pages: `next` is the address of the following one, or null. Times are Unix seconds in UTC."""


def errors_of(endpoint: Endpoint) -> list[int]:
    """The error statuses that it may answer with."""
    found = {429, 500, 503, *endpoint.errors}
    if endpoint.needs_token:
        found.add(401)
    if endpoint.path_names:
        found.add(404)
    if endpoint.query is not None:
        found.add(400)
    if endpoint.body is not None or endpoint.raw_body is not None:
        found |= {400, 413, 415}
    return sorted(found)


def tag_of(endpoint: Endpoint) -> str:
    """What it is about: the first word of its path."""
    word = endpoint.path.split("/")[1].partition(".")[0]
    return {"user": "users", "callback-secret": "functions"}.get(
        word, "instance" if word in _INSTANCE else word
    )


class Document:
    """Made once from the table."""

    def __init__(self, endpoints: Sequence[Endpoint], public_url: str) -> None:
        self.endpoints = endpoints
        self._public_url = public_url
        models: list[tuple[type[BaseModel], JsonSchemaMode]] = [(ErrorAnswer, "serialization")]
        for each in endpoints:
            answers = (each.answer, *(also.model for also in each.others.values()))
            models += [(model, "serialization") for model in answers if model]
            models += [(model, "validation") for model in (each.query, each.body) if model]
        self._refs, made = models_json_schema(list(dict.fromkeys(models)), ref_template=_REF + "{model}")
        self.schemas: dict[str, Any] = made["$defs"]

    def whole(self) -> dict[str, Any]:
        """The document."""
        paths: dict[str, dict[str, Any]] = {}
        for each in self.endpoints:
            paths.setdefault(each.shown_path, {})[each.method.lower()] = self._operation(each)
        queries = {self.name_of(each.query, "validation") for each in self.endpoints if each.query}
        schemas = {name: schema for name, schema in self.schemas.items() if name not in queries}
        header = {"description": "which Hermes answers", "schema": {"type": "string"}}
        return {
            "openapi": "3.1.0",
            "info": {"title": "Hermes", "version": __version__, "description": _INTRODUCTION},
            "servers": [{"url": self._public_url}],
            "security": [{"token": []}],
            "tags": [{"name": name} for name in dict.fromkeys(tag_of(each) for each in self.endpoints)],
            "paths": paths,
            "components": {
                "schemas": schemas,
                "headers": {"version": header},
                "responses": {str(status): self._error(status) for status in ERRORS},
                "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            },
        }

    def name_of(self, model: type[BaseModel], mode: JsonSchemaMode = "serialization") -> str:
        """What the document calls a model."""
        return str(self._refs[model, mode]["$ref"]).removeprefix(_REF)

    def query_of(self, endpoint: Endpoint) -> Mapping[str, Mapping[str, Any]]:
        """The schemas of what may stand in the query, by name."""
        if endpoint.query is None:
            return {}
        found: Mapping[str, Any] = self.schemas[self.name_of(endpoint.query, "validation")]["properties"]
        return found

    def _operation(self, endpoint: Endpoint) -> dict[str, Any]:
        summary, description = endpoint.words
        operation: dict[str, Any] = {
            "operationId": endpoint.name,
            "tags": [tag_of(endpoint)],
            "summary": summary,
            "parameters": self._parameters(endpoint),
            "responses": self._responses(endpoint),
        }
        if description:
            operation["description"] = description
        if not endpoint.needs_token:
            operation["security"] = []
        if endpoint.body is not None:
            schema = {"$ref": _REF + self.name_of(endpoint.body, "validation")}
            operation["requestBody"] = {"content": {"application/json": {"schema": schema}}}
            operation["requestBody"]["required"] = bool(self._required(endpoint.body))
        elif endpoint.raw_body is not None:
            operation["requestBody"] = {"content": _content(endpoint.raw_body), "required": False}
        return operation

    def _required(self, model: type[BaseModel]) -> Any:
        return self.schemas[self.name_of(model, "validation")].get("required")

    def _parameters(self, endpoint: Endpoint) -> list[dict[str, Any]]:
        names = endpoint.path_names
        found: list[dict[str, Any]] = [
            {"name": name, "in": "path", "required": True, "schema": endpoint.path_schema(name)}
            for name in names
        ]
        for name, schema in self.query_of(endpoint).items():
            parameter: dict[str, Any] = {"name": name, "in": "query", "schema": _no_nul(_plain(schema))}
            if words := schema.get("description"):
                parameter["description"] = words
            found.append(parameter)
        for name, words in endpoint.headers.items():
            schema = {"type": "string"}
            found.append({"name": name, "in": "header", "schema": schema, "description": words})
        return found

    def _responses(self, endpoint: Endpoint) -> dict[str, Any]:
        words = (endpoint.answer.__doc__ or "").strip().partition("\n")[0] if endpoint.answer else ""
        words = words or (endpoint.content.words if endpoint.content else "done")
        also = {endpoint.status: Also(words, endpoint.answer, endpoint.content), **endpoint.others}
        found = {str(status): self._response(each) for status, each in also.items()}
        return found | {str(each): {"$ref": f"#/components/responses/{each}"} for each in errors_of(endpoint)}

    def _response(self, answer: Also) -> dict[str, Any]:
        content = _content(answer.content) if answer.content else {}
        if answer.model is not None:
            content["application/json"] = {"schema": {"$ref": _REF + self.name_of(answer.model)}}
        headers = {VERSION_HEADER: {"$ref": "#/components/headers/version"}}
        more = {"content": content, "links": self._links(answer.model)}
        return {
            "description": answer.words,
            "headers": headers,
            **{name: it for name, it in more.items() if it},
        }

    def _links(self, model: type[BaseModel] | None) -> dict[str, Any]:
        """To every operation whose whole address is known then."""
        leads = _LEADS.get(model, {}) if model else {}
        return {
            each.name: {
                "operationId": each.name,
                "parameters": {name: f"$response.body#/{leads[name]}" for name in each.path_names},
            }
            for each in self.endpoints
            if each.path_names and set(each.path_names) <= set(leads)
        }

    def _error(self, status: int) -> dict[str, Any]:
        schema = {"$ref": _REF + self.name_of(ErrorAnswer)}
        headers = {VERSION_HEADER: {"$ref": "#/components/headers/version"}}
        if status in (429, 503):
            headers["Retry-After"] = {"description": "seconds", "schema": {"type": "integer"}}  # type: ignore[dict-item]
        content = {"application/json": {"schema": schema}}
        return {"description": ERRORS[status], "headers": headers, "content": content}


def _content(content: Content) -> dict[str, Any]:
    return {each: {"schema": content.schemas.get(each, {"type": "string"})} for each in content.types}


def _plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Of a value in a query: nothing there is null, and its name and words stand beside it."""
    rest = {key: value for key, value in schema.items() if key not in ("title", "description", "default")}
    if "anyOf" in rest:
        rest["anyOf"] = [each for each in rest["anyOf"] if each != {"type": "null"}]
        if len(rest["anyOf"]) == 1:
            return dict(rest["anyOf"][0])
    if schema.get("default") not in (None, ""):
        rest["default"] = schema["default"]
    return rest


def _no_nul(schema: dict[str, Any]) -> dict[str, Any]:
    """Nothing in a query holds a NUL (web.reading refuses it)."""
    if schema.get("type") == "string" and not schema.keys() & {"pattern", "enum", "const", "format"}:
        return schema | {"pattern": "^[^\\u0000]*$"}
    if "items" in schema:
        schema = schema | {"items": _no_nul(schema["items"])}
    if "anyOf" in schema:
        schema = schema | {"anyOf": [_no_nul(each) for each in schema["anyOf"]]}
    return schema
