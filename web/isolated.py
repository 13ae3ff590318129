"""What answers on the second host: previews of HTML and SVG, each alone with itself, and nothing else."""

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from hermes.errors import Gone
from hermes.process import Context
from hermes.removals import Data, refuse_removed
from hermes.tables import Artifact
from hermes.threads import in_thread
from web.files import StoredFile, look
from web.media import Kind
from web.origin import Origin

_TYPES = {Kind.HTML: "text/html; charset=utf-8", Kind.SVG: "image/svg+xml"}
_SHUT = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_HEADERS = _SHUT | {
    # The page is alone with itself: no origin, no storage, nothing to load, nobody to send anything to.
    "Content-Security-Policy": "sandbox allow-scripts; default-src 'none'; "
    "script-src 'unsafe-inline' 'unsafe-eval' blob: data:; style-src 'unsafe-inline' data:; "
    "img-src data: blob:; font-src data:; media-src data: blob:; worker-src blob:; "
    "connect-src data: blob:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
}


class OnlyPreviews:
    """Answers whatever is asked of the second host; all else goes on to the app."""

    def __init__(self, app: ASGIApp, origin: Origin | None, context: Context) -> None:
        self.app, self._origin, self._context = app, origin, context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origin = self._origin
        if (
            origin is None
            or scope["type"] != "http"
            or not origin.is_host(Headers(scope=scope).get("host", ""))
        ):
            await self.app(scope, receive, send)
            return
        answer = await self._answer(scope["method"], origin.artifact_id(scope["path"]))
        await answer(scope, receive, send)

    async def _answer(self, method: str, artifact_id: int | None) -> Response:
        if method not in ("GET", "HEAD") or artifact_id is None:
            words = "there is no such preview (any more); open it again from the page of its run\n"
            return PlainTextResponse(words, 404, headers=_SHUT)
        async with self._context.database.read() as session:
            artifact = await session.get(Artifact, artifact_id)
            try:
                await refuse_removed(session, Data.ARTIFACTS, artifact.run_id if artifact else 0)
            except Gone as error:
                return PlainTextResponse(f"{error}\n", error.status, headers=_SHUT)
        if artifact is not None:
            path = self._context.paths.artifact(artifact.sha256)
            media = await in_thread(look, path, artifact)
            if media.kind in _TYPES:
                return StoredFile(path, headers=_HEADERS, media_type=_TYPES[media.kind])
        return PlainTextResponse("this artifact has no preview\n", 404, headers=_SHUT)
