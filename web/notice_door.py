"""Through which door a message leaves: HTTP by hermes.outward, mail by hermes.mail; and who may close it."""

import asyncio
import hmac
import json
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from sqlalchemy.ext.asyncio import AsyncSession

from hermes import __version__
from hermes.mail import mail_server, send_mail
from hermes.notifications import MAIL, SECRET, TARGET, WEBHOOK, sealed_name
from hermes.outward import Answer, Undelivered, parse_networks, post
from hermes.process import Context
from hermes.sealed import unseal
from hermes.secret_file import key_in
from hermes.secret_keys import key_file
from hermes.signature import HEADER, sign
from hermes.tables import Notification
from web.notice_chat import CHATS, Letter
from web.notice_mail import Envelope, as_mail
from web.notice_message import Message

_MOST_MAILS = 4  # at a time, to the one server


@dataclass(frozen=True)
class Door:
    """Where a message goes, and what signs it."""

    row: Notification
    target: str
    secret: str


class Doors:
    """All of this instance."""

    def __init__(self, context: Context) -> None:
        self._context, self._settings = context, context.settings
        self._mails = asyncio.Semaphore(_MOST_MAILS)

    async def find(self, session: AsyncSession, row: Notification) -> Door:
        """Raises Unavailable where its address cannot be read."""
        key = key_file(self._settings)
        target = await unseal(session, key, sealed_name(row.id, TARGET))
        return Door(row, target, await unseal(session, key, sealed_name(row.id, SECRET)))

    async def deliver(self, door: Door, message: Message) -> Answer:
        """What was answered, without a body. Raises Undelivered, Hopeless, NoSuchMailbox."""
        if door.row.kind == MAIL:
            return Answer(await self._mail(door, message), {}, b"")
        is_webhook = door.row.kind == WEBHOOK
        letter = _signed(door.secret, message) if is_webhook else CHATS[door.row.kind](message)
        headers = {"User-Agent": f"hermes/{__version__}", **letter.headers}
        allowed = parse_networks(self._settings.callback_networks)
        return await post(door.target, letter.body, headers, allowed)

    async def _mail(self, door: Door, message: Message) -> int:
        server = mail_server(self._settings)
        if server is None:
            raise Undelivered("this service sends no mail any more (HERMES_SMTP_URL)")
        host = urlsplit(self._settings.public_url).hostname or "localhost"
        what = "your runs" if door.row.repo_id is None else "runs of a repository"
        why = f"You get this because this address was entered at {host} to be told of {what}."
        envelope = Envelope(server.sender, door.target, why, self.stop_url(door.row.id), host)
        async with self._mails:
            return await send_mail(server, as_mail(message, envelope))

    def stop_key(self, notification_id: int) -> str:
        """What lets a receiver of mail end it, who may have no account here."""
        key = key_in(self._context.paths.callback_key)
        return hmac.digest(key, f"stop notification {notification_id}".encode(), "sha256").hex()[:40]

    def stop_url(self, notification_id: int) -> str:
        """Where they do."""
        page = f"{self._settings.public_url}/settings/notifications/{notification_id}/stop"
        return f"{page}?key={self.stop_key(notification_id)}"


def _signed(secret: str, message: Message) -> Letter:
    body = json.dumps(message.body).encode()
    headers = {
        "Content-Type": "application/json",
        "X-Hermes-Event": str(message.body["event"]),
        "X-Hermes-Delivery": message.key,
        HEADER: sign(secret, body, int(time.time())),
    }
    return Letter(body, headers)
