"""`hermes put`: files, and whole folders, that start a run each; big ones go on where they broke off."""

import sys
import time
from pathlib import Path
from typing import Any

import click

from hermes.cli.asking import complain, note, whole_name
from hermes.cli.follow import Follower
from hermes.cli.plain import clean
from hermes.cli.putting import Sender
from hermes.cli.remote import as_json, asks, say_json
from hermes.cli.shelf import File, function_here, to_send
from hermes.cli.verdict import bad_words, exit_code
from hermes.client import Client
from hermes.client.upload import upload_call, uploads_call
from hermes.errors import UserError

_POLL_S = 0.5
Record = dict[str, Any]


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--to", metavar="OWNER/NAME[:VERSION]", default="", help="Default: what this repository is there."
)
@click.option("--as", "name", metavar="PATH", default="", help="What it is called there.")
@click.option("--follow", is_flag=True, help="Wait for the runs; of one file its output and exit code.")
@click.option("-q", "--quiet", is_flag=True, help="No line for each file.")
@as_json
@asks
def put(
    client: Client, files: tuple[str, ...], to: str, name: str, follow: bool, quiet: bool, as_json: bool
) -> None:
    """Upload files: each starts a run, whose program finds it at $HERMES_INPUT_FILE.

    A folder is taken with all that is in it and matches `on.upload` of the function's manifest, by its paths.
    A cut connection is no matter: what was sent stays, and the rest follows. Ends with 1 if a file was not
    taken, or with --follow if a run did not succeed."""
    function = whole_name(client, to) if to else function_here(client.url)
    said = client.ask(uploads_call(function))
    shelf = to_send([Path(each) for each in files], name, said["patterns"])
    for words in shelf.left_out:
        note(words)
    if not shelf.files:
        raise UserError(
            "there is no file to send", f"{function} takes {' '.join(said['patterns']) or 'none'}"
        )
    sent, failed = _send_all(client, function, shelf.files, quiet=quiet or as_json or follow)
    code = 1 if failed else 0
    if follow and sent:
        code = max(code, _follow(client, sent, quiet or as_json))
    if as_json:
        say_json([client.ask(upload_call(each["id"])) for each in sent])
    sys.exit(code)


def _send_all(client: Client, function: str, files: list[File], *, quiet: bool) -> tuple[list[Record], int]:
    """What was taken, and how many were not."""
    sent, failed = list[Record](), 0
    with Sender(client, function, files) as sender:
        for file in files:
            try:
                record = sender.send(file)
            except UserError as error:
                if len(files) == 1:
                    raise
                complain(UserError(f"{file.name}: {error}", error.hint))
                failed += 1
                continue
            sent.append(record)
            if not quiet:
                click.echo(clean(f"{record['name']}  run {record['run']}  {record['run_url']}"))
    if failed:
        note(f"{len(sent)} of {len(files)} files were taken")
    return sent, failed


def _follow(client: Client, sent: list[Record], quiet: bool) -> int:
    """Of one file as `hermes run`; of more how each ended."""
    if len(sent) == 1 and not quiet:
        run = Follower(client, quiet).go_on(client.run(sent[0]["run"]))
        if words := bad_words(run):
            note(words)
        return exit_code(run)
    code = 0
    for each in sent:
        record = client.ask(upload_call(each["id"]))
        while record["ended_at"] is None:
            time.sleep(_POLL_S)
            record = client.ask(upload_call(each["id"]))
        code = max(code, int(record["state"] != "succeeded"))
        if not quiet:
            why = f": {record['reason']}" if record["reason"] and record["state"] != "succeeded" else ""
            click.echo(clean(f"{record['name']}  run {record['run']}  {record['state']}{why}"))
    return code
