"""The body of `POST /api/v1/runs/{n}/again`: tables and keys as in a manifest."""

import shlex
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from starlette.requests import Request

from hermes.again import Wrong
from hermes.arguments import Text
from hermes.errors import UserError
from hermes.manifest import Size, Span
from web.reading import Body, read_json

_Number = Annotated[int, Field(ge=0, le=9999)]
_Parameter = Annotated[str, Field(max_length=4096)]
_SHAPE = '{"run": {"args": ["5"]}, "gpu": {"count": 1}, "ranks": {"only": [3, 7]}}'


def _unset(schema: dict[str, Any]) -> None:
    """No key has a default: what is left out is as in the run before."""
    for each in schema["properties"].values():
        each.pop("default", None)


class _Table(Body):
    model_config = ConfigDict(json_schema_extra=_unset)


class AgainRun(_Table):
    """Keys of `[run]`."""

    args: list[Text] | str = Field(default=[], description="words, or one text that is split as in a shell")
    env: dict[str, Text] = Field(default={}, description="the whole table")
    timeout: Span = 3600.0
    cpus: float = Field(default=1.0, gt=0)
    memory: Size = 1 << 30


class AgainGpu(_Table):
    """Keys of `[gpu]`."""

    count: int = Field(default=0, ge=0, le=64)
    memory: Size | None = Field(default=None, description="of each GPU at least; null: any")


class AgainRanks(_Table):
    """Keys of `[ranks]`."""

    parameters: list[dict[str, _Parameter]] = Field(
        default=[{}], description="one set for each rank", min_length=1
    )
    only: Literal["failed"] | list[_Number] = Field(
        default=[],
        description="some ranks of that run, with their numbers: these, or those that failed",
    )
    repeat: int = Field(default=1, ge=1, le=10_000, description="how many ranks each set gets")


class AgainBody(_Table):
    """What is to be another value than in the run before. This describes it: it is read as a manifest is,
    and its mistakes are said in the same words."""

    run: AgainRun = AgainRun()
    gpu: AgainGpu = AgainGpu()
    ranks: AgainRanks = AgainRanks()


async def other_values(request: Request) -> dict[str, Any]:
    """Of a request: {key: value}, empty for an empty body. Raises UserError."""
    return tables_of(await read_json(request))


def tables_of(asked: Any) -> dict[str, Any]:
    """{"run": {"args": …}} as {"run.args": …}. Raises UserError."""
    if not isinstance(asked, dict) or not all(isinstance(table, dict) for table in asked.values()):
        raise UserError("the body must be an object of tables", f"for example {_SHAPE}")
    values = {f"{table}.{name}": value for table, keys in asked.items() for name, value in keys.items()}
    if isinstance(words := values.get("run.args"), str):  # as a push option
        try:
            values["run.args"] = shlex.split(words)
        except ValueError as error:
            raise Wrong({"run.args": f"run.args: {error}"}) from None
    return values
