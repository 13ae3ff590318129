"""`POST /api/v1/functions/{function}/runs`: a built function with other inputs; `GET …/runs/{n}/result`."""

import json
import shlex
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from hermes.accounts import Identity
from hermes.again import Wrong
from hermes.errors import NotFound, UserError
from hermes.faultpoint import faultpoint
from hermes.functions import Function, FunctionName, parse_function
from hermes.inputs import Intake
from hermes.invocations import Invocation, Queued
from hermes.options import PARAMETER
from hermes.outward import check_url, parse_networks
from hermes.plan import Plan
from hermes.queue import RANKS
from hermes.removals import Data, refuse_removed
from hermes.tables import Run, User
from web.answers import RunAnswer
from web.intake import read_body
from web.lookup import find_rank, find_run
from web.outcome import Outcomes
from web.rates import check_rate
from web.rawlog import slice_of
from web.shapes import queued_answer
from web.site import Site, number, rank_asked
from web.sync import Call, check_room, record_of

_KEYS = ("run.args", "run.timeout", "run.cpus", "run.memory", "gpu.count", "gpu.memory", "ranks.repeat")
_NUMBERS = ("run.cpus", "gpu.count", "ranks.repeat")
_KNOWN = {*_KEYS, "arg", "env", "parameter", "mode", "wait"}
_MODES = ("async", "sync")
_MOST_WAIT_S = 600.0
Read = Callable[[Function, Intake], Awaitable[Invocation]]


class Started(NamedTuple):
    """What was asked for, and what came of it."""

    function: Function
    queued: Queued


class Invoke:
    """The handler."""

    def __init__(self, site: Site) -> None:
        self.site, self.context = site, site.context
        self.invoker = site.invoker
        self.outcomes = Outcomes(site.context)

    async def answer(self, request: Request, identity: Identity) -> Response:
        """A run; its output as it comes (mode=sync), or its record at once or after `wait` seconds."""
        mode, wait_s = _mode(request)
        if mode == "sync":
            check_room(self.site, self.outcomes, identity.user)
        function, queued = await self.start(request, identity)
        if mode == "sync":
            return Call(self.site, self.outcomes, identity.user, queued.run_id).answer(request)
        if queued.is_new and not wait_s:
            base = self.context.settings.public_url
            return accepted(queued_answer(queued, function, identity.user, base), 202)
        ended = bool(wait_s) and await self.outcomes.wait(queued.run_id, wait_s)
        return accepted(await record_of(self.site, identity.user, queued.run_id), 200 if ended else 202)

    async def start(self, request: Request, identity: Identity) -> Started:
        """Read the whole request and queue what it asks for. Raises UserError."""
        name = parse_function("{owner}/{function}".format(**request.path_params))

        async def read(_: Function, intake: Intake) -> Invocation:
            if callback_url := request.headers.get("x-callback-url", ""):
                check_url(callback_url, parse_networks(self.context.settings.callback_networks))
            return Invocation(
                values=(await read_body(request, intake)) | _values(request),
                env=_pairs(request, "env"),
                parameters=_pairs(request, "parameter"),
                inputs=intake.stored,
                callback_url=callback_url,
                key=request.headers.get("idempotency-key", ""),
            )

        return await self.start_as(identity.user, name, read)

    async def start_as(self, user: User, name: FunctionName, read: Read) -> Started:
        """Queue what `read` finds in a request. Raises UserError."""
        function = await self.invoker.function(user, name)  # before its input is read
        check_rate(self.site, user)
        settings = self.context.settings
        intake = Intake(self.context.paths, settings.input_size, settings.input_files)
        is_taken = False
        try:
            asked = await read(function, intake)
            faultpoint("invoke.stored")
            queued = await self.invoker.queue(user, function, asked)
            faultpoint("invoke.queued")
            is_taken = queued.is_new
        finally:
            if not is_taken:
                await intake.discard()
        await self.context.doorbell.ring(RANKS)
        return Started(function, queued)


async def check_invoked(site: Site, user: User, run_id: int) -> None:
    """Raises NotFound for a run whose streams are not kept, Gone for one whose were removed."""
    async with site.context.database.read() as session:
        run, _place = await find_run(session, user, run_id)
        _check_keeps(run)
        for what in (Data.RESULTS, Data.LOGS):  # stdout, and stderr
            await refuse_removed(session, what, run.id)


def _check_keeps(run: Run) -> None:
    if not Plan.model_validate(run.plan).keeps_result:
        raise NotFound(f"run {run.id} keeps no result: it was not invoked", "its log has what it printed")


async def find_result(site: Site, request: Request, user: User | None) -> tuple[Path, str]:
    """The file that holds what a rank wrote to stdout, and what to call it. Raises NotFound."""
    async with site.context.database.read() as session:
        run, _place = await find_run(session, user, number(request.path_params, "run"))
        rank = await find_rank(session, run.id, rank_asked(request.query_params))
        await refuse_removed(session, Data.RESULTS, run.id)
    _check_keeps(run)
    path = site.context.paths.result(rank.id, number(request.query_params, "attempt") or rank.attempt)
    return path, f"run-{run.id}" + f"-rank-{rank.number}" * (rank.number > 0) + ".out"


async def sent_result(site: Site, request: Request, user: User) -> Response:
    """All of it, or a range. Raises NotFound."""
    path, name = await find_result(site, request, user)
    return slice_of(request, path, name, "application/octet-stream")


def accepted(record: RunAnswer, status: int) -> Response:
    """The record, and where it is."""
    headers = {"Location": f"/api/v1/runs/{record.id}", "X-Hermes-Run": str(record.id)}
    return Response(record.model_dump_json(), status, headers, "application/json")


def _mode(request: Request) -> tuple[str, float]:
    if unknown := set(request.query_params) - _KNOWN:
        raise UserError(f"{min(unknown)[:80]!r} is no parameter", f"there are {', '.join(sorted(_KNOWN))}")
    mode, wait = request.query_params.get("mode", "async"), request.query_params.get("wait", "0")
    if mode not in _MODES:
        raise UserError(f"mode={mode[:80]}: there is {' and '.join(_MODES)}", "")
    try:
        wait_s = float(wait.removesuffix("s"))
    except ValueError:
        raise UserError(f"wait={wait[:80]}: write seconds, as in wait=30", "") from None
    if not 0 <= wait_s <= _MOST_WAIT_S:
        raise UserError(f"wait={wait[:80]}: from 0 to {_MOST_WAIT_S:.0f} seconds", "ask again after that")
    return mode, wait_s


def _values(request: Request) -> dict[str, Any]:
    query = request.query_params
    values: dict[str, Any] = {key: query[key] for key in _KEYS if key in query}
    for key in _NUMBERS:
        if key in values:
            values[key] = _number(key, values[key])
    if "run.args" in values:
        try:
            values["run.args"] = shlex.split(values["run.args"])
        except ValueError as error:
            raise Wrong({"run.args": f"run.args: {error}"}) from None
    if args := query.getlist("arg"):
        values["run.args"] = [*values.get("run.args", []), *args]
    return values


def _number(key: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise Wrong({key: f"{key} = {text[:80]!r} is no number"}) from None


def _pairs(request: Request, name: str) -> Mapping[str, str]:
    found = {}
    for pair in request.query_params.getlist(name):
        key, equals, value = pair.partition("=")
        if not equals or not PARAMETER.fullmatch(key):
            raise UserError(f"{name}={pair[:80]}: write {name}=NAME=VALUE", "NAME: letters, digits and _")
        found[key] = value
    return found
