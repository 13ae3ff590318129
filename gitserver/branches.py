"""What a push may do to branches and tags: names, numbers, and the protection that an owner has set."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hermes.errors import Refused, Unavailable, UserError
from hermes.git import run_git
from hermes.names import check_branch
from hermes.objects import Objects
from hermes.pushes import BRANCHES, HIDDEN, TAGS, RefUpdate
from hermes.refs import FOLLOWED
from hermes.units import show_size

_FEW_COMMITS = 20


@dataclass(frozen=True)
class Target:
    """The repository of a push, as far as its policy goes."""

    path: Path
    owner: str
    name: str
    default_branch: str = ""
    protected: bool = False


def check_commands(commands: tuple[RefUpdate, ...], most: int) -> None:
    """Raises UserError when one push is to move too many refs, or one of them twice, or a bad name."""
    if len({command.ref for command in commands}) < len(commands):
        raise Refused("a push can move a ref only once", "push one commit to each ref")
    if len(commands) > most:
        raise Refused(
            f"{len(commands)} refs in one push; at most {most}",
            "push them in parts, or raise HERMES_PUSH_REFS",
        )


def check_ref(ref: str, *, is_followed: bool = False) -> None:
    """What can be refused before the pack is read; `is_followed`: it comes from a repository elsewhere.
    Raises UserError."""
    if not ref.startswith((BRANCHES, TAGS, *(FOLLOWED if is_followed else ()))):
        raise UserError(f"{ref[:80]!r} is not a branch or a tag", "push to refs/heads/… or refs/tags/…")
    check_branch(ref.split("/", 2)[2])


def check_room(repo: Path, commands: tuple[RefUpdate, ...], most_refs: int, most_bytes: int) -> None:
    """Raises Refused when the repository is full: of refs, or of bytes."""
    known = set(_refs(repo))
    fresh = {command.ref for command in commands if not command.is_delete} - known
    _check_places(fresh, (known | fresh) - {command.ref for command in commands if command.is_delete})
    if fresh and len(known) + len(fresh) > most_refs:
        raise Refused(
            f"the repository has {len(known)} branches and tags; at most {most_refs}",
            "delete some (git push gpu --delete NAME), or raise HERMES_REPO_REFS",
        )
    size_bytes = _size_bytes(repo)
    if size_bytes > most_bytes and not all(command.is_delete for command in commands):
        raise Refused(
            f"the repository has {show_size(size_bytes)}; at most {show_size(most_bytes)}",
            "push to a new one without the large files, or raise HERMES_REPO_SIZE",
        )


def _check_places(fresh: set[str], all_refs: set[str]) -> None:
    """Raises Refused for a ref that would be a folder of another one: git finds that out too late."""
    folders = {str(folder): ref for ref in all_refs for folder in PurePosixPath(ref).parents}
    for ref in fresh:
        parents = map(str, PurePosixPath(ref).parents)
        other = folders.get(ref) or next((each for each in parents if each in all_refs), "")
        if other:
            raise Refused(f"{ref} cannot be beside {other}", "choose another name, or delete the other one")


def _refs(repo: Path) -> Iterator[str]:
    """Branches and tags, from git's own two places (gitrepository-layout): loose files and packed-refs."""
    for part in ("heads", "tags"):
        for folder, _, names in os.walk(repo / "refs" / part):  # it does not mind folders that vanish
            inside = os.path.relpath(folder, repo)
            yield from (f"{inside}/{name}" for name in names if not name.endswith(".lock"))
    with suppress(FileNotFoundError):
        for line in (repo / "packed-refs").read_text(errors="replace").splitlines():
            ref = line.partition(" ")[2]
            if ref.startswith((BRANCHES, TAGS)):
                yield ref


def _size_bytes(repo: Path) -> int:
    """Of the packs: pushes are stored in nothing else."""
    size = 0
    for each in os.scandir(repo / "objects" / "pack"):
        if each.name.endswith(".pack"):
            with suppress(FileNotFoundError):  # maintenance has just put it into another one
                size += each.stat().st_size
    return size


def check_update(target: Target, update: RefUpdate, objects: Objects, quarantine: Path | None) -> None:
    """The protection that a repository's owner has switched on. Raises Refused.

    What the update leaves behind is kept: every commit that was accepted has a page and may be queued."""
    if update.is_create or _is_ahead(objects, update):
        return
    if not _leaves_behind(target.path, update, quarantine):
        return
    hint = f"its owner can lift the protection: {target.owner}/{target.name} → Settings"
    if target.protected and update.ref.startswith(TAGS):
        raise Refused(f"tags are protected here: {update.short} stays as it is", hint)
    if target.protected and update.ref == BRANCHES + target.default_branch:
        if update.is_delete:
            raise Refused(f"{update.short} is protected: it cannot be deleted", hint)
        raise Refused(
            f"{update.short} is protected: the push would rewrite its history (no force)",
            f"git pull --rebase, then push without --force; {hint}",
        )
    _keep(target.path, update)


def _is_ahead(objects: Objects, update: RefUpdate) -> bool:
    """Whether it is seen at once that the new commit follows the old one; most pushes are a few commits."""
    if update.is_delete or update.ref.startswith(TAGS):
        return False
    seen, next_ = 0, [update.new_sha]
    while next_ and seen < _FEW_COMMITS:
        info = objects.info(sha := next_.pop(0))
        if sha == update.old_sha:
            return info is not None
        if info is None or info.kind != "commit":
            return False
        head = objects.read(sha).partition(b"\n\n")[0]
        next_ += [line[7:].decode() for line in head.split(b"\n") if line.startswith(b"parent ")]
        seen += 1
    return False


def _leaves_behind(repo: Path, update: RefUpdate, quarantine: Path | None) -> bool:
    """Whether objects are no longer reachable by this ref afterwards."""
    if update.is_delete or update.ref.startswith(TAGS):
        return True
    try:
        run_git(repo, "merge-base", "--is-ancestor", update.old_sha, update.new_sha, quarantine=quarantine)
    except Unavailable:
        return True
    return False


def _keep(repo: Path, update: RefUpdate) -> None:
    """A ref that clients do not see: maintenance does not throw away what the update leaves behind. Raises
    Unavailable when it cannot be made; then the update must not happen either."""
    try:
        current = run_git(repo, "rev-parse", "--verify", "--quiet", update.ref).decode().strip()
    except Unavailable:  # the ref is not there: git will refuse the update itself
        return
    if current == update.old_sha:
        run_git(repo, "update-ref", f"{HIDDEN}/{current}", current)
