"""`/admin`: accounts, for admins only: made, given a token that is shown once, disabled and enabled."""

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hermes.accounts import add_token, add_user, disable, enable, get_user
from hermes.audit import Actor, write_down
from hermes.errors import NotFound, Refused, UserError
from hermes.tables import Repo, Run, Token, User
from hermes.tokens import make_token
from web.admin_disk import look_at_disk
from web.forms import LIVES, Outcome, done, read_form, wish
from web.site import Site
from web.visitor import actor


class Account(NamedTuple):
    """A user as a line of the list."""

    user: User
    repos: int
    last_run_at: float | None
    last_seen_at: float | None


class Asked(NamedTuple):
    """What an admin asks for."""

    session: AsyncSession
    admin: User
    by: Actor
    typed: Mapping[str, str]

    async def account(self) -> User:
        """Whom it is about. Raises NotFound."""
        try:
            return await get_user(self.session, self.typed.get("user", "").strip())
        except NotFound as error:
            raise NotFound(str(error), "make the account first") from None


async def accounts(session: AsyncSession, after: str = "", most: int | None = None) -> list[Account]:
    """By name, from the one after `after` on."""
    repos = select(func.count()).where(Repo.owner_id == User.id).scalar_subquery()
    ran = select(func.max(Run.created_at)).where(Run.user_id == User.id).scalar_subquery()
    seen = select(func.max(Token.last_used_at)).where(Token.user_id == User.id).scalar_subquery()
    rows = await session.execute(
        select(User, repos, ran, seen).where(User.name > after).order_by(User.name).limit(most)
    )
    return [Account(*row) for row in rows.all()]


async def _make(asked: Asked) -> str:
    name, is_admin = asked.typed.get("name", "").strip(), "admin" in asked.typed
    try:
        user = await add_user(asked.session, name, is_admin=is_admin)
    except UserError as error:
        raise UserError(str(error), "" if "exists" in str(error) else error.hint) from None
    write_down(asked.session, asked.by, "user made", user.name, "admin" if is_admin else "")
    return await add_token(asked.session, user, "first token")


async def _token(asked: Asked) -> str:
    user, wanted = await asked.account(), wish(asked.typed, "all")
    secret = await make_token(asked.session, user, wanted)
    write_down(asked.session, asked.by, "token made", f"{user.name}: {wanted.name}", wanted.scope)
    return secret


async def _disable(asked: Asked) -> str:
    user = await asked.account()
    if user.id == asked.admin.id:
        raise Refused("you would sign yourself out for good", "another admin can disable your account")
    await disable(asked.session, user)
    write_down(asked.session, asked.by, "user disabled", user.name)
    return ""


async def _enable(asked: Asked) -> str:
    user = await asked.account()
    await enable(asked.session, user)
    write_down(asked.session, asked.by, "user enabled", user.name)
    return ""


#: By the button `do`: the part of the page, and what is done; a secret is shown once.
_FORMS: dict[str, tuple[str, Callable[[Asked], Awaitable[str]]]] = {
    "make-user": ("users", _make),
    "make-token": ("tokens", _token),
    "disable": ("accounts", _disable),
    "enable": ("accounts", _enable),
}


def routes(site: Site) -> list[Route]:
    """For admins; there is no such page for anybody else."""

    async def page(request: Request, admin: User, outcome: Outcome) -> Response:
        async with site.context.database.read() as session:
            found, disk = await accounts(session), await look_at_disk(site, session)
        values = {"accounts": found, "admin": admin, "lives": LIVES, "outcome": outcome, "disk": disk}
        return site.look.page(request, "admin.html", values, outcome.status)

    async def show(request: Request) -> Response:
        return await page(request, await site.admin(request), done(request))

    async def change(request: Request) -> Response:
        admin = await site.admin(request)
        typed = await read_form(request)
        part, act = _FORMS.get(typed.get("do", ""), ("", None))
        if act is None:
            raise UserError("this form is not known here", "open the page anew and try again")
        try:
            async with site.context.database.write() as session:
                secret = await act(Asked(session, admin, actor(request, admin), typed))
        except UserError as error:
            return await page(request, admin, Outcome(part, error, typed))
        if secret:
            return await page(request, admin, Outcome(part, typed=typed, secret=secret))
        return RedirectResponse(f"/admin?done={part}", 303)

    return [Route("/admin", show, methods=["GET"]), Route("/admin", change, methods=["POST"])]
