"""The requests that upload a file: in one, or in parts that go on where they broke off (tus 1.0)."""

import base64

from hermes.client.body import Body
from hermes.client.calls import Call, quoted
from hermes.client.invocation import function_path

_TUS = {"Tus-Resumable": "1.0.0"}
_PART = "application/offset+octet-stream"
_SILENCE_S = 120.0  # all of it has to be on disk before the server says so


def uploads_call(function: str) -> Call:
    """What the function takes, and the newest that it got."""
    return Call("GET", f"{function_path(function)}/uploads", [("limit", "1")])


def put_call(function: str, path: str, body: Body, key: str) -> Call:
    """A whole file; `key` makes it safe to ask twice."""
    headers = {"Content-Type": "application/octet-stream", "Idempotency-Key": key}
    place = f"{function_path(function)}/inbox/{quoted(path)}"
    return Call("PUT", place, content=body, headers=headers, silence_s=_SILENCE_S)


def announce_call(function: str, path: str, size_bytes: int) -> Call:
    """A file that comes in parts."""
    name = base64.b64encode(path.encode()).decode()
    headers = _TUS | {"Upload-Length": str(size_bytes), "Upload-Metadata": f"path {name}"}
    return Call("POST", f"{function_path(function)}/inbox", headers=headers)


def upload_call(number: int) -> Call:
    """How much of it is there, and which run it has started."""
    return Call("GET", f"/uploads/{number}")


def part_call(number: int, offset: int, body: Body) -> Call:
    """The bytes from one on."""
    headers = _TUS | {"Upload-Offset": str(offset), "Content-Type": _PART}
    return Call("PATCH", f"/uploads/{number}", content=body, headers=headers, silence_s=_SILENCE_S)
