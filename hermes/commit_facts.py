"""What a plan needs to know of a commit, and whether its manifest agrees with that."""

from dataclasses import dataclass, field

from hermes.errors import Refused
from hermes.manifest import Manifest

_MAKEFILES = {"Makefile", "makefile", "GNUmakefile"}


@dataclass(frozen=True)
class Tree:
    """The paths of a commit, and what comes with its push."""

    paths: frozenset[str]
    default_name: str
    commit_sha: str = ""
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def language(self) -> str:
        """`cuda` if there is any .cu file, else `cpp`."""
        return "cuda" if any(path.endswith(".cu") for path in self.paths) else "cpp"

    @property
    def has_makefile(self) -> bool:
        """Whether `make` finds one at the top."""
        return bool(self.paths & _MAKEFILES)


def check_tree(manifest: Manifest, tree: Tree) -> None:
    """Raises Refused where the manifest needs what is not there."""
    if manifest.build.dockerfile and not (tree.has_makefile or manifest.handler):
        raise Refused(
            "there is no Makefile and no handler: nothing says what is to run",
            'add handler = "./program" to hermes.toml',
        )
    if not tree.has_makefile and not manifest.build.dockerfile:
        raise Refused(
            "there is no Makefile at the top of this commit",
            "Hermes runs `make`, then your program: add one (`git push -o skip` only stores commits)",
        )
    stdin = manifest.run.stdin
    if stdin and stdin not in tree.paths:
        raise Refused(
            f"run.stdin = {stdin!r}: no such file in this commit", "commit it, or leave the key out"
        )
