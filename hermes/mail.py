"""Mail to the server that HERMES_SMTP_URL names, by the standard library in a thread: a slow server holds up
nobody. TLS is checked as everywhere; a password is never sent without it."""

import asyncio
import smtplib
import ssl
from contextlib import suppress
from email.message import EmailMessage
from email.utils import parseaddr
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from hermes.outbox import Hopeless
from hermes.outward import Undelivered
from hermes.settings import Settings
from hermes.threads import in_thread

_STEP_S = 20.0  # of what the server says next
_WHOLE_S = 90.0
_PORTS = {"smtp": 25, "smtps": 465}


class NoSuchMailbox(Hopeless):
    """The server will never take mail for this address."""


class MailServer(NamedTuple):
    """Where mail goes, and who sends it."""

    host: str
    port: int
    is_tls: bool  # from the first byte on
    user: str
    password: str
    sender: str  # as it stands in From


def mail_server(settings: Settings) -> MailServer | None:
    """As the settings say; None: no mail is sent."""
    if not settings.smtp_url:
        return None
    parts = urlsplit(settings.smtp_url)
    host = urlsplit(settings.public_url).hostname or "localhost"
    return MailServer(
        parts.hostname or "",
        parts.port or _PORTS[parts.scheme],
        parts.scheme == "smtps",
        unquote(parts.username or ""),
        unquote(parts.password or ""),
        settings.mail_from or f"Hermes <hermes@{host}>",
    )


async def send_mail(server: MailServer, message: EmailMessage) -> int:
    """The code of the server's answer. Raises Undelivered, Hopeless, NoSuchMailbox."""
    try:
        async with asyncio.timeout(_WHOLE_S):
            return await in_thread(_send, server, message)
    except TimeoutError:
        raise Undelivered(f"{server.host} has not taken it within {_WHOLE_S:.0f} s") from None


def _send(server: MailServer, message: EmailMessage) -> int:
    try:
        with _connected(server) as smtp:
            sender = parseaddr(server.sender)[1]
            refused = smtp.send_message(message, sender)
            assert not refused  # one receiver: it would have been raised
            return 250
    except smtplib.SMTPRecipientsRefused as error:
        code, words = next(iter(error.recipients.values()))
        kind = NoSuchMailbox if code >= 500 else Undelivered
        raise kind(f"{server.host} does not take mail for this address: {code} {_text(words)}") from None
    except smtplib.SMTPAuthenticationError as error:
        said = f"{error.smtp_code} {_text(error.smtp_error)}"
        raise Undelivered(f"{server.host} does not let us in: {said}") from None
    except smtplib.SMTPResponseException as error:
        kind = (
            Hopeless if isinstance(error, smtplib.SMTPDataError) and error.smtp_code >= 500 else Undelivered
        )
        raise kind(f"{server.host} says {error.smtp_code} {_text(error.smtp_error)}") from None
    except (smtplib.SMTPException, OSError, ValueError) as error:
        raise Undelivered(f"{server.host}: {_text(str(error)) or type(error).__name__}") from None


class _connected:
    """The open connection, signed in where there is somebody to be."""

    def __init__(self, server: MailServer) -> None:
        self._server = server
        self._smtp: smtplib.SMTP | None = None

    def __enter__(self) -> smtplib.SMTP:
        server, context = self._server, ssl.create_default_context()
        if server.is_tls:
            self._smtp = smtplib.SMTP_SSL(server.host, server.port, timeout=_STEP_S, context=context)
        else:
            self._smtp = smtplib.SMTP(server.host, server.port, timeout=_STEP_S)
        try:
            self._begin(self._smtp, context)
        except BaseException:
            self._smtp.close()
            raise
        return self._smtp

    def _begin(self, smtp: smtplib.SMTP, context: ssl.SSLContext) -> None:
        smtp.ehlo_or_helo_if_needed()
        if not self._server.is_tls and smtp.has_extn("starttls"):
            smtp.starttls(context=context)
        elif not self._server.is_tls and self._server.user:
            raise ValueError("it offers no STARTTLS, and a password is not sent without")
        if self._server.user:
            smtp.login(self._server.user, self._server.password)

    def __exit__(self, *_: object) -> None:
        assert self._smtp is not None
        with suppress(smtplib.SMTPException, OSError):  # what was to be said is said
            self._smtp.quit()
        self._smtp.close()


def _text(words: bytes | str) -> str:
    """One line of it."""
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
    return " ".join(text.split())[:200]
