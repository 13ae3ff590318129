"""Which artifacts a page shows as pictures: the first few that are images by their first bytes."""

from collections.abc import Sequence

from hermes.paths import Paths
from hermes.tables import Artifact
from web.files import shown_in_place

_MOST = 12
_MAX_BYTES = 16 << 20
_ENDINGS = (".png", ".jpg", ".jpeg", ".gif", ".webp")


async def previews(paths: Paths, artifacts: Sequence[Artifact]) -> list[Artifact]:
    """In their order."""
    found: list[Artifact] = []
    for artifact in artifacts:
        if len(found) == _MOST:
            break
        if artifact.path.lower().endswith(_ENDINGS) and artifact.size_bytes <= _MAX_BYTES:
            kind = await shown_in_place(paths.artifact(artifact.sha256), artifact.size_bytes)
            if kind is not None and kind.startswith("image/"):
                found.append(artifact)
    return found
