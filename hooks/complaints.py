"""What git says when it cannot fetch, in our words: whose fault it is, and whether it passes."""

import re

from hermes.errors import HermesError, Refused, Unavailable
from hermes.units import show_size

_CONNECT_ANEW = "connect it anew: hermes github connect"


class Gone(HermesError):
    """There is no such ref there."""


def complaint(said: str, most_bytes: int) -> HermesError:
    """Refused: nothing is tried again; Unavailable: it passes. Gone: there is no such ref there."""
    if re.search(r"couldn't find remote ref", said):
        return Gone("there is no such ref there")
    for pattern, words, hint in _FINAL:
        if re.search(pattern, said):
            return Refused(words.format(most=show_size(most_bytes)), hint)
    return Unavailable(_last_line(said))


def ssh_complaint(theirs: str) -> HermesError | None:
    """What an SSH server says to who may sign in and gets no repository; None: nothing that tells more."""
    if re.search(_NO_REPOSITORY, theirs):
        words = "there is no such repository, or the deploy key may not read it"
        return Refused(words, _CONNECT_ANEW)
    return None


#: GitHub; GitLab; Gitea and Forgejo (two each); git's own upload-pack.
_NO_REPOSITORY = (
    r"Repository not found|project you were looking for could not be found|Cannot find repository"
    r"|is not authorized to read|does not appear to be a git repository"
)
#: Messages of git 2.30 to 2.51, whose language is C.
_FINAL = (
    (
        r"Authentication failed|could not read Username|could not read Password|returned error: 40[13]",
        "it does not let us in: the token is wrong, revoked or expired, or there is none",
        _CONNECT_ANEW,
    ),
    (
        r"repository '.*' not found|returned error: 404",
        "there is no such repository, or the token may not read it",
        _CONNECT_ANEW,
    ),
    (
        r"unable to update url base from redirection|returned error: 30\d|requested URL returned error: 3",
        "it sends us to another address, and we follow none",
        "connect it anew with the address that it has now",
    ),
    (
        r"File too large",
        "what is new there is more than {most} (HERMES_PUSH_SIZE)",
        "push it here once in parts, then what is new there is little; or raise HERMES_PUSH_SIZE",
    ),
    (r"transport '.*' not allowed", "its address is not one of http", _CONNECT_ANEW),
)


def _last_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("fatal:", "error:"))] or lines
    words = told[-1].removeprefix("fatal: ").removeprefix("error: ") if told else "git gave no reason"
    return words[:300]
