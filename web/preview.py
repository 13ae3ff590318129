"""How the artifacts of a run look on a page: grouped by rank, the first few of each kind shown in place."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from hermes.paths import Paths
from hermes.removals import Data, sentence
from hermes.tables import Artifact
from hermes.threads import in_thread
from web.details import RunDetails
from web.files import artifact_url, look, type_in_place
from web.indent import READ_BYTES as JSON_BYTES
from web.indent import indented, is_json
from web.media import LOOK_BYTES, Kind, Media
from web.netpbm import NotAPicture, read_head
from web.plot import Plot, draw
from web.site import Site
from web.tabular import READ_BYTES as TABLE_BYTES
from web.tabular import Table, read_table

LISTED = 200
_MOST = {Kind.PICTURE: 12, Kind.NETPBM: 12, Kind.TABLE: 4, Kind.JSON: 8, Kind.TEXT: 8}
_MOST |= {Kind.AUDIO: 4, Kind.VIDEO: 4}
_PLAYED = (Kind.AUDIO, Kind.VIDEO)
_MAX_PICTURE_BYTES = 16 << 20
_TEXT_BYTES, _TEXT_LINES = 8192, 40


@dataclass(frozen=True)
class Shown:
    """An artifact of a page. `kind` is OTHER when it is only listed; `text` are its first lines."""

    artifact: Artifact
    kind: Kind = Kind.OTHER
    open_url: str = ""
    preview_url: str = ""
    text: str = ""
    is_cut: bool = False
    table: Table | None = None
    plot: Plot | None = None

    @property
    def url(self) -> str:
        """The download."""
        return artifact_url(self.artifact)

    @property
    def picture_url(self) -> str:
        """What an `img` shows."""
        return {Kind.PICTURE: f"{self.url}?inline=1", Kind.NETPBM: f"{self.url}?as=png"}.get(self.kind, "")


@dataclass(frozen=True)
class Group:
    """What one rank wrote."""

    rank: int
    files: list[Shown]

    @property
    def in_place(self) -> list[Shown]:
        """What is shown without a click."""
        return [each for each in self.files if each.picture_url or each.plot or each.kind in _PLAYED]


@dataclass(frozen=True)
class Gallery:
    """The artifacts of a run as far as a page has them."""

    run_id: int
    groups: list[Group]
    total: int
    has_ranks: bool
    unfolded: int = 3  # groups that are open at first
    removed: str = ""  # when, and why; then there are only names

    @property
    def listed(self) -> int:
        """How many of them."""
        return sum(len(group.files) for group in self.groups)


async def gallery(site: Site, details: RunDetails) -> Gallery:
    """Of the page of a run or its commit."""
    rows = [(each, details.rank_number(each)) for each in details.artifacts[:LISTED]]
    groups = await grouped(site, rows)
    gone = details.removed.get(Data.ARTIFACTS)
    removed = sentence(gone) if gone else ""
    return Gallery(details.run.id, groups, details.artifact_count, details.has_ranks, removed=removed)


async def grouped(site: Site, rows: Sequence[tuple[Artifact, int]]) -> list[Group]:
    """Artifacts with the number of their rank, in this order."""
    return await in_thread(_grouped, site.context.paths, site.origin is not None, rows)


def _grouped(paths: Paths, has_origin: bool, rows: Sequence[tuple[Artifact, int]]) -> list[Group]:
    groups: dict[int, Group] = {}
    left = Counter(_MOST)
    for artifact, rank in rows:
        path = paths.artifact(artifact.sha256)
        media = look(path, artifact)
        shown = _in_place(artifact, media, path, left)
        if type_in_place(media, artifact.size_bytes) and media.kind not in _PLAYED:
            shown = replace(shown, open_url=f"{shown.url}?inline=1")
        if has_origin and media.kind in (Kind.HTML, Kind.SVG):
            shown = replace(shown, preview_url=f"{shown.url}?preview=1")
        groups.setdefault(rank, Group(rank, [])).files.append(shown)
    return list(groups.values())


def _in_place(artifact: Artifact, media: Media, path: Path, left: "Counter[Kind]") -> Shown:
    """Each kind has its share of a page."""
    kind = Kind.TEXT if media.kind in (Kind.HTML, Kind.SVG) else media.kind
    if left[kind] <= 0 or not artifact.size_bytes or not _can_be_seen(kind, path, artifact.size_bytes):
        return Shown(artifact)
    left[kind] -= 1
    if kind is Kind.TABLE and (sheet := _sheet(path, artifact.path, artifact.size_bytes)):
        return Shown(artifact, kind, table=sheet[0], plot=sheet[1])
    if kind in (Kind.JSON, Kind.TABLE, Kind.TEXT):
        text, is_cut = _first_lines(path, kind, artifact.size_bytes)
        return Shown(artifact, Kind.TEXT, text=text, is_cut=is_cut)
    return Shown(artifact, kind)


def _can_be_seen(kind: Kind, path: Path, size_bytes: int) -> bool:
    """A picture is not too large, and what says that it is one has a header like one."""
    if kind is Kind.NETPBM:
        try:
            read_head(_start(path, LOOK_BYTES), size_bytes)
        except NotAPicture:
            return False
        return True
    return kind is not Kind.PICTURE or size_bytes <= _MAX_PICTURE_BYTES


def _start(path: Path, most_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most_bytes)
    except FileNotFoundError:
        return b""


@lru_cache(maxsize=64)
def _sheet(path: Path, name: str, size_bytes: int) -> tuple[Table, Plot | None] | None:
    """A path is a digest: what is there never changes. Of the numbers only the drawing is kept."""
    table = read_table(_start(path, TABLE_BYTES), name, size_bytes)
    return None if table is None else (replace(table, x=None, series=[]), draw(table))


def _first_lines(path: Path, kind: Kind, size_bytes: int) -> tuple[str, bool]:
    """JSON is laid out, if it is and if it is small."""
    if kind is Kind.JSON and size_bytes <= JSON_BYTES:
        text = _start(path, JSON_BYTES).decode("utf-8-sig", "replace")
        if is_json(text):
            text = indented(text, _TEXT_BYTES)
            size_bytes = len(text)
    else:
        text = _start(path, _TEXT_BYTES).decode("utf-8", "replace")
    lines = text[:_TEXT_BYTES].splitlines(keepends=True)
    first = "".join(lines[:_TEXT_LINES])
    return first, len(lines) > _TEXT_LINES or size_bytes > _TEXT_BYTES
