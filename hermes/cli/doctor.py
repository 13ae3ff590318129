"""`hermes doctor`."""

import asyncio
import json
import textwrap
from contextlib import suppress

import click
from rich.console import Console
from rich.text import Text

from hermes.cli import elsewhere
from hermes.cli.doctor_server import examine_client
from hermes.doctor.checkup import examine
from hermes.doctor.findings import Finding, Status, worst
from hermes.errors import SettingsError

_STYLES = {Status.OK: "green", Status.NOTE: "cyan", Status.WARNING: "yellow", Status.PROBLEM: "bold red"}
_ENDLESS = 10_000  # columns, where nobody looks: a line is a line


@click.command()
@click.option("--json", "as_json", is_flag=True, help="JSON, one object.")
@elsewhere.option
def doctor(as_json: bool, server: str) -> None:
    """Look at all that this instance stands on, and say what to do. Exit code 1: there is a problem.

    On another machine than the service's it looks at the server where you are signed in, and whether this
    machine can use it."""
    with suppress(SettingsError):  # settings that cannot be read are a finding
        server = elsewhere.server_meant(server)
    findings = examine_client(server) if server else asyncio.run(examine())
    verdict = worst(findings)
    if as_json:
        found = [finding._asdict() for finding in findings]
        click.echo(json.dumps({"status": verdict, "findings": found}, ensure_ascii=False))
    else:
        _show(findings)
    raise SystemExit(1 if verdict is Status.PROBLEM else 0)


def _show(findings: list[Finding]) -> None:
    console = Console(highlight=False)
    names = max(len(each.name) for each in findings)
    columns = (console.width if console.is_terminal else _ENDLESS) - len(f"problem   {'':{names}}    ")
    for each in findings:
        first, *more = _fold(each.found, columns)
        steps = [f"{'→ ' if at == 0 else '  '}{line}" for at, line in enumerate(_fold(each.step, columns))]
        head = Text(f"{each.status:8} {each.name:{names}}  ", style=_STYLES[each.status])
        console.print(head + Text(first), soft_wrap=True)
        for line in [*more, *steps]:
            console.print(Text(f"{'':{len(head)}}{line}"), soft_wrap=True)
    console.print(Text(_summary(findings)), soft_wrap=True)


def _fold(words: str, columns: int) -> list[str]:
    """At blanks only, so that what is to be typed stays whole."""
    return textwrap.wrap(words, max(columns, 20), break_long_words=False, break_on_hyphens=False)


def _summary(findings: list[Finding]) -> str:
    """`2 problems, 1 warning; → is the next step`."""
    statuses = [each.status for each in findings]
    counts = [(statuses.count(each), each) for each in reversed(Status) if each is not Status.OK]
    bad = [f"{count} {status}{'s' if count > 1 else ''}" for count, status in counts if count]
    return f"\n{', '.join(bad)}; → is the next step" if bad else "\nall is well"
