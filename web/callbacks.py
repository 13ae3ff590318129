"""`X-Callback-Url`: the record of a run, sent to an address of the caller's choice when it ends.

Signed as `X-Hermes-Signature: t=<Unix seconds>,v1=<hex>`, the HMAC-SHA256 of `<t>.<body>` with a secret that
each user finds in `GET /api/v1/callback-secret`; who checks `t` refuses what somebody has kept."""

import asyncio
import hmac
import time
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from hermes import __version__, outbox
from hermes.outward import Undelivered, parse_networks, post
from hermes.queue import CHANGED
from hermes.retry_after import Rests, refusal
from hermes.secret_file import key_in
from hermes.sending import keep_sending
from hermes.signature import HEADER, sign
from hermes.tables import Outbox, Run, User
from hermes.tasks import end
from hermes.transitions import CALLBACK, note
from web.account_answers import CallbackSecret
from web.endpoint import Asked, Endpoint
from web.site import Site
from web.sync import record_of

_LOOK_S = 1.0
_PAUSE_S = 0.1  # between two looks, however often something changes


def secret_of(site: Site, user: User) -> str:
    """What signs this user's callbacks."""
    key = key_in(site.context.paths.callback_key)
    return hmac.digest(key, f"user {user.id}".encode(), "sha256").hex()


class _Resting(Undelivered):
    """Its receiver has asked for a rest, by the answer to another one."""

    def __init__(self, left_s: float) -> None:
        super().__init__("its receiver has asked for a rest")
        self.wait_s = left_s


@dataclass
class _Try:
    """One of sending a callback, which stands among the events of its run."""

    site: Site
    rests: Rests  # addresses
    is_one: bool = True

    async def deliver(self, row: Outbox) -> None:
        """And what came of it."""
        await outbox.deliver(self.site.context.database, row, self._send, self._note)
        await self.site.context.doorbell.ring(CHANGED)

    async def _send(self, row: Outbox) -> None:
        async with self.site.context.database.read() as session:
            run = await session.get_one(Run, row.payload["run"])
            user = await session.get_one(User, run.user_id)
        if left_s := self.rests.left_s(run.callback_url):
            self.is_one = False
            raise _Resting(left_s)
        body = (await record_of(self.site, user, run.id)).model_dump_json().encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"hermes/{__version__}",
            "X-Hermes-Event": "run.ended",
            "X-Hermes-Delivery": row.key,
            HEADER: sign(secret_of(self.site, user), body, int(time.time())),
        }
        allowed = parse_networks(self.site.context.settings.callback_networks)
        answer = await post(run.callback_url, body, headers, allowed)
        if not 200 <= answer.status < 300:
            refused = refusal(answer)
            self.rests.begin(run.callback_url, refused.least_s)
            raise refused

    async def _note(self, session: AsyncSession, tried: Outbox) -> None:
        if not self.is_one:
            return
        run = await session.get_one(Run, tried.payload["run"])
        words = f"callback not taken (try {tried.tries}): {tried.error}" if tried.error else "callback taken"
        note(session, "run", run.id, (run.state, run.state), words)


async def keep_calling_back(site: Site) -> None:
    """For ever; several at a time, so that a slow receiver holds nobody up."""
    sending: set[asyncio.Task[None]] = set()
    rests = Rests()

    async def look() -> float:
        for row in await outbox.due(site.context.database, CALLBACK):
            task = asyncio.create_task(_Try(site, rests).deliver(row))
            sending.add(task)
            task.add_done_callback(sending.discard)
        return _LOOK_S

    bell = site.context.doorbell.bell(CHANGED)
    try:
        await keep_sending(site.context, (CALLBACK,), bell, look, _PAUSE_S)
    finally:
        await end(*sending)


def endpoints(site: Site) -> list[Endpoint]:
    """For programs that check what they get."""

    async def get_callback_secret(asked: Asked) -> CallbackSecret:
        """The secret that signs your callbacks."""
        return CallbackSecret(secret=secret_of(site, asked.user))

    return [Endpoint("GET", "/callback-secret", get_callback_secret)]
