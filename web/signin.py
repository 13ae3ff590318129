"""Signing in and out: a token in, a session cookie out. No passwords."""

from functools import partial
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hermes.accounts import add_token, revoke
from hermes.audit import write_down
from hermes.errors import TooMany
from hermes.login import sign_in
from web.site import Site
from web.visitor import COOKIE, SESSION_LIFE_S, SignInNeeded, actor, address, set_cookie


def safe_next(target: str) -> str:
    """Where to go afterwards: a path of ours, else the dashboard."""
    parts = urlsplit(target) if target.isprintable() and len(target) < 2000 else None
    if parts is None or parts.scheme or parts.netloc or not target.startswith("/"):
        return "/"
    return "/" if target.startswith("//") or "\\" in target or parts.path.startswith("/sign") else target


def browser_name(agent: str) -> str:
    """`Firefox on Linux`, for the list of signed-in browsers."""
    browsers = {"Edg/": "Edge", "Firefox/": "Firefox", "Chrome/": "Chrome", "Safari/": "Safari"}
    systems = {
        "Android": "Android",
        "iPhone": "iPhone",
        "Windows": "Windows",
        "Mac OS": "macOS",
        "Linux": "Linux",
    }
    browser = next((name for mark, name in browsers.items() if mark in agent), "a browser")
    system = next((name for mark, name in systems.items() if mark in agent), "")
    return f"{browser} on {system}" if system else browser


def _wait(site: Site, request: Request, target: str, error: TooMany) -> Response:
    values = {"target": target, "message": f"{error}: {error.hint}."}
    answer = site.look.page(request, "signin.html", values, error.status)
    answer.headers["Retry-After"] = str(error.wait_s)
    return answer


async def _sign_in(site: Site, request: Request) -> Response:
    fields = await request.form()
    secret, target = str(fields.get("token", "")).strip(), safe_next(str(fields.get("next", "/")))
    try:
        identity = await sign_in(site.context, secret, address(request))
    except TooMany as error:
        return _wait(site, request, target, error)
    if identity is None:
        words = "This token is not valid: it is misspelt, revoked or expired."
        return site.look.page(request, "signin.html", {"target": target, "message": words}, 401)
    agent = browser_name(request.headers.get("user-agent", ""))
    async with site.context.database.write() as session:
        cookie = await add_token(session, identity.user, agent, scope="session", life_s=SESSION_LIFE_S)
        write_down(session, actor(request, identity.user), "sign-in", agent)
    answer = RedirectResponse(target, 303)
    set_cookie(answer, cookie, site.context.settings.public_url)
    return answer


def routes(site: Site) -> list[Route]:
    """Open to everybody."""

    async def form(request: Request) -> Response:
        target = safe_next(request.query_params.get("next", "/"))
        return site.page(request, "signin.html", target=target, message="")

    async def sign_out(request: Request) -> Response:
        answer = RedirectResponse("/signin", 303)
        answer.delete_cookie(COOKIE)
        try:
            identity = await site.visitor(request)
        except SignInNeeded:
            return answer
        if identity.token.scope == "session":
            async with site.context.database.write() as session:
                await revoke(session, identity.user, identity.token.id)
        return answer

    return [
        Route("/signin", form, methods=["GET"]),
        Route("/signin", partial(_sign_in, site), methods=["POST"]),
        Route("/signout", sign_out, methods=["POST"]),
    ]
