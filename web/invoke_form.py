"""The form of a function's page as an invocation: text, JSON or a file as stdin, more files, other values."""

import json
from collections.abc import Mapping

from starlette.requests import Request

from hermes.functions import Function
from hermes.inputs import Intake
from hermes.invocations import Invocation
from hermes.plan import Plan
from hermes.tables import STDIN
from web.again import from_typed
from web.intake import Form, boundary_of
from web.reading import UnsupportedType

UPLOAD, FILES = "upload", "file"
KINDS = ("text", "json")


class _PageForm(Form):
    """What a browser sends: a field for files in which none was chosen has an empty name."""

    def place_of(self, name: str, file: str) -> str | None:
        if not file:
            return None
        return {UPLOAD: STDIN, FILES: file}.get(name)


class Typed:
    """A form that was sent; `values` are its fields, as they were typed."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self.values: Mapping[str, str] = {}

    async def read(self, function: Function, intake: Intake) -> Invocation:
        """Raises UserError. What is wrong with a field is in `unread`, to be said with what else is."""
        boundary = boundary_of(self._request)
        if boundary is None:
            raise UnsupportedType("this form is sent as multipart/form-data", "open the page anew")
        form = _PageForm(intake)
        await form.read(self._request, boundary)
        fields = {name: bytes(data).decode("utf-8", "replace") for name, data in form.fields.items()}
        self.values = {"text": "", "kind": "text"} | fields
        values, unread = from_typed(self.values, Plan.model_validate(function.build.plan))
        unread |= await self._stdin(intake)
        return Invocation(values=values, inputs=intake.stored, unread=unread)

    async def _stdin(self, intake: Intake) -> dict[str, str]:
        """What is wrong with it, if anything is. Lines end as they do in files, not as forms send them."""
        text = self.values["text"].replace("\r\n", "\n")
        if not text:
            return {}
        if any(each.name == STDIN for each in intake.stored):
            return {"text": "there is a file for stdin, too: send one or the other"}
        if self.values["kind"] == "json":
            try:
                json.loads(text)
            except (ValueError, RecursionError) as error:
                return {"text": f"this is not JSON: {error}"}
        await intake.begin(STDIN)
        await intake.write(text.encode("utf-8", "replace"))
        await intake.end()
        return {}
