"""How errors look: a page for people, `{"error": {"code", "message", "hint"}}` for programs."""

from dataclasses import dataclass
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from hermes.errors import DiskFull, NotFound, TooMany, UserError
from hermes.journal import log
from hermes.room import Room, is_full
from web.guard import headers_of
from web.look import Look
from web.visitor import SignInNeeded, bearer, is_stranger, sign_in_needed

_FULL = "the disk of this service is full"
_STREAMS = (
    "/log",
    "/log/lines",
    "/log/search",
    "/log/outline",
    "/logs",
    "/result",
    "/events",
    "/artifacts.zip",
)


def is_program(request: Request) -> bool:
    """Whether the answer is read by a program: the API, a token, or a raw address without a browser."""
    path = request.url.path
    if path.startswith("/api/") or bearer(request) is not None:
        return True
    raw = path.endswith(_STREAMS) or path.startswith("/artifacts/") or path == "/metrics"
    return raw and "text/html" not in request.headers.get("accept", "")


@dataclass(frozen=True)
class Failures:
    """The handlers of exceptions."""

    look: Look
    room: Room

    async def user_error(self, request: Request, error: Exception) -> Response:
        """What the user can fix."""
        assert isinstance(error, UserError)
        if isinstance(error, NotFound) and is_stranger(request):
            error = sign_in_needed()  # the same for what is hidden and for what does not exist
        if isinstance(error, SignInNeeded) and not is_program(request):
            return _to_sign_in(request)
        answer = self._answer(request, error.status, error.code, str(error), error.hint)
        if error.status == 401:
            answer.headers["WWW-Authenticate"] = "Bearer"
        if isinstance(error, TooMany | DiskFull):
            answer.headers["Retry-After"] = str(error.wait_s)
        return answer

    async def unavailable(self, request: Request, error: Exception) -> Response:
        """What is ours, and may pass."""
        if is_full(error) or self.room.trouble():
            return await self.user_error(request, DiskFull(self.room.trouble() or _FULL))
        log.warning("request failed", path=request.url.path, error=str(error))
        answer = self._answer(request, 503, "unavailable", str(error), "try again in a few seconds")
        answer.headers["Retry-After"] = "10"
        return answer

    async def of_system(self, request: Request, error: Exception) -> Response:
        """A full disk is told; everything else is a mistake of ours."""
        if not is_full(error):
            raise error
        return await self.unavailable(request, error)

    async def http(self, request: Request, error: Exception) -> Response:
        """No such address, or not with this method."""
        assert isinstance(error, HTTPException)
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
        words = {404: "there is no such page", 405: "this address does not take that method"}
        allowed = (error.headers or {}).get("Allow", "")
        hint = f"it takes {allowed}" if allowed else ""
        message = words.get(error.status_code, str(error.detail))
        answer = self._answer(request, error.status_code, code, message, hint)
        answer.headers.update(error.headers or {})
        return answer

    async def left(self, request: Request, error: Exception) -> Response:
        """The client went away while its request was read: nobody's mistake, and nobody hears this."""
        return Response(status_code=400)

    async def broken(self, request: Request, error: Exception) -> Response:
        """A mistake of ours. This answer is made outside the middleware, so it adds the headers itself."""
        log.error("request broke", path=request.url.path, error=repr(error))
        answer = self._answer(
            request, 500, "internal", "this is a mistake of ours, and it was written down", "try again"
        )
        answer.headers.update(headers_of(request.url.path))
        return answer

    def _answer(self, request: Request, status: int, code: str, message: str, hint: str) -> Response:
        if is_program(request):
            return JSONResponse({"error": {"code": code, "message": message, "hint": hint}}, status)
        values = {"status": status, "message": message, "hint": hint}
        return self.look.page(request, "error.html", values, status)


def _to_sign_in(request: Request) -> Response:
    target = request.url.path if request.method in ("GET", "HEAD") else "/"
    if request.url.query and target != "/":
        target += f"?{request.url.query}"
    suffix = "" if target == "/" else f"?next={quote(target, safe='/')}"
    return RedirectResponse(f"/signin{suffix}", 303)
