"""Git's own reasons against a push, in words that say what to do next."""

import re
from collections.abc import Iterable
from pathlib import Path

from gitserver.body import too_large
from hermes.errors import DiskFull, Refused, UserError
from hermes.room import FULL_WORDS

_ADVICE = {
    "shallow update not allowed": "this clone is shallow: git fetch --unshallow, from where you cloned it",
    "missing necessary objects": "your repository lacks objects of these commits: git fsck says which",
    "failed to update ref": "another push was faster, or a ref of that name is in the way: git fetch",
    "fetch first": "somebody else has pushed: git pull --rebase, then push",
}
_BROKEN_HINT = "`git fsck --strict` in your repository says more"
_MAX_WORDS = 160


def advice(reasons: Iterable[str]) -> str:
    """Lines for the user, '' if nothing helps more than git's own words."""
    found = {words for reason in reasons for start, words in _ADVICE.items() if reason.startswith(start)}
    return "".join(f"hermes  {words}\n" for words in sorted(found))


def broken(words: str, repo: Path, push_bytes: int) -> UserError:
    """What git could not take in, from what it wrote to the user; nothing of our own paths."""
    lines = [line for line in re.split(r"[\r\n]+", words) if re.match(r"(error|fatal|warning): ", line)]
    reason = re.sub(r"^\w+: ", "", lines[0]) if lines else "git could not read it"
    if "maximum allowed size" in reason:
        return too_large("push", push_bytes)
    if "out of memory" in reason.lower() or "malloc" in reason:
        return Refused(
            "git has too little memory here for this push", "an operator can raise HERMES_GIT_MEMORY"
        )
    if any(words in reason for words in FULL_WORDS):
        return DiskFull("the disk of this service has no room for this push")
    reason = reason.replace(str(repo), "").replace(str(repo.absolute()), "")
    reason = re.sub(r"(?<![\w.])/\S*", "…", reason)[:_MAX_WORDS]
    return Refused(f"the pack is broken: {reason}", _BROKEN_HINT)
