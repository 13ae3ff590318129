"""What a push may do, and what it asks for. Looks at quarantined objects through limited git children."""

from dataclasses import dataclass
from pathlib import Path

from hermes.errors import ManifestError, Refused, UserError
from hermes.manifest import NAMES, Manifest
from hermes.manifest_file import MAX_BYTES, read_manifest
from hermes.names import check_branch
from hermes.options import PushOptions
from hermes.plan import Instance, Plan, Tree, make_plan
from hermes.pushes import RefUpdate
from hermes.tree import Entry, TreeLimits, list_tree, read_blob, subject_of

MAX_COMMANDS = 16
_BRANCH, _TAG = "refs/heads/", "refs/tags/"


@dataclass(frozen=True)
class Change:
    """One ref update that was looked at; `plan` None: nothing is to be built, `words` say why."""

    update: RefUpdate
    plan: Plan | None = None
    subject: str = ""
    words: str = ""


@dataclass(frozen=True)
class PushPolicy:
    """Everything that decides about one push."""

    repo: Path
    repo_name: str
    limits: TreeLimits
    here: Instance
    options: PushOptions

    def look(self, update: RefUpdate, quarantine: Path | None) -> Change:
        """What this update starts. Raises UserError when it is refused."""
        short = update.ref.removeprefix(_BRANCH).removeprefix(_TAG)
        if update.is_delete:
            return Change(update, words=f"{short} deleted; its runs and logs stay")
        if update.ref.startswith(_TAG):
            return Change(update, words=f"tag {short} stored; tags start nothing, push a branch to run it")
        subject = subject_of(self.repo, update.new_sha, quarantine)
        if "skip" in self.options:
            return Change(update, None, subject, f"{short} stored; nothing started (skip)")
        entries = list_tree(self.repo, update.new_sha, self.limits, quarantine)
        manifest, is_ancestor = self._manifest(entries, quarantine)
        wanted = manifest.on.push
        if wanted is not None and short not in wanted:
            words = (
                f"{short} stored; nothing started: the manifest's on.push is {', '.join(wanted) or 'empty'}"
            )
            return Change(update, None, subject, words)
        runs = "build-only" not in self.options
        tree = Tree(frozenset(entries), self.repo_name, self.options.parameters)
        plan = make_plan(manifest, tree, self.here, ancestor=is_ancestor, runs=runs)
        return Change(update, plan, subject)

    def _manifest(self, entries: dict[str, Entry], quarantine: Path | None) -> tuple[Manifest, bool]:
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
            data = read_blob(self.repo, entry, quarantine)
            return read_manifest(name, data, self.options.overrides), name.endswith(".json")
        return read_manifest(NAMES[0], b"", self.options.overrides), False


def check_count(commands: tuple[RefUpdate, ...]) -> None:
    """Raises Refused when one push is to move too many refs, or one of them twice."""
    if len({command.ref for command in commands}) < len(commands):
        raise Refused("a push can move a ref only once", "push one commit to each ref")
    if len(commands) > MAX_COMMANDS:
        raise Refused(f"{len(commands)} refs in one push; at most {MAX_COMMANDS}", "push them in parts")


def check_ref(ref: str) -> None:
    """What can be refused before the pack is read. Raises UserError."""
    if not ref.startswith((_BRANCH, _TAG)):
        raise UserError(f"{ref[:80]!r} is not a branch or a tag", "push to refs/heads/… or refs/tags/…")
    check_branch(ref.split("/", 2)[2])
