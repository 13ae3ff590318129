"""Messages as the incoming webhooks of chats take them: Slack, Mattermost, Discord, ntfy.

apprise knows more of them, but asks by itself (requests, with redirects) wherever an address leads; these
four forms are a few lines each and go through hermes.outward, which looks at each address when it connects.
What users push can mention nobody: marks are escaped or broken."""

import json
import re
from collections.abc import Callable
from email.header import Header
from typing import NamedTuple

from hermes.notices import BROKE, FAILED, FIXED, SUCCEEDED
from web.notice_message import Message

_JSON = {"Content-Type": "application/json"}
_MOST_DISCORD, _MOST_LINE = 1900, 300
_MARKS = re.compile(r"([\\`*_~|>\[\]()#<])")
_ICONS = {BROKE: "❌", FAILED: "❌", FIXED: "✅", SUCCEEDED: "✅"}
_TAGS = {BROKE: "x", FAILED: "x", FIXED: "white_check_mark", SUCCEEDED: "white_check_mark"}


class Letter(NamedTuple):
    """What is posted."""

    body: bytes
    headers: dict[str, str]


def _icon(message: Message) -> str:
    return _ICONS.get(message.event, "ℹ️")


def _slack(message: Message) -> Letter:
    """Also Rocket.Chat, Google Chat and others that take Slack's form. Of the three characters that mean
    something there, none is left (docs.slack.dev, "Formatting message text")."""

    def plain(text: str) -> str:
        text = text[:_MOST_LINE].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return text.replace("*", "∗").replace("`", "ˋ")

    lines = [f"{_icon(message)} *<{message.url}|{plain(message.title)}>*", *map(plain, message.lines)]
    return Letter(json.dumps({"text": "\n".join(lines)}).encode(), _JSON)


def _marked_down(text: str) -> str:
    """As it is, and nobody is called by it (`@all`)."""
    return _MARKS.sub(r"\\\1", text[:_MOST_LINE]).replace("@", "@\u200b")


def _markdown(message: Message) -> str:
    lines = [f"{_icon(message)} **[{_marked_down(message.title)}]({message.url})**"]
    return "\n".join([*lines, *map(_marked_down, message.lines)])


def _mattermost(message: Message) -> Letter:
    text = _markdown(message)
    return Letter(json.dumps({"text": text, "username": "Hermes"}).encode(), _JSON)


def _discord(message: Message) -> Letter:
    content = _markdown(message)[:_MOST_DISCORD]
    body = {"content": content, "username": "Hermes", "allowed_mentions": {"parse": []}}
    return Letter(json.dumps(body).encode(), _JSON)


def _ntfy(message: Message) -> Letter:
    """Plain text; headers that are not ASCII are encoded as in mail."""
    title = message.title[:_MOST_LINE]
    headers = {
        "Title": title if title.isascii() else Header(title, "utf-8", maxlinelen=10_000).encode(),
        "Click": message.url,
        "Tags": _TAGS.get(message.event, "information_source"),
        "Priority": "4" if message.event == BROKE else "3",
        "Content-Type": "text/plain; charset=utf-8",
    }
    return Letter("\n".join(each[:_MOST_LINE] for each in message.lines).encode(), headers)


CHATS: dict[str, Callable[[Message], Letter]] = {
    "slack": _slack,
    "mattermost": _mattermost,
    "discord": _discord,
    "ntfy": _ntfy,
}
