"""`/runs/{n}/again`: the same run once more, or with other values, each checked where it was typed."""

import shlex
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hermes.again import KEYS, Wrong, grid_of, parse_parameters
from hermes.errors import Refused
from hermes.plan import Plan
from hermes.some_ranks import FAILED, ONLY
from hermes.tables import User
from hermes.units import show_limit
from web.actions import NOT_YOURS, actions_of
from web.details import RunDetails
from web.environment import MASK, masked
from web.forms import read_form
from web.lookup import find_run
from web.rates import check_rate
from web.runs import PAGE, run_details
from web.site import Site, number

_MOST_LINES = 500  # of parameters that a form shows; more stay as they are
_UNITS = (("G", 30), ("M", 20), ("K", 10))


def show_exact_size(size_bytes: int) -> str:
    """As a manifest says it: `4G`, `1536M`."""
    for unit, power in _UNITS:
        if size_bytes and size_bytes % (1 << power) == 0:
            return f"{size_bytes >> power}{unit}"
    return str(size_bytes)


def as_typed(plan: Plan, only: str) -> dict[str, str]:
    """The fields of the form, filled in as in a run's plan; `only` some of its ranks, if not all."""
    fields = {
        "run.args": shlex.join(plan.args),
        "run.env": "\n".join(f"{name}={value}" for name, value in masked(plan.env).items()),
        "run.timeout": show_limit(plan.timeout_s).replace(" ", ""),
        "run.cpus": f"{plan.cpus:g}",
        "run.memory": show_exact_size(plan.memory_bytes),
        "gpu.count": str(plan.gpu.count),
        "gpu.memory": show_exact_size(plan.gpu.memory_bytes) if plan.gpu.memory_bytes else "",
    }
    if only:
        return fields | {ONLY: only}
    grid = grid_of(plan)
    fields["ranks.repeat"] = str(grid.repeat)
    if len(grid.parameters) <= _MOST_LINES:
        rows = (
            " ".join(f"{name}={shlex.quote(value)}" for name, value in row.items()) for row in grid.parameters
        )
        fields["ranks.parameters"] = "\n".join(rows)
    return fields


def from_typed(typed: Mapping[str, str], plan: Plan) -> tuple[dict[str, Any], dict[str, str]]:
    """What the form asks for, {key: value as in a manifest}; and what of it cannot be read, {key: why}."""
    readers: dict[str, Callable[[str], Any]] = {
        "run.args": _arguments,
        "run.env": partial(_environment, plan),
        "ranks.parameters": _parameters,
        "gpu.memory": lambda text: text or None,
    }
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for key in (*KEYS, ONLY):
        if key not in typed:
            continue
        try:
            values[key] = readers.get(key, str)(typed[key].strip())
        except Wrong as error:
            problems |= error.problems
    return values, problems


def _arguments(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise Wrong({"run.args": f"run.args: {error}"}) from None


def _parameters(text: str) -> list[dict[str, str]]:
    return parse_parameters([line for line in text.splitlines() if line.strip()]) or [{}]


def _environment(plan: Plan, text: str) -> dict[str, str]:
    """Lines of NAME=VALUE; a value that was not shown stays as it was."""
    found = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if not line.strip():
            continue
        if not equals:
            raise Wrong({"run.env": f"run.env: write NAME=VALUE in each line, not {line[:80]!r}"})
        found[name.strip()] = plan.env.get(name.strip(), "") if value == MASK else value
    return found


def routes(site: Site) -> list[Route]:
    """Who may push to the repository; where it is public, everybody with an account."""
    actions = actions_of(site)

    async def find(request: Request, user: User) -> RunDetails:
        async with site.context.database.read() as session:
            run, place = await find_run(session, user, number(request.path_params, "run"))
            details = await run_details(session, user, run, place, PAGE)
        if not details.may_run_again:
            raise Refused(NOT_YOURS, f"ask {place.owner} to make you a collaborator")
        return details

    async def form(request: Request) -> Response:
        details = await find(request, await site.user(request))
        only = " ".join(str(each) for each in details.plan.numbers)  # another grid would number them anew
        typed = as_typed(details.plan, FAILED if request.query_params.get("ranks") == FAILED else only)
        return site.page(request, "again.html", details=details, typed=typed, problems={}, hint="")

    async def again(request: Request) -> Response:
        user, typed = await site.user(request), await read_form(request)
        run_id = number(request.path_params, "run")
        check_rate(site, user)
        if not typed:
            return RedirectResponse(f"/runs/{(await actions.run_again(user, run_id, {})).id}", 303)
        details = await find(request, user)
        try:
            fresh = await actions.run_again(user, run_id, *from_typed(typed, details.plan))
        except Wrong as error:
            values = {"details": details, "typed": typed, "problems": error.problems, "hint": error.hint}
            return site.look.page(request, "again.html", values, error.status)
        return RedirectResponse(f"/runs/{fresh.id}", 303)

    address = "/runs/{run}/again"
    return [Route(address, form, methods=["GET"]), Route(address, again, methods=["POST"])]
