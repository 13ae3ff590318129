"""What is asked of a function: its input and the values of this run, as the API takes them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from hermes.client.body import Body, Part
from hermes.client.calls import Call
from hermes.client.errors import ClientError
from hermes.client.frames import MEDIA_TYPE, Had

MOST_WAIT_S = 600.0  # what a server waits at most
_MOST_IN_ADDRESS = 4000  # characters of arguments; what is longer goes into the body
_SILENCE_S = 60.0  # a server that lives says so every 15 s
_JSON, _BYTES = "application/json", "application/octet-stream"


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
        params = [("mode", mode)] + ([("wait", f"{min(wait_s, MOST_WAIT_S):g}")] if wait_s else [])
        args = list(self.args or ())
        fits = sum(map(len, args)) < _MOST_IN_ADDRESS
        params += self._values() + ([("arg", arg) for arg in args] if fits else [])
        path = f"{function_path(self.function)}/runs"
        silence_s = wait_s + _SILENCE_S
        if fits and not self.inputs:
            headers |= {"Content-Type": "application/octet-stream", **_length(self.stdin)}
            return Call("POST", path, params, self.stdin, headers=headers, silence_s=silence_s)
        parts = self._parts([] if fits else args)
        return Call("POST", path, params, parts=parts, headers=headers, silence_s=silence_s)

    def _values(self) -> list[tuple[str, str]]:
        single = {
            "run.timeout": self.timeout,
            "run.cpus": self.cpus,
            "run.memory": self.memory,
            "gpu.count": self.gpus,
            "gpu.memory": self.gpu_memory,
            "ranks.repeat": self.repeat,
        }
        pairs = [(name, str(value)) for name, value in single.items() if value is not None]
        pairs += [("env", f"{name}={value}") for name, value in self.env.items()]
        return pairs + [("parameter", f"{name}={value}") for name, value in self.parameters.items()]

    def _parts(self, args: list[str]) -> list[Part]:
        options = json.dumps({"run": {"args": args}} if args else {}).encode()
        parts: list[Part] = [("options", (None, options, _JSON))]
        parts += [("file", (name, body, _BYTES)) for name, body in self.inputs.items()]
        return parts + ([] if self.stdin is None else [("stdin", ("stdin", self.stdin, _BYTES))])


def _length(stdin: Body | bytes | None) -> dict[str, str]:
    known = isinstance(stdin, Body) and stdin.size is not None
    return {"Content-Length": str(stdin.size)} if known and isinstance(stdin, Body) else {}


def output_call(number: int, had: Mapping[int, Had]) -> Call:
    """The request that follows a run that was started before."""
    after = [("after", f"{rank}.{each.attempt}.{each.stdout}.{each.stderr}") for rank, each in had.items()]
    headers = {"Accept": MEDIA_TYPE}
    return Call("GET", f"/runs/{number}/output", after, headers=headers, silence_s=_SILENCE_S)


def function_path(function: str) -> str:
    """`alice/pi@feature/x` → `/functions/alice/pi@feature%2Fx`. Raises ClientError."""
    owner, slash, name = function.partition("/")
    if not (owner and slash and name):
        raise ClientError(
            f"{function[:80]!r} names no function",
            "write OWNER/NAME, OWNER/NAME:VERSION or OWNER/NAME@BRANCH",
        )
    return f"/functions/{quote(owner, safe='')}/{quote(name, safe=':@')}"
