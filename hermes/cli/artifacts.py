"""`hermes artifacts`: the files that a run left, listed or fetched; never anywhere but below one folder."""

import hashlib
import os
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import click

from hermes.cli.asking import note
from hermes.cli.bar import Bar
from hermes.cli.number import RUN
from hermes.cli.remote import as_json, asks, say_json
from hermes.client import Client
from hermes.client.answers import Artifact
from hermes.client.errors import BrokenOff
from hermes.errors import UserError
from hermes.units import show_size

_TRIES = 5  # without a byte between them


@click.command()
@click.argument("run", type=RUN)
@click.argument("patterns", nargs=-1, metavar="[FILE]...")
@click.option("-o", "--output", "folder", metavar="DIR", help="Fetch them, into this folder.")
@click.option("-q", "--quiet", is_flag=True, help="Names only; with -o: nothing.")
@as_json
@asks
def artifacts(
    client: Client, run: int, patterns: tuple[str, ...], folder: str | None, quiet: bool, as_json: bool
) -> None:
    """The files that a run left; with -o fetched. FILE chooses among them, as in a shell: '*.png'.

    What is there already stays, what broke off is resumed, each is compared with its digest."""
    record = client.run(run)
    found = sorted(client.artifacts(run), key=lambda file: (file["rank"], file["path"]))
    files = [file for file in found if _is_meant(file, patterns)]
    if not files and patterns:
        raise UserError(f"run {run} left no file like {' '.join(patterns)}", f"hermes artifacts {run}")
    if folder is not None:
        _fetch_all(client, run, files, Path(folder), record["rank_count"] > 1, quiet)
    if as_json:
        say_json(files)
    elif quiet and folder is None:
        for file in files:
            click.echo(file["path"])
    elif folder is None and files:
        from hermes.cli.tables import print_table

        rows = [(f["path"], str(f["rank"]), show_size(f["size_bytes"]), f["sha256"][:16]) for f in files]
        print_table(("FILE", "RANK", "SIZE", "SHA-256"), rows)
    elif not files:
        note(f"run {run} {'has left no file yet' if record['ended_at'] is None else 'left no file'}")


def _is_meant(file: Artifact, patterns: Sequence[str]) -> bool:
    name = PurePosixPath(file["path"])
    return not patterns or any(fnmatch(str(name), each) or fnmatch(name.name, each) for each in patterns)


def _fetch_all(
    client: Client, run: int, files: Sequence[Artifact], folder: Path, by_rank: bool, quiet: bool
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        path = place(folder, f"rank-{file['rank']}/{file['path']}" if by_rank else file["path"])
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            words = _fetch(client, run, file, path)
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}", "choose another -o DIR") from None
        if not quiet:
            click.echo(f"{path}  {show_size(file['size_bytes'])}{words}", err=True)


def place(folder: Path, name: str) -> Path:
    """Where a file of this name goes. Raises UserError for one that would leave the folder."""
    parts = name.split("/")
    path = folder.joinpath(*parts)
    inside = path.parent.resolve().is_relative_to(folder.resolve())
    if name.startswith("/") or any(part in ("", ".", "..") for part in parts) or "\0" in name or not inside:
        raise UserError(
            f"the server has a file {name[:80]!r}, which would leave {folder}", "nothing was fetched"
        )
    return path


def _fetch(client: Client, run: int, file: Artifact, path: Path) -> str:
    if path.is_file() and not path.is_symlink() and _digest(path) == file["sha256"]:
        return ", there already"
    part = path.parent / f".hermes-{file['sha256'][:32]}.part"  # of these bytes and no others
    if part.is_symlink():
        part.unlink()
    with Bar(path.name, file["size_bytes"]) as bar:
        _into(client, run, file, part, bar)
    if _digest(part) != file["sha256"]:
        part.unlink()
        raise BrokenOff(f"{path.name} is not what the server said it was: another digest", "try again")
    os.replace(part, path)
    return ""


def _into(client: Client, run: int, file: Artifact, part: Path, bar: Bar) -> None:
    """Resume it at its end until it is whole."""
    tries = 0
    with part.open("ab") as target:
        bar.told(target.tell())
        while target.tell() < file["size_bytes"]:
            before = target.tell()
            try:
                for data in client.artifact(run, file, before):
                    target.write(data)
                    bar.told(len(data))
            except BrokenOff:
                target.flush()
                tries = 0 if target.tell() > before else tries + 1
                if tries >= _TRIES:
                    raise
            else:
                if target.tell() < file["size_bytes"]:
                    raise BrokenOff(f"{file['path']} ends too early", "try again: it is resumed")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
