"""`POST /api/v1/functions/{owner}/{function}/runs`, `GET /api/v1/runs/{run}/output` and `…/result`."""

from typing import Annotated

from pydantic import Field
from starlette.datastructures import QueryParams
from starlette.responses import Response

from hermes.accounts import Identity
from web.answers import RunAnswer
from web.endpoint import Also, Asked, Content, Endpoint, Id, Name
from web.invoke import Invoke, check_invoked, sent_result
from web.log_query import BYTES, EVENT_SCHEMAS, Rank
from web.outflow import Had
from web.reading import Query
from web.site import Site
from web.sync import FRAMES, Call, check_room

FunctionAddress = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9_][a-z0-9_.-]{0,99}([:@].{1,200})?$",
        description="`pi`, `pi:1.0.0`, `pi@main`: a version, branch, tag or commit",
    ),
]
_PAIR = r"^[A-Za-z_][A-Za-z0-9_]{0,99}=[\x20-\x7e]*$"
_Pairs = list[Annotated[str, Field(pattern=_PAIR)]]
_BINARY = {"type": "string", "contentMediaType": "application/octet-stream"}
_FORM = {
    "type": "object",
    "properties": {
        "options": {"$ref": "#/components/schemas/AgainBody"},
        "stdin": _BINARY,
        "file": {"type": "array", "items": _BINARY},
    },
    "additionalProperties": False,
}
_OUTPUT = Content(
    ("application/octet-stream", "text/event-stream", FRAMES),
    "the output as it comes: stdout raw, or all streams as server-sent events or frames, as `Accept` asks",
    EVENT_SCHEMAS,
)
_INPUT = Content(
    ("application/octet-stream", "multipart/form-data"),
    "the bytes of the program's stdin; or a form with `options` (JSON, as of run again), `stdin` and any "
    "number of `file`, which lie in `$HERMES_INPUT_DIR`",
    {"multipart/form-data": _FORM},
)


class InvokeQuery(Query):
    """Other values than the manifest's, and how to answer. This describes it: web.invoke reads it."""

    mode: Annotated[str, Field(pattern="^(async|sync)$", description="`sync`: the output as it comes")] = (
        "async"
    )
    wait: Annotated[
        str, Field(pattern=r"^\d{1,3}(\.\d{1,3})?s?$", description="with async: seconds to wait for the end")
    ] = "0"
    arg: list[str] = Field(default_factory=list, description="one argument; may stand several times")
    env: _Pairs = Field(default_factory=list, description="`NAME=VALUE`; may stand several times")
    parameter: _Pairs = Field(default_factory=list, description="`NAME=VALUE`; may stand several times")
    run_args: Annotated[str, Field(alias="run.args", description="arguments, as in a shell")] = ""
    run_timeout: Annotated[str, Field(alias="run.timeout", description="`90s`, `15m`")] = ""
    run_cpus: Annotated[str, Field(alias="run.cpus", description="of each rank")] = ""
    run_memory: Annotated[str, Field(alias="run.memory", description="of each rank: `512M`, `4G`")] = ""
    gpu_count: Annotated[str, Field(alias="gpu.count", description="of each rank")] = ""
    gpu_memory: Annotated[str, Field(alias="gpu.memory", description="of each GPU at least")] = ""
    ranks_repeat: Annotated[str, Field(alias="ranks.repeat", description="how many ranks")] = ""


class ResultQuery(Query):
    """Whose."""

    rank: Rank = None
    attempt: Annotated[int, Field(ge=0, le=999_999, description="another attempt than the newest")] = 0
    download: Annotated[str, Field(pattern="^[01]$", description="1: with a file name")] = "0"


class OutputQuery(Query):
    """What is there already."""

    after: list[Annotated[str, Field(pattern=r"^\d{1,4}\.\d{1,6}\.\d{1,15}\.\d{1,15}$")]] = Field(
        default_factory=list,
        max_length=100,
        description="`RANK.ATTEMPT.STDOUT.STDERR`: leave out so many bytes of that attempt's streams",
    )

    def had(self) -> dict[int, Had]:
        """By rank."""
        numbers = [[int(part) for part in each.split(".")] for each in self.after]
        return {rank: Had(*rest) for rank, *rest in numbers}


class InvokeApi:
    """The handlers."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.invoke = Invoke(site)

    async def invoke_function(
        self, asked: Asked, owner: Name, function: FunctionAddress, query: Annotated[QueryParams, InvokeQuery]
    ) -> Response:
        """Run a built function with other inputs.

        `mode=async` answers with the record at once, or after `wait` seconds when it has ended by then.
        `mode=sync` answers with the output; raw, it ends with the trailers `X-Hermes-State` and
        `X-Hermes-Exit-Code`. A client that leaves does not end the run."""
        return await self.invoke.answer(asked.request, Identity(asked.user, asked.token))

    async def get_output(self, asked: Asked, run: Id, query: OutputQuery) -> Response:
        """What an invoked program writes, from its beginning to its end.

        As `mode=sync` of the invocation says it: stdout raw, or all streams as server-sent events or frames.
        Who has lost the connection resumes with it."""
        await check_invoked(self.site, asked.user, run)
        check_room(self.site, self.invoke.outcomes, asked.user)
        return Call(self.site, self.invoke.outcomes, asked.user, run, query.had()).answer(asked.request)

    async def get_result(self, asked: Asked, run: Id, query: ResultQuery) -> Response:
        """What an invoked program wrote to stdout, all of it, byte for byte.

        One `Range` is understood."""
        return await sent_result(self.site, asked.request, asked.user)


def endpoints(site: Site) -> list[Endpoint]:
    """In the order of the documents."""
    api = InvokeApi(site)
    headers = {
        "Idempotency-Key": "the same key and request again within a day: no second run",
        "X-Callback-Url": "gets the record when the run has ended",
    }
    return [
        Endpoint(
            "POST",
            "/functions/{owner}/{function:path}/runs",
            api.invoke_function,
            status=202,
            errors=(400, 403, 409),
            model=RunAnswer,
            raw_body=_INPUT,
            others={200: Also("`wait`: the record, ended; `mode=sync`: the output", RunAnswer, _OUTPUT)},
            headers=headers,
        ),
        Endpoint("GET", "/runs/{run}/output", api.get_output, errors=(429,), content=_OUTPUT),
        Endpoint(
            "GET",
            "/runs/{run}/result",
            api.get_result,
            errors=(416,),
            content=BYTES,
            others={206: Also("the range that was asked for", content=BYTES)},
        ),
    ]
