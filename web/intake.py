"""The body of an invocation: raw bytes are its stdin, a form brings options, stdin and files.

It is read as it comes; nothing of it is held in memory, and nothing is kept unless a run comes of it."""

import json
from collections.abc import Mapping
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from hermes.errors import UserError
from hermes.inputs import Intake
from hermes.tables import STDIN
from web.wishes import tables_of

_MOST_OPTIONS_BYTES = 1 << 20
_FORM = "multipart/form-data"
_HOW = "parts are `options` (JSON), `stdin` and any number of `file`, each with a file name"


class UnsupportedType(UserError):
    """A body that is said to be what we do not take."""

    code = "unsupported_type"
    status = 415


async def read_body(request: Request, intake: Intake) -> dict[str, Any]:
    """All of it into `intake`; returns the values of the part `options`. Raises UserError."""
    kind, parameters = parse_options_header(request.headers.get("content-type", ""))
    if kind.decode("latin-1").lower() == _FORM:
        boundary = parameters.get(b"boundary")
        if not boundary:
            raise UnsupportedType("multipart/form-data without a boundary", f"let your client set it; {_HOW}")
        return await _Form(intake).read(request, boundary)
    began = False
    async for chunk in request.stream():
        if chunk:
            if not began:
                await intake.begin(STDIN)
                began = True
            await intake.write(chunk)
    if began:
        await intake.end()
    return {}


class _Form:
    """One form. The parser calls back in the middle of a piece; what it said is done after it."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._said: list[tuple[str, bytes]] = []
        self._header, self._headers = b"", dict[str, bytes]()
        self._part = ""
        self._options = bytearray()
        self._is_whole = False

    async def read(self, request: Request, boundary: bytes) -> dict[str, Any]:
        parser = MultipartParser(boundary, self._callbacks())  # type: ignore[arg-type]
        try:
            async for chunk in request.stream():
                parser.write(chunk)
                await self._do()
            parser.finalize()
        except FormParserError as error:
            raise UserError(f"this is no multipart/form-data: {error}", _HOW) from None
        if not self._is_whole:
            raise UserError("the form broke off before its end", "send all of it")
        return tables_of(_json(bytes(self._options))) if self._options.strip() else {}

    def _callbacks(self) -> Mapping[str, Any]:
        def piece(what: str) -> Any:
            return lambda data, start, end: self._said.append((what, data[start:end]))

        def moment(what: str) -> Any:
            return lambda: self._said.append((what, b""))

        pieces = {f"on_{what}": piece(what) for what in ("header_field", "header_value", "part_data")}
        moments = ("part_begin", "header_end", "headers_finished", "part_end", "end")
        return pieces | {f"on_{what}": moment(what) for what in moments}

    async def _do(self) -> None:
        said, self._said = self._said, []
        for what, data in said:
            await getattr(self, f"_{what}")(data)

    async def _part_begin(self, _: bytes) -> None:
        self._headers, self._header, self._value = {}, b"", b""

    async def _header_field(self, data: bytes) -> None:
        self._header += data

    async def _header_value(self, data: bytes) -> None:
        self._value += data

    async def _header_end(self, _: bytes) -> None:
        self._headers[self._header.decode("latin-1").lower()] = self._value
        self._header, self._value = b"", b""

    async def _headers_finished(self, _: bytes) -> None:
        _, parameters = parse_options_header(self._headers.get("content-disposition", b""))
        name = parameters.get(b"name", b"").decode("utf-8", "replace")
        file = parameters.get(b"filename", b"").decode("utf-8", "replace")
        if name not in ("options", "stdin", "file"):
            raise UserError(f"the form has a part {name[:80]!r}", _HOW)
        if name == "file" and not file:
            raise UserError("a part `file` has no file name", _HOW)
        self._part = name
        if name != "options":
            await self._intake.begin(STDIN if name == "stdin" else file)

    async def _part_data(self, data: bytes) -> None:
        if self._part != "options":
            await self._intake.write(data)
            return
        self._options += data
        if len(self._options) > _MOST_OPTIONS_BYTES:
            raise UserError("the options are larger than 1 MiB", "send files as files")

    async def _part_end(self, _: bytes) -> None:
        if self._part != "options":
            await self._intake.end()

    async def _end(self, _: bytes) -> None:
        self._is_whole = True


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"the options are not JSON: {error}", _HOW) from None
