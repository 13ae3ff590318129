"""What an artifact is, by its first bytes; only among texts does its name decide."""

from enum import StrEnum
from typing import NamedTuple

LOOK_BYTES = 4096
_TEXT_TYPE = "text/plain; charset=utf-8"


class Kind(StrEnum):
    """How a page can show it."""

    PICTURE = "picture"
    NETPBM = "netpbm"  # a picture that no browser knows
    AUDIO = "audio"
    VIDEO = "video"
    PDF = "pdf"
    TABLE = "table"
    JSON = "json"
    TEXT = "text"
    HTML = "html"
    SVG = "svg"
    OTHER = "other"


class Media(NamedTuple):
    """`content_type` is what a browser may have it as on our own origin; None: only a download."""

    kind: Kind
    content_type: str | None

    @property
    def is_text(self) -> bool:
        """Whether people can read its bytes."""
        return self.content_type == _TEXT_TYPE


_BY_START = (
    (b"\x89PNG\r\n\x1a\n", Media(Kind.PICTURE, "image/png")),
    (b"\xff\xd8\xff", Media(Kind.PICTURE, "image/jpeg")),
    (b"GIF87a", Media(Kind.PICTURE, "image/gif")),
    (b"GIF89a", Media(Kind.PICTURE, "image/gif")),
    (b"%PDF-", Media(Kind.PDF, "application/pdf")),
    (b"ID3", Media(Kind.AUDIO, "audio/mpeg")),
    (b"fLaC", Media(Kind.AUDIO, "audio/flac")),
)
_RIFF = {
    b"WEBP": Media(Kind.PICTURE, "image/webp"),
    b"WAVE": Media(Kind.AUDIO, "audio/wav"),
}
_ENDINGS = {
    (".csv", ".tsv"): Kind.TABLE,
    (".json", ".ipynb", ".geojson"): Kind.JSON,
    (".html", ".htm"): Kind.HTML,
    (".svg",): Kind.SVG,
}
_OTHER = Media(Kind.OTHER, None)


def media_of(head: bytes, name: str) -> Media:
    """From the first LOOK_BYTES of a file and what its user has called it."""
    found = next((media for start, media in _BY_START if head.startswith(start)), None)
    found = found or _container(head) or _frames(head, name.lower())
    if found:
        return found
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        is_decimal = head[1:2] in b"123" and _is_text(head)
        return Media(Kind.NETPBM, _TEXT_TYPE if is_decimal else None)
    return Media(_text_kind(name.lower()), _TEXT_TYPE) if _is_text(head) else _OTHER


def _container(head: bytes) -> Media | None:
    if head.startswith(b"RIFF"):
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        sound = head[8:11] in (b"M4A", b"M4B")
        return Media(Kind.AUDIO, "audio/mp4") if sound else Media(Kind.VIDEO, "video/mp4")
    if head.startswith(b"\x1a\x45\xdf\xa3") and b"webm" in head[:64]:
        return Media(Kind.VIDEO, "video/webm")
    if head.startswith(b"OggS"):
        film = b"\x80theora" in head[:128]
        return Media(Kind.VIDEO, "video/ogg") if film else Media(Kind.AUDIO, "audio/ogg")
    return None


def _frames(head: bytes, name: str) -> Media | None:
    """MPEG audio without a tag begins with twelve ones, as other things do, too."""
    is_frame = head[:1] == b"\xff" and head[1:2] in (b"\xfb", b"\xf3", b"\xf2", b"\xfa")
    return Media(Kind.AUDIO, "audio/mpeg") if is_frame and name.endswith(".mp3") else None


def _text_kind(name: str) -> Kind:
    return next((kind for endings, kind in _ENDINGS.items() if name.endswith(endings)), Kind.TEXT)


def _is_text(head: bytes) -> bool:
    if b"\0" in head:
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:  # the last character may go on behind the head
        return len(head) == LOOK_BYTES and error.start > LOOK_BYTES - 4
    return True
