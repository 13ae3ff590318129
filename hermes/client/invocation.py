"""What is asked of a function: its input and the values of this run, as the API takes them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from hermes.client.body import Body
from hermes.client.calls import Call
from hermes.client.errors import ClientError
from hermes.client.frames import MEDIA_TYPE

_MOST_IN_ADDRESS = 4000  # characters; what is longer goes into the body


@dataclass(frozen=True)
class Invocation:
    """A run to be: `function` is `owner/name`, `owner/name:version` or `owner/name@branch-tag-commit`.

    What is None is as the manifest says. `inputs`: {name: content}, found below `$HERMES_INPUT_DIR`."""

    function: str
    args: Sequence[str] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    timeout: str | None = None
    cpus: str | None = None
    memory: str | None = None
    gpus: int | None = None
    gpu_memory: str | None = None
    repeat: int | None = None
    stdin: Body | bytes | None = None
    inputs: Mapping[str, Body] = field(default_factory=dict)
    callback_url: str = ""
    idempotency_key: str = ""

    def call(self, mode: str, wait_s: float = 0.0) -> Call:
        """The request. Raises ClientError where `function` names none."""
        headers = {"X-Callback-Url": self.callback_url, "Idempotency-Key": self.idempotency_key}
        headers = {name: value for name, value in headers.items() if value}
        if mode == "sync":
            headers["Accept"] = MEDIA_TYPE
        params = [("mode", mode)] + ([("wait", f"{wait_s:g}")] if wait_s else [])
        path = f"{function_path(self.function)}/runs"
        query = self._query()
        if not self.inputs and sum(len(name) + len(value) for name, value in query) < _MOST_IN_ADDRESS:
            headers["Content-Type"] = "application/octet-stream"
            if isinstance(self.stdin, Body) and self.stdin.size is not None:
                headers["Content-Length"] = str(self.stdin.size)
            return Call("POST", path, params + query, self.stdin, headers=headers, is_patient=True)
        return Call("POST", path, params, parts=self._parts(), headers=headers, is_patient=True)

    def _query(self) -> list[tuple[str, str]]:
        single = {
            "run.timeout": self.timeout,
            "run.cpus": self.cpus,
            "run.memory": self.memory,
            "gpu.count": self.gpus,
            "gpu.memory": self.gpu_memory,
            "ranks.repeat": self.repeat,
        }
        pairs = [(name, str(value)) for name, value in single.items() if value is not None]
        pairs += [("arg", arg) for arg in self.args or ()]
        pairs += [("env", f"{name}={value}") for name, value in self.env.items()]
        return pairs + [("parameter", f"{name}={value}") for name, value in self.parameters.items()]

    def _parts(self) -> list[tuple[str, tuple[str | None, Any, str]]]:
        tables: dict[str, dict[str, Any]] = {
            "run": {
                "args": None if self.args is None else list(self.args),
                "env": dict(self.env) or None,
                "timeout": self.timeout,
                "cpus": self.cpus and float(self.cpus),
                "memory": self.memory,
            },
            "gpu": {"count": self.gpus, "memory": self.gpu_memory},
            "ranks": {
                "repeat": self.repeat,
                "parameters": [dict(self.parameters)] if self.parameters else None,
            },
        }
        said = {
            table: {key: value for key, value in keys.items() if value is not None}
            for table, keys in tables.items()
        }
        options = json.dumps({table: keys for table, keys in said.items() if keys})
        parts: list[tuple[str, tuple[str | None, Any, str]]] = [
            ("options", (None, options.encode(), "application/json"))
        ]
        parts += [("file", (name, body, "application/octet-stream")) for name, body in self.inputs.items()]
        if self.stdin is not None:
            parts.append(("stdin", ("stdin", self.stdin, "application/octet-stream")))
        return parts


def function_path(function: str) -> str:
    """`alice/pi@feature/x` → `/functions/alice/pi@feature%2Fx`. Raises ClientError."""
    owner, slash, name = function.partition("/")
    if not (owner and slash and name):
        raise ClientError(
            f"{function[:80]!r} names no function",
            "write OWNER/NAME, OWNER/NAME:VERSION or OWNER/NAME@BRANCH",
        )
    return f"/functions/{quote(owner, safe='')}/{quote(name, safe=':@')}"
