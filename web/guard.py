"""What holds for every answer and every form, as plain ASGI so that streams pass untouched."""

import re
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hermes import __version__
from hermes.units import show_size

MAX_BODY_BYTES = 1 << 20
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; "
    "frame-ancestors 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
VERSION_HEADER = "X-Hermes-Version"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_GIT = (".git/git-receive-pack", ".git/git-upload-pack")
_INVOKE = re.compile(
    r"/api/v1/functions/[^/]+/.+/runs|/functions/[^/]+/[^/]+(/uploads(/parts/\d+)?)?"
    r"|/api/v1/functions/[^/]+/[^/]+/inbox(/.*)?|/api/v1/uploads/\d+",
    re.DOTALL,
)  # web.invoke, web.inbox and web.tus count what they read


def headers_of(path: str) -> dict[str, str]:
    """What every answer there has, unless its route says otherwise; a program is told who answers it."""
    return HEADERS | {VERSION_HEADER: __version__} if path.startswith("/api/") else HEADERS


class SafeHeaders:
    """Adds the headers that keep what users push from acting as us; a route's own header wins."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in headers_of(scope["path"]).items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_safely if scope["type"] == "http" else send)


class SameOrigin:
    """Refuses forms that another site sends. The API takes no cookies, so it needs no such check."""

    def __init__(self, app: ASGIApp, public_url: str) -> None:
        self.app = app
        self.public_host = urlsplit(public_url).netloc

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in _SAFE and not self._allowed(scope):
            answer = PlainTextResponse(
                "this form was sent by another site; open the page here and try again\n", 403
            )
            await answer(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _allowed(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        if scope["path"].startswith(("/api/", "/webhooks/")) or scope["path"].endswith(_GIT):
            return True
        site = headers.get("sec-fetch-site")
        if site is not None:
            return site in ("same-origin", "none")
        origin = headers.get("origin")
        return origin is None or urlsplit(origin).netloc in (headers.get("host"), self.public_host)


def _is_bounded(path: str) -> bool:
    return path.endswith(_GIT) or path.startswith("/webhooks/") or _INVOKE.fullmatch(path) is not None


class BodyLimit:
    """Refuses bodies beyond 1 MiB, except git's, webhooks and inputs of invocations, which have bounds of
    their own."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in _SAFE or _is_bounded(scope["path"]):
            await self.app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdecimal() or int(declared[:12]) > MAX_BODY_BYTES:
            await _too_large()(scope, receive, send)
            return
        await self._count(scope, receive, send)

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A body without a length is read before its handler is called; it is small, or refused."""
        messages: list[Message] = []
        total = 0
        while True:
            message = await receive()
            messages.append(message)
            total += len(message.get("body", b""))
            if total > MAX_BODY_BYTES:
                await _too_large()(scope, receive, send)
                return
            if message["type"] != "http.request" or not message.get("more_body"):
                break
        messages.reverse()

        async def again() -> Message:
            return messages.pop() if messages else await receive()

        await self.app(scope, again, send)


def _too_large() -> JSONResponse:
    words = f"the body is larger than {show_size(MAX_BODY_BYTES)}"
    return JSONResponse({"error": {"code": "too_large", "message": words, "hint": "send less"}}, 413)
