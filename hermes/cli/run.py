"""`hermes run`: a function with other inputs, as if it ran here: output, exit code, Ctrl-C."""

from typing import Any

import click

from hermes.cli.remote import server_option
from hermes.cli.running import run_function
from hermes.cli.verdict import CANNOT
from hermes.units import parse_span_s


class _Usage(click.UsageError):
    exit_code = CANNOT


class _Run(click.Command):
    """A wrong command line ends with 125, as all that is ours does: 2 is the program's."""

    def make_context(self, *args: Any, **rest: Any) -> click.Context:
        try:
            return super().make_context(*args, **rest)
        except click.UsageError as error:
            raise _Usage(error.format_message(), error.ctx) from None


class _Span(click.ParamType[float]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return parse_span_s(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(cls=_Run)
@click.argument("function", metavar="OWNER/NAME[:VERSION|@WHAT]")
@click.argument("args", nargs=-1, metavar="[-- ARG...]")
@click.option(
    "-f", "--file", "file", metavar="FILE", help="Its stdin; default: ours, unless that is a terminal."
)
@click.option("--no-stdin", is_flag=True, help="Its stdin is what the manifest says, or empty.")
@click.option("--input", "inputs", multiple=True, metavar="FILE[:NAME]", help="A file in $HERMES_INPUT_DIR.")
@click.option("-e", "--env", multiple=True, metavar="NAME[=VALUE]", help="Environment; without =VALUE ours.")
@click.option("-p", "--parameter", multiple=True, metavar="NAME=VALUE", help="A parameter of the manifest.")
@click.option("--gpus", type=click.IntRange(0), metavar="N", help="How many GPUs.")
@click.option("--gpu-memory", metavar="SIZE", help="Memory of each at least: 8G.")
@click.option("--timeout", metavar="DURATION", help="How long it may run: 90s, 15m, 1h30m.")
@click.option("--cpus", type=float, metavar="N", help="How many CPUs.")
@click.option("--memory", metavar="SIZE", help="How much memory: 4G.")
@click.option("--repeat", type=click.IntRange(1), metavar="N", help="So many ranks.")
@click.option(
    "-d", "-a", "--detach", "--async", "detach", is_flag=True, help="Print its number and leave it."
)
@click.option("--wait", type=_Span(), metavar="DURATION", help="Wait so long for its end, else as --detach.")
@click.option("--callback", default="", metavar="URL", help="Where the server posts the record when it ends.")
@click.option("--idempotency-key", default="", metavar="KEY", help="Asked twice with it, it runs once.")
@click.option("-j", "--json", "as_json", is_flag=True, help="The record, on the last line of stdout.")
@click.option("-q", "--quiet", is_flag=True, help="Nothing on stderr but what the program writes there.")
@click.option("--sync", is_flag=True, hidden=True)  # the first Hermes' examples have it; it is how we run
@server_option
def run(function: str, server: str, sync: bool, **options: Any) -> None:
    """Run a built function with other inputs, without a build.

    Its stdout and stderr come to ours as bytes, its exit code is ours (128 + N after a signal). What is ours:
    125 it could not be started or followed, 124 its time was up, 130 it was cancelled. Ctrl-C asks whether to
    cancel or to detach; where nobody can be asked it goes on without us."""
    run_function(function, server, **options)
