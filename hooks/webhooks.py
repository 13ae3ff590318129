"""`POST /webhooks/github`, `/gitea`, `/gitlab`, with or without `/OWNER/NAME` of the repository here.

An answer in the two hundreds means that the delivery is recorded; what follows from it is fetched afterwards
(hooks.fetching). Who is not believed learns nothing: no such repository, no secret and a wrong signature are
one answer."""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hermes.arrivals import ARRIVALS
from hermes.audit import Actor, write_down
from hermes.errors import TooLarge, TooMany, TooSlow, Unavailable, UserError
from hermes.faultpoint import faultpoint
from hermes.journal import log
from hermes.process import Context
from hermes.sealed import unseal
from hermes.secret_keys import key_file
from hermes.throttle import Throttle, source
from hermes.units import show_size
from hermes.upstreams import HOOK_SECRET, KINDS, Upstream, sealed_name
from hooks import github, gitlab
from hooks.deliveries import Delivery, followers, record
from hooks.events import BadEvent, Payload
from hooks.signatures import Headers, is_signed

MOST_BYTES = 5 << 20
_BODY_S = 10.0  # GitHub waits that long for an answer
_READERS = {"github": github, "gitea": github, "gitlab": gitlab}
_EVENTS = {
    "github": ("x-github-event",),
    "gitea": ("x-gitea-event", "x-forgejo-event"),
    "gitlab": ("x-gitlab-event",),
}
_IDS = {
    "github": ("x-github-delivery",),
    "gitea": ("x-gitea-delivery", "x-forgejo-delivery"),
    "gitlab": ("webhook-id", "idempotency-key", "x-gitlab-event-uuid"),
}
_ID = re.compile(r"[A-Za-z0-9_.:-]{8,100}")
_FAILURES, _WINDOW_S = 30, 300.0
_TOLD_S = 600.0  # the same of the same address is not written down again so soon


class NotBelieved(UserError):
    """The same for everybody."""

    code = "unauthorized"
    status = 401


class WrongType(UserError):
    """No JSON."""

    code = "wrong_type"
    status = 415


class Webhooks:
    """The handlers."""

    def __init__(self, context: Context) -> None:
        self._context, self._key = context, key_file(context.settings)
        self._failures = Throttle(_FAILURES, _WINDOW_S)
        self._told = Throttle(1, _TOLD_S)

    def routes(self) -> list[Route]:
        """Of all kinds of forges."""
        found = []
        for kind in KINDS:
            found.append(Route(f"/webhooks/{kind}", self._answering(kind), methods=["POST"]))
            found.append(
                Route(f"/webhooks/{kind}/{{owner}}/{{name}}", self._answering(kind), methods=["POST"])
            )
        return found

    def _answering(self, kind: str) -> Any:
        async def answer(request: Request) -> Response:
            try:
                return await self._receive(kind, request)
            except UserError as error:
                return await self._refuse(kind, request, error)
            except Unavailable as error:
                log.warning("webhook not recorded", error=str(error))
                return _said(503, "unavailable", "it cannot be recorded now; redeliver it later", 30)

        return answer

    async def _receive(self, kind: str, request: Request) -> Response:
        _check_type(request)
        body = b"".join([part async for part in _bounded(request)])
        content = await asyncio.to_thread(_parse, body) if len(body) > 1 << 16 else _parse(body)
        payload, reader = Payload(content), _READERS[kind]
        owner, name = request.path_params.get("owner"), request.path_params.get("name")
        where = (owner, name) if owner and name else None
        found = await followers(self._context.database, kind, reader.full_name(payload), where)
        believed = await self._believed(kind, request.headers, body, found)
        if not believed:
            raise NotBelieved(
                "who sends this is not known here", "check the webhook's address and its secret"
            )
        event, delivery_id = _header(request, _EVENTS[kind]), _header(request, _IDS[kind])
        if not event or not _ID.fullmatch(delivery_id):
            raise BadEvent("its headers do not say which event and which delivery it is")
        delivery = Delivery(kind, event, delivery_id, hashlib.sha256(body).hexdigest(), _address(request))
        recorded = await record(self._context.database, delivery, believed, reader.read(kind, event, payload))
        faultpoint("webhook.recorded")
        if recorded.status == 202:
            self._context.doorbell.ring_soon(ARRIVALS)
        return JSONResponse({"message": recorded.words}, recorded.status)

    async def _believed(
        self, kind: str, headers: Headers, body: bytes, found: list[Upstream]
    ) -> list[Upstream]:
        """Those whose secret the sender knows. Without any candidate one is compared all the same."""
        async with self._context.database.read() as session:
            names = [sealed_name(each.repo_id, HOOK_SECRET) for each in found]
            secrets = [await unseal(session, self._key, name) for name in names]
        signed = [is_signed(kind, secret, headers, body) for secret in secrets or [""]]
        return [each for each, is_right in zip(found, signed, strict=False) if is_right]

    async def _refuse(self, kind: str, request: Request, error: UserError) -> Response:
        """Only who failed is told to wait: a forge sends for many, also for who would spoil its address."""
        address = _address(request)
        if isinstance(error, NotBelieved | TooLarge | TooSlow):
            self._failures.count(source(address))
            if wait_s := self._failures.wait_s(source(address)):
                error = TooMany("too many deliveries that could not be taken", wait_s)
        await self._write_down(kind, address, error)
        log.info("webhook refused", kind=kind, address=address, reason=str(error))
        again_s = error.wait_s if isinstance(error, TooMany) else 0
        return _said(error.status, error.code, error.whole, again_s)

    async def _write_down(self, kind: str, address: str, error: UserError) -> None:
        """Each reason of an address now and then, not every time."""
        reason = f"too often, {error.code}" if isinstance(error, TooMany) else str(error)
        key = f"{source(address)} {reason}"
        if self._told.wait_s(key):
            return
        self._told.count(key)
        try:
            async with self._context.database.write() as session:
                write_down(session, Actor("", address), "webhook refused", f"/webhooks/{kind}", reason)
        except Unavailable as why:
            log.warning("webhook refused, and not written down", error=str(why))


def _check_type(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise WrongType("the content type must be application/json", "choose it in the webhook's settings")


async def _bounded(request: Request) -> AsyncIterator[bytes]:
    """The body as it comes. Raises TooLarge, TooSlow."""
    declared = request.headers.get("content-length", "0")
    size = int(declared[:12]) if declared.isdecimal() else 0
    if size > MOST_BYTES:
        raise TooLarge(f"a delivery has at most {show_size(MOST_BYTES)}")
    size = 0
    try:
        async with asyncio.timeout(_BODY_S):
            async for part in request.stream():
                size += len(part)
                if size > MOST_BYTES:
                    raise TooLarge(f"a delivery has at most {show_size(MOST_BYTES)}")
                yield part
    except TimeoutError:
        raise TooSlow(f"it did not come within {_BODY_S:.0f} s") from None


def _parse(body: bytes) -> Any:
    """What is no JSON names no repository, so nobody is believed who sends it."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _header(request: Request, names: tuple[str, ...]) -> str:
    return next((request.headers[name] for name in names if name in request.headers), "")


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _said(status: int, code: str, words: str, wait_s: int = 0) -> Response:
    headers = {"Retry-After": str(wait_s)} if wait_s else {}
    return JSONResponse({"error": {"code": code, "message": words}}, status, headers)
