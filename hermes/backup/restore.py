"""Restores a backup into an empty directory: each file against its digest, the database last.

Until the database is there nobody takes the directory for an instance. What ran when the backup was taken is
queued again by the ordinary reconcile: its lease is over."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from hermes.backup import DATABASE, INFO
from hermes.backup.progress import Progress
from hermes.backup.source import Source, info_of, sums_of
from hermes.backup.target import Pieces
from hermes.disk import sync
from hermes.errors import UserError
from hermes.git import GitLimits, git_command, git_env, run_bounded
from hermes.schema import compare

_GIT_FOLDERS = ("refs/heads", "refs/tags", "objects/info", "objects/pack")
_CHECKED_S = 3600.0
_CHECK = GitLimits(16 << 30, _CHECKED_S)  # the operator waits for it, and it is of our own making


class Restore:
    """One of them."""

    def __init__(self, source: Source, data: Path, say: Callable[[str], None]) -> None:
        self._source, self._data = source, data
        self._progress = Progress(self, say)
        self.size_bytes = 0

    def all(self) -> dict[str, Any]:
        """Returns what the backup says of itself. Raises UserError; then nothing is left there."""
        if self._data.exists() and (not self._data.is_dir() or any(self._data.iterdir())):
            raise UserError(
                f"{self._data} is not empty, and nothing is ever overwritten",
                "name a new directory, and start the service with it when all is there",
            )
        info = info_of(self._source)
        schema = compare(info["schema"])
        if schema.is_newer:
            found = f"the backup has schema {schema.found}, and this program knows {schema.head}"
            raise UserError(found, f"restore it with Hermes {info['hermes']} or newer")
        try:
            self._files(sums_of(self._source))
        except BaseException:
            for path in self._data.iterdir() if self._data.is_dir() else ():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            raise
        return info

    def _files(self, sums: dict[str, str]) -> None:
        self._data.mkdir(parents=True, exist_ok=True)
        self._progress.begin("files", len(sums))
        for name, digest in sums.items():
            if name != INFO:
                self._file(name, digest)
            self._progress.one_more()
        self._progress.end()
        self._check_repos()
        os.sync()
        fresh = self._place(DATABASE)
        if fresh.exists():
            _check_database(fresh)
            fresh.rename(self._data / DATABASE)
        sync([self._data])

    def _file(self, name: str, digest: str) -> None:
        place = self._place(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            file, size_bytes, mode, at = self._source.open(name)
        except (KeyError, FileNotFoundError):
            raise UserError(f"the backup is damaged: {name} is not in it", "take another one") from None
        with file, place.open("xb") as copy:
            pieces = Pieces(file, size_bytes)
            for piece in pieces:
                copy.write(piece)
        if pieces.digest.hexdigest() != digest:
            raise UserError(f"the backup is damaged: {name} is not what it was", "take another one")
        place.chmod(0o600 if name.startswith("keys/") else mode & 0o777)
        os.utime(place, (at, at))
        self.size_bytes += size_bytes

    def _place(self, name: str) -> Path:
        if name == DATABASE:
            return self._data / f"{name}.partial"
        return self._data / name.removeprefix("keys/")

    def _check_repos(self) -> None:
        """That nothing which a ref needs is missing."""
        repos = sorted((self._data / "repos").glob("*.git"))
        self._progress.begin("checked", len(repos))
        for repo in repos:
            for folder in _GIT_FOLDERS:
                (repo / folder).mkdir(parents=True, exist_ok=True)
            command = git_command(repo, "fsck", "--connectivity-only", "--no-dangling", "--no-progress")
            code, _, words = run_bounded(command, git_env(), _CHECK, _CHECKED_S)
            if code != 0:
                raise UserError(f"the backup is damaged: {repo.name}: {words}", "take another one")
            self._progress.one_more()
        self._progress.end()


def _check_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        found = database.execute("PRAGMA integrity_check(3)").fetchall()
    if found != [("ok",)]:
        raise UserError(f"the backup is damaged: {DATABASE}: {found[0][0]}", "take another one")
