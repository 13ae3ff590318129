"""`/settings/secrets`: a user's secrets, set, replaced and removed, never shown; the same forms stand in the
settings of a repository."""

from collections.abc import Mapping, Sequence

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hermes.audit import write_down
from hermes.branch_patterns import split_branches
from hermes.errors import UserError
from hermes.journal import log
from hermes.secret_keys import key_file
from hermes.secret_store import (
    Keeping,
    NewSecret,
    Secret,
    list_secrets,
    remove_secret,
    set_secret,
)
from hermes.tables import User
from web.forms import Outcome, done, read_form
from web.site import Site
from web.visitor import actor

_VALUES = ("value", "lines")  # where a value is typed: in one line, or in several
_DONE = {"set-secret": "secret set", "remove-secret": "secret removed"}  # as the audit log calls it


def shown(typed: Mapping[str, str]) -> dict[str, str]:
    """What was typed, as far as it may be shown and written down."""
    return {name: value for name, value in typed.items() if name not in _VALUES}


def replaced(request: Request, secrets: Sequence[tuple[Secret, str]]) -> Secret | None:
    """Which one the form is filled in for (`?secret=NAME`)."""
    name = request.query_params.get("secret", "")
    return next((secret for secret, _ in secrets if secret.name == name), None)


async def set_typed(site: Site, keeping: Keeping, typed: Mapping[str, str]) -> None:
    """As the form says. Raises UserError."""
    values = [value for name in _VALUES if (value := typed.get(name, ""))]
    if len(values) != 1:
        raise UserError("the value is to be typed into one of the two fields", "leave the other one empty")
    branches = split_branches(typed.get("branches", ""))
    new = NewSecret(typed.get("name", "").strip(), values[0], branches)
    async with site.context.database.write() as session:
        await set_secret(session, key_file(site.context.settings), keeping, new)


def routes(site: Site) -> list[Route]:
    """Everybody sees only their own."""
    database = site.context.database

    async def page(request: Request, user: User, outcome: Outcome) -> Response:
        async with database.read() as session:
            secrets = await list_secrets(session, Keeping(user))
        values = {"secrets": secrets, "replaced": replaced(request, secrets), "outcome": outcome}
        return site.look.page(request, "secrets.html", values, outcome.status)

    async def show(request: Request) -> Response:
        return await page(request, await site.user(request), done(request))

    async def change(request: Request) -> Response:
        user = await site.user(request)
        typed = await read_form(request)
        do, name = typed.get("do", ""), typed.get("name", "").strip()
        try:
            await act(user, do, typed)
        except UserError as error:
            return await page(request, user, Outcome("secrets", error, shown(typed)))
        log.info("settings changed", by=user.name, do=do)
        async with database.write() as session:
            write_down(session, actor(request, user), _DONE[do], user.name, name)
        return RedirectResponse("/settings/secrets?done=secrets", 303)

    async def act(user: User, do: str, typed: Mapping[str, str]) -> None:
        if do == "set-secret":
            await set_typed(site, Keeping(user), typed)
        elif do == "remove-secret":
            async with database.write() as session:
                await remove_secret(session, Keeping(user), typed.get("name", ""))
        else:
            raise UserError("this form is not known here", "open the settings anew and try again")

    return [
        Route("/settings/secrets", show, methods=["GET"]),
        Route("/settings/secrets", change, methods=["POST"]),
    ]
