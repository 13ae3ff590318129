"""What a push may do, and what it asks for. Looks at quarantined objects through limited git children."""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from gitserver import branches, lfs
from gitserver.quarantine import ObjectLimits, check_objects
from hermes.commit_facts import Tree
from hermes.errors import HermesError, ManifestError, Refused, Unavailable
from hermes.manifest import NAMES, Manifest
from hermes.manifest_file import MAX_BYTES, read_manifest
from hermes.objects import Objects
from hermes.options import PushOptions
from hermes.plan import Instance, Plan, make_plan
from hermes.pushes import TAGS, RefUpdate
from hermes.refs import FOLLOWED, PULLS
from hermes.tree import Entry, TreeLimits, check_link, list_tree

_MAX_LINK = 4096
#: What other services read in the message of the newest commit (docs.github.com: skipping workflow runs).
_SKIP = re.compile(
    r"\[(?:skip ci|ci skip|no ci|skip actions|actions skip|skip hermes|hermes skip)\]"
    r"|^skip-checks:\s*true\s*$",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True)
class Change:
    """One ref update that was looked at; `plan` None: nothing is to be built, `words` say why."""

    update: RefUpdate
    plan: Plan | None = None
    subject: str = ""
    words: str = ""
    is_without_schedules: bool = False  # also without a plan it says so


@dataclass(frozen=True)
class PushPolicy:
    """Everything that decides about one push."""

    repo: branches.Target
    trees: TreeLimits
    objects: ObjectLimits
    here: Instance
    options: PushOptions
    distrust: Refused | None = None  # why nothing of this user may run here

    def examine(
        self, updates: tuple[RefUpdate, ...], objects: Objects, quarantine: Path | None
    ) -> tuple[list[Change], tuple[str, HermesError] | None]:
        """What all updates start; or the ref that is refused, or cannot be looked at now, and why."""
        changes, ref = [], updates[0].ref
        try:
            if quarantine is not None:
                check_objects(objects, quarantine, self.objects)
            for update in updates:
                ref = update.ref
                changes.append(self._look(update, objects, quarantine))
        except HermesError as error:
            return [], (ref, error)
        return changes, None

    def _look(self, update: RefUpdate, objects: Objects, quarantine: Path | None) -> Change:
        branches.check_update(self.repo, update, objects, quarantine)
        short = update.short
        if update.is_delete:
            known = not update.is_create
            return Change(update, words=f"{short} deleted; its runs and logs stay" if known else "")
        if update.old_sha == update.new_sha:  # git does not send that; libgit2 and isomorphic-git do
            return Change(update, words=f"{short} is up to date; nothing started")
        if update.ref.startswith(TAGS):
            return Change(update, words=f"tag {short} stored; tags start nothing, push a branch to run it")
        message = _message(objects, update.new_sha)
        subject = message.partition("\n")[0][:200]
        if why := self._is_skipped(message):
            return Change(update, None, subject, f"{short} stored; nothing started ({why})")
        return self._look_at_tree(update, subject, objects)

    def _is_skipped(self, message: str) -> str:
        if "skip" in self.options:
            return "skip"
        found = _SKIP.search(message)
        return f"the commit message says {found[0].strip()}" if found else ""

    def _look_at_tree(self, update: RefUpdate, subject: str, objects: Objects) -> Change:
        entries = _list(objects, update.new_sha, self.trees)
        manifest, is_ancestor = self._manifest(entries, objects)
        is_asked_for = update.ref.startswith(FOLLOWED)  # a pull request or a release: no branch
        wanted = None if is_asked_for else manifest.on.push
        starts = wanted is None or any(fnmatchcase(update.short, each) for each in wanted)
        if not starts and not self._is_scheduled(manifest, update):
            words = f"nothing started: the manifest's on.push is {', '.join(wanted or ()) or 'empty'}"
            is_without = not manifest.on.schedule
            return Change(update, None, subject, f"{update.short} stored; {words}", is_without)
        if self.distrust is not None:
            raise self.distrust
        for entry in entries.values():
            if entry.is_link:
                check_link(entry, _target(objects, entry), entries)
        tree = Tree(frozenset(entries), self.repo.name, update.new_sha, self.options.parameters)
        runs = starts and "build-only" not in self.options
        plan = make_plan(manifest, tree, self.here, ancestor=is_ancestor, runs=runs)
        if update.ref.startswith(PULLS):  # a stranger's commit: no version of the function, and not its name
            alone = {"name": update.short.replace(" ", "-"), "version": "", "public": None, "caches": False}
            plan = plan.model_copy(update=alone)
        if more := lfs.warnings(objects, entries):
            plan = plan.model_copy(update={"warnings": [*plan.warnings, *more]})
        return Change(update, plan, subject)

    def _is_scheduled(self, manifest: Manifest, update: RefUpdate) -> bool:
        """What runs by schedule is built at its push, also where a push starts no run."""
        return bool(manifest.on.schedule) and self.repo.default_branch in ("", update.short)

    def _manifest(self, entries: dict[str, Entry], objects: Objects) -> tuple[Manifest, bool]:
        for name in NAMES:
            entry = entries.get(name)
            if entry is None:
                continue
            if not entry.is_file:
                raise ManifestError("must be a plain file, not a link or a submodule", f"{name}:1:1")
            if entry.size_bytes > MAX_BYTES:
                raise ManifestError(
                    f"{entry.size_bytes} bytes; a manifest has at most {MAX_BYTES}", f"{name}:1:1"
                )
            return read_manifest(name, objects.read(entry.sha), self.options.overrides), name.endswith(
                ".json"
            )
        return read_manifest(NAMES[0], b"", self.options.overrides), False


def _message(objects: Objects, sha: str) -> str:
    """Of a commit. Raises Refused when it is none."""
    info = objects.info(sha)
    if info is None:
        raise Refused(f"commit {sha[:7]} is not in the push", "git fsck in your repository, then push again")
    if info.kind != "commit":
        raise Refused(f"{sha[:7]} is not a commit", "a branch can only point to a commit")
    _headers, _, message = objects.read(sha).partition(b"\n\n")
    return message.decode("utf-8", "replace").strip()


def _list(objects: Objects, sha: str, limits: TreeLimits) -> dict[str, Entry]:
    """The tree of a commit that has just come: what git cannot read of it, its sender has left out."""
    try:
        return list_tree(objects, sha, limits)
    except Unavailable:
        raise Refused(
            f"objects of commit {sha[:7]} are missing", "git fsck in your repository, then push again"
        ) from None


def _target(objects: Objects, entry: Entry) -> str:
    if entry.size_bytes > _MAX_LINK:
        raise Refused(f"{entry.path!a} is a link of {entry.size_bytes} bytes", "use a relative link")
    return objects.read(entry.sha).decode("utf-8", "surrogateescape")
