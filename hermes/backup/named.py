"""What a database names: the files of a backup, and no others."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, func, inspect, select, true
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.base import Executable

from hermes.paths import Paths
from hermes.removals import Data, is_removed
from hermes.states import State
from hermes.tables import Artifact, Build, Input, Push, Rank, Removal, Repo

_OF_ATTEMPT = re.compile(r"(\d+)\.(\d+)(?:\.(?:log|idx|stages))?")


@dataclass(frozen=True)
class Named:
    """Read in one transaction. `builds` and `ranks`: the newest attempt of each."""

    last_push: int
    repos: list[int]
    builds: dict[int, int]
    ranks: dict[int, int]
    images: list[int]
    artifacts: list[str]
    inputs: list[str]


class Item(NamedTuple):
    """A file to be copied. `is_final`: it never changes any more, so a link is as good as a copy."""

    name: str
    source: Path
    is_final: bool


def read_named(connection: Connection) -> Named:
    """Without what was removed to make room. Also of a schema that is older than this program's."""

    def rows(query: Executable) -> list[tuple[int, int]]:
        return [tuple(row) for row in connection.execute(query).all()]

    def there(kind: Data, subject: "InstrumentedAttribute[int]") -> ColumnElement[bool]:
        return ~is_removed(kind, subject) if has_removals else true()

    tables = inspect(connection).get_table_names()
    has_removals = Removal.__tablename__ in tables
    built = select(Build.id).where(Build.state == State.BUILT, there(Data.IMAGES, Build.id))
    digests = select(Artifact.sha256).where(there(Data.ARTIFACTS, Artifact.run_id)).distinct()
    tokens = select(Input.token).where(there(Data.INPUTS, Input.run_id)).distinct()
    return Named(
        last_push=connection.scalar(select(func.max(Push.id))) or 0,
        repos=list(connection.scalars(select(Repo.id).order_by(Repo.id))),
        builds=dict(rows(select(Build.id, Build.attempt))),
        ranks=dict(rows(select(Rank.id, Rank.attempt))),
        images=list(connection.scalars(built)),
        artifacts=list(connection.scalars(digests.order_by(Artifact.sha256))),
        inputs=list(connection.scalars(tokens)) if Input.__tablename__ in tables else [],
    )


def artifacts_of(named: Named, paths: Paths) -> Iterator[Item]:
    """Each once."""
    for digest in named.artifacts:
        yield _item(paths, paths.artifact(digest), is_final=True)


def inputs_of(named: Named, paths: Paths) -> Iterator[Item]:
    """What invocations have brought."""
    for token in named.inputs:
        yield _item(paths, paths.input(token), is_final=True)


def images_of(named: Named, paths: Paths) -> Iterator[Item]:
    """What was built."""
    for build_id in named.images:
        yield _item(paths, paths.image(build_id), is_final=True)


def logs_of(named: Named, paths: Paths) -> Iterator[Item]:
    """Of the attempts that there are; the text of each after what describes it, which must not tell of more.
    A later attempt is not in the rows: its number will be given once more."""
    for kind, attempts in (("build", named.builds), ("rank", named.ranks)):
        yield from _attempts(paths, paths.log(kind, 0, 0).parent, attempts)


def results_of(named: Named, paths: Paths) -> Iterator[Item]:
    """What invoked programs wrote to stdout."""
    yield from _attempts(paths, paths.result(0, 0).parent, named.ranks)


def _attempts(paths: Paths, folder: Path, attempts: dict[int, int]) -> Iterator[Item]:
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _OF_ATTEMPT.fullmatch(path.name)
        if match and int(match[2]) <= attempts.get(int(match[1]), 0):
            found.append((path.suffix == ".log", path.name, path))
    for _, _, path in sorted(found):
        yield _item(paths, path, is_final=False)


def _item(paths: Paths, source: Path, *, is_final: bool) -> Item:
    return Item(str(source.relative_to(paths.root)), source, is_final)
