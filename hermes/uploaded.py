"""The rows of files that start runs when they arrive, and of watched folders; part of `hermes.tables`."""

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from hermes.columns import Base

_UNDELIVERED = text("watch_id IS NOT NULL AND delivered_at IS NULL")
_RECEIVING = text("run_id IS NULL")


class Upload(Base):
    """A file that was uploaded to a function, or found in a watched folder. Without a run it is on its way:
    one that comes in parts. Each has a run of its own, whatever others of its name there are."""

    __tablename__ = "upload"
    __table_args__ = (
        UniqueConstraint("run_id"),
        UniqueConstraint("watch_id", "name", "mark"),
        Index("upload_name", "repo_id", "name", "id"),
        Index("upload_repo", "repo_id", "id"),
        Index("upload_receiving", "id", sqlite_where=_RECEIVING, postgresql_where=_RECEIVING),
        Index("upload_undelivered", "watch_id", sqlite_where=_UNDELIVERED, postgresql_where=_UNDELIVERED),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    repo_id: Mapped[int] = mapped_column(ForeignKey("repo.id"))
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    function: Mapped[str]  # its name, and what of it: a version, or as hermes.functions.LATEST
    what: Mapped[str]
    name: Mapped[str]  # a relative path
    size_bytes: Mapped[int]
    sha256: Mapped[str]  # as the sender said, and as it was then found to be; "": nobody said
    token: Mapped[str] = mapped_column(index=True)  # of the file (Paths.input)
    run_id: Mapped[int | None] = mapped_column(ForeignKey("run.id"))
    watch_id: Mapped[int | None] = mapped_column(ForeignKey("watch.id"))
    mark: Mapped[str]  # which file of this name it was in the watched folder: inode, time, size
    created_at: Mapped[float]
    delivered_at: Mapped[float | None]  # what came of it lies beside the watched folder


class Watch(Base):
    """A folder of this machine whose new files start runs."""

    __tablename__ = "watch"
    id: Mapped[int] = mapped_column(primary_key=True)
    folder: Mapped[str] = mapped_column(unique=True)
    out: Mapped[str]  # where outputs are written
    function: Mapped[str]  # as users write it: owner/name, owner/name:1.0.0
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))  # whose runs they are
    error: Mapped[str]  # why nothing is taken from it now
    created_at: Mapped[float]
    removed_at: Mapped[float | None]  # what was taken from it stays known, should it come back
