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
from web.reading import UnsupportedType
from web.wishes import tables_of

_MOST_FIELD_BYTES = 1 << 20
_FORM = "multipart/form-data"
_HOW = "parts are `options` (JSON), `stdin` and any number of `file`, each with a file name"


def boundary_of(request: Request) -> bytes | None:
    """Of a form; None: it is none. Raises UserError."""
    kind, parameters = parse_options_header(request.headers.get("content-type", ""))
    if kind.decode("latin-1").lower() != _FORM:
        return None
    boundary = parameters.get(b"boundary")
    if not boundary:
        raise UnsupportedType("multipart/form-data without a boundary", f"let your client set it; {_HOW}")
    return boundary


async def read_body(request: Request, intake: Intake) -> dict[str, Any]:
    """All of it into `intake`; returns the values of the part `options`. Raises UserError."""
    if boundary := boundary_of(request):
        form = _ApiForm(intake)
        await form.read(request, boundary)
        options = form.fields.get("options", bytearray())
        return tables_of(_json(bytes(options))) if options.strip() else {}
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


class Form:
    """One form. The parser calls back in the middle of a piece; what it said is done after it."""

    def __init__(self, intake: Intake) -> None:
        self.intake = intake
        self.fields: dict[str, bytearray] = {}  # parts that are no files
        self._said: list[tuple[str, bytes]] = []
        self._header, self._headers = b"", dict[str, bytes]()
        self._field: bytearray | None = None  # None: the part goes to the intake
        self._taken_bytes = 0
        self._is_whole = False

    def place_of(self, name: str, file: str) -> str | None:
        """Which input a part is; None: it is a field. Raises UserError."""
        raise NotImplementedError

    async def read(self, request: Request, boundary: bytes) -> None:
        """All of it. Raises UserError."""
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
        place = self.place_of(name, file)
        self._field = self.fields.setdefault(name, bytearray()) if place is None else None
        if place is not None:
            await self.intake.begin(place)

    async def _part_data(self, data: bytes) -> None:
        if self._field is None:
            await self.intake.write(data)
            return
        self._field += data
        self._taken_bytes += len(data)
        if self._taken_bytes > _MOST_FIELD_BYTES:
            raise UserError("what is no file is larger than 1 MiB", "send files as files")

    async def _part_end(self, _: bytes) -> None:
        if self._field is None:
            await self.intake.end()

    async def _end(self, _: bytes) -> None:
        self._is_whole = True


class _ApiForm(Form):
    """What programs send."""

    def place_of(self, name: str, file: str) -> str | None:
        if name not in ("options", "stdin", "file"):
            raise UserError(f"the form has a part {name[:80]!r}", _HOW)
        if name == "file" and not file:
            raise UserError("a part `file` has no file name", _HOW)
        return None if name == "options" else STDIN if name == "stdin" else file


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"the options are not JSON: {error}", _HOW) from None
