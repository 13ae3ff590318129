"""Counts answers and how long they took to begin, by route, method and class of status, never by address."""

import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_BUCKETS = (0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER = "other"


class HttpMeters:
    """Of this process, since it began."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "hermes_http_requests", "Requests by what became of them.",
            ("route", "method", "status"), registry=registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "hermes_http_request_seconds", "From a request's head to the beginning of its answer.",
            ("route", "method"), registry=registry, buckets=_BUCKETS,
        )  # fmt: skip

    def count(self, scope: Scope, status: int, took_s: float) -> None:
        """One request; status 0: its client left before an answer began."""
        route, method = _route(scope), scope["method"] if scope["method"] in _METHODS else _OTHER
        self._requests.labels(route, method, f"{status // 100}xx" if status else "none").inc()
        if status:
            self._seconds.labels(route, method).observe(took_s)


def _route(scope: Scope) -> str:
    """`/{owner}/{repo}`: there are as many as the service has addresses, whatever people ask for."""
    route: Any = scope.get("route")
    path = getattr(route, "path", "")
    return str(path).replace(":path}", "}") or _OTHER


class Measured:
    """The outermost of what handles a request."""

    def __init__(self, app: ASGIApp, meters: HttpMeters) -> None:
        self.app, self._meters = app, meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        def counted(seen: int) -> None:
            nonlocal status
            if not status:
                status = seen
                self._meters.count(scope, status, time.perf_counter() - began)

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                counted(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, send_counted)
        except Exception:
            counted(500)
            raise
        if not status:
            self._meters.count(scope, 0, 0.0)
