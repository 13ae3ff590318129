"""What a push has brought, looked at where it cannot do harm yet: how many objects, and how large.

`receive.maxInputSize` bounds what comes over the wire; a few bytes can still stand for gigabytes. Git has
inflated everything once at this point (within its memory and time); here it is decided what may stay."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hermes.errors import Refused
from hermes.git import git_child
from hermes.settings import Settings
from hermes.units import show_size


@dataclass(frozen=True)
class ObjectLimits:
    """The bounds of one push."""

    count: int
    size_bytes: int
    total_bytes: int

    @classmethod
    def of(cls, settings: Settings) -> "ObjectLimits":
        """As the operator has set them."""
        return cls(settings.push_objects, settings.object_size, settings.push_unpacked)


def check_count(count: int, limits: ObjectLimits) -> None:
    """Raises Refused. Known from the head of the pack, before anything of it is read."""
    if count > limits.count:
        raise Refused(
            f"the push has {count} objects; at most {limits.count}",
            "push it in parts, an older commit first, or raise HERMES_PUSH_OBJECTS",
        )


def check_objects(repo: Path, quarantine: Path, limits: ObjectLimits) -> None:
    """Raises Refused for an object, or all of them together, that are too large."""
    total = 0
    for sha, size_bytes in _sizes(repo, quarantine):
        if size_bytes > limits.size_bytes:
            raise Refused(
                f"object {sha[:7]} has {show_size(size_bytes)}; at most {show_size(limits.size_bytes)}",
                "keep data of this size out of the repository, or raise HERMES_OBJECT_SIZE",
            )
        total += size_bytes
        if total > limits.total_bytes:
            raise Refused(
                f"the objects of the push are more than {show_size(limits.total_bytes)} together, unpacked",
                "push it in parts, an older commit first, or raise HERMES_PUSH_UNPACKED",
            )


def _sizes(repo: Path, quarantine: Path) -> Iterator[tuple[str, int]]:
    """Of the received objects only: the quarantine's pack is complete in itself (index-pack --fix-thin)."""
    ask = ("cat-file", "--batch-check=%(objectname) %(objectsize)", "--batch-all-objects", "--unordered")
    with git_child(repo, quarantine, *ask, alone=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            sha, size = line.split()
            yield sha.decode(), int(size)
