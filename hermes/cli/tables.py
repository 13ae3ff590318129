"""Tables for people: columns that hold without colours, as wide as they are, coloured only at a terminal."""

from collections.abc import Sequence

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hermes.cli.plain import clean

_ENDLESS = 10_000  # columns: a line is a line, and a narrow terminal breaks it itself
_COLOURS = {
    "succeeded": "green",
    "built": "green",
    "failed": "red",
    "timed_out": "red",
    "lost": "magenta",
    "cancelled": "yellow",
    "running": "cyan",
    "starting": "cyan",
    "building": "cyan",
}


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """One line for each row; a state has its colour."""
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for column in table.columns:
        column.no_wrap = True
    for row in rows:
        table.add_row(*(Text(clean(cell), style=_COLOURS.get(cell, "")) for cell in row))
    console = Console(highlight=False, width=_ENDLESS)
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))
