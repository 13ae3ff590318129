"""The body of `POST /api/v1/runs/{n}/again`: tables and keys as in a manifest."""

import json
import shlex
from typing import Any

from starlette.requests import Request

from hermes.again import Wrong
from hermes.errors import UserError

_SHAPE = '{"run": {"args": ["5"]}, "gpu": {"count": 1}, "ranks": {"repeat": 2, "parameters": [{"n": "1"}]}}'


async def other_values(request: Request) -> dict[str, Any]:
    """{key: value}, empty for an empty body. Raises UserError."""
    body = await request.body()
    if not body.strip():
        return {}
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UserError(f"the body is not JSON: {error}", f"for example {_SHAPE}") from None
    return tables_of(asked)


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
