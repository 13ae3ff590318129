"""A message as mail: plain text and simple HTML, one thread for each branch, and a way not to get it."""

from email.message import EmailMessage
from email.utils import formatdate
from html import escape
from typing import NamedTuple

from web.notice_message import Message


class Envelope(NamedTuple):
    """`why` the receiver gets it; `stop` is a page where they end that, `id_host` makes our ids ours."""

    sender: str
    receiver: str
    why: str
    stop: str
    id_host: str


def as_mail(message: Message, envelope: Envelope) -> EmailMessage:
    """`List-Unsubscribe-Post` lets mail programs end it without a page (RFC 8058)."""
    mail = EmailMessage()
    mail["From"], mail["To"] = envelope.sender, envelope.receiver
    mail["Subject"] = " ".join(message.title.split())
    mail["Date"] = formatdate()
    mail["Message-ID"] = f"<{message.key}@{envelope.id_host}>"
    thread = f"<branch-{message.thread}@{envelope.id_host}>"
    mail["In-Reply-To"], mail["References"] = thread, thread
    mail["List-Unsubscribe"] = f"<{envelope.stop}>"
    mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Hermes-Event"] = str(message.body["event"])
    mail.set_content(_text(message, envelope), cte="quoted-printable")  # every server takes seven bits
    mail.add_alternative(_html(message, envelope), subtype="html", cte="quoted-printable")
    return mail


def _text(message: Message, envelope: Envelope) -> str:
    log = (
        ["", "The last lines of its log:", "", *(f"    {line}" for line in message.log)]
        if message.log
        else []
    )
    end = ["", "-- ", envelope.why, f"To end that: {envelope.stop}"]
    return "\n".join([*message.lines, "", message.url, *log, *end]) + "\n"


def _html(message: Message, envelope: Envelope) -> str:
    lines = "<br>".join(escape(line) for line in message.lines)
    title = f'<p><b><a href="{escape(message.url)}">{escape(message.title)}</a></b><br>{lines}</p>'
    log = f"<pre>{escape(chr(10).join(message.log))}</pre>" if message.log else ""
    end = f'<p><small>{escape(envelope.why)} <a href="{escape(envelope.stop)}">End that.</a></small></p>'
    return f"<!doctype html><html><body>{title}{log}{end}</body></html>\n"
