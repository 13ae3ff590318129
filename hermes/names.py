"""The rules for names that users choose: owners, repos, branches."""

import re

from hermes.errors import UserError

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_BRANCH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+#=-]{0,199}")
_GIT_REFUSES = re.compile(r"\.\.|//|/\.|[./]$|\.lock(?:/|$)")  # git check-ref-format does
_MAIL = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", re.ASCII
)
_RESERVED = frozenset(
    [
        "admin",
        "api",
        "artifacts",
        "badges",
        "builds",
        "functions",
        "git",
        "gpus",
        "healthz",
        "hooks",
        "login",
        "metrics",
        "queue",
        "runs",
        "settings",
        "signin",
        "signout",
        "static",
        "webhooks",
    ]
)  # first path parts of our own pages


def check_name(name: str, what: str) -> str:
    """A user's or a repo's name, unchanged. Raises UserError with the rule in words."""
    if not _NAME.fullmatch(name) or ".." in name or name.endswith((".git", ".lock")):
        raise UserError(
            f"{name[:80]!r} cannot be the name of a {what}",
            "use 1 to 64 of a-z 0-9 . _ -, starting and ending with a letter or a digit",
        )
    if what == "user" and name in _RESERVED:
        raise UserError(f"{name!r} is a page of this service", "choose another user name")
    return name


def check_branch(name: str) -> str:
    """A branch or tag name, unchanged. Raises UserError."""
    if not _BRANCH.fullmatch(name) or _GIT_REFUSES.search(name):
        raise UserError(
            f"ref name {name[:80]!r} is not accepted here",
            "use letters, digits and . _ / + # = -, 200 characters at most",
        )
    return name


def is_mail_address(text: str) -> bool:
    """Whether mail may be sent there, by its form: what most servers take, and nothing that ends a header."""
    return _MAIL.fullmatch(text) is not None
