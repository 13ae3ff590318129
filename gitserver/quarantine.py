"""What a push has brought, looked at where it cannot do harm yet: how many objects, and how large.

`receive.maxInputSize` bounds what comes over the wire; a few bytes can still stand for gigabytes. Git has
inflated everything once at this point (within its memory and time); here it is decided what may stay."""

from dataclasses import dataclass
from pathlib import Path

from hermes.errors import Refused
from hermes.objects import Objects
from hermes.settings import Settings
from hermes.units import show_size

_FANOUT_END = 8 + 256 * 4  # magic and version, then 256 counts


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


def check_objects(objects: Objects, quarantine: Path, limits: ObjectLimits) -> None:
    """Raises Refused for an object, or all of them together, that are too large."""
    total = 0
    for sha, size_bytes in objects.each_size(_received(quarantine)):
        if size_bytes > limits.size_bytes:
            size, most = show_size(size_bytes), show_size(limits.size_bytes)
            raise Refused(
                f"object {sha[:7]} has {size}; at most {most}",
                "keep data of this size out of the repository, or raise HERMES_OBJECT_SIZE",
            )
        total += size_bytes
        if total > limits.total_bytes:
            raise Refused(
                f"the objects of the push are more than {show_size(limits.total_bytes)} together, unpacked",
                "push it in parts, an older commit first, or raise HERMES_PUSH_UNPACKED",
            )


def _received(quarantine: Path) -> list[str]:
    """The ids in the index of the one pack that git has made of a push (gitformat-pack: version 2)."""
    ids = []
    for path in (quarantine / "pack").glob("*.idx"):
        data = path.read_bytes()
        count = int.from_bytes(data[_FANOUT_END - 4 : _FANOUT_END])
        digits = data[_FANOUT_END : _FANOUT_END + 20 * count].hex()
        ids += [digits[at : at + 40] for at in range(0, len(digits), 40)]
    return ids
