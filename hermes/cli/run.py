"""`hermes run`: a function with other inputs, as if it ran here: output, exit code, Ctrl-C."""

import os
import signal
import sys
import time
from typing import Any, NoReturn

import click

from hermes.cli.follow import Follower, Wish, print_result
from hermes.cli.inputs import Inputs, pairs
from hermes.cli.interrupts import Detached, interrupts, leaving
from hermes.cli.remote import connection, note, server_option, whole_name
from hermes.cli.verdict import CANNOT, bad_words, exit_code, say_record
from hermes.client import Client, Invocation
from hermes.errors import HermesError
from hermes.units import parse_span_s


class _Usage(click.UsageError):
    exit_code = CANNOT


class _Run(click.Command):
    """A wrong command line ends with 125, as all that is ours does: 2 is the program's."""

    def make_context(self, *args: Any, **rest: Any) -> click.Context:
        try:
            return super().make_context(*args, **rest)
        except click.UsageError as error:
            raise _Usage(error.message, error.ctx) from None


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
    try:
        with connection(server) as client:
            code = _invoke(client, function=function, **options)
    except HermesError as error:
        from hermes.cli import complain

        complain(error)
        code = CANNOT
    _end(code)


def _end(code: int) -> NoReturn:
    """At once: Python would take every module apart first, 20 ms, and nothing of ours is open any more."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.flush()
    os._exit(code)


def _invoke(
    client: Client, *, file: str | None, no_stdin: bool, inputs: tuple[str, ...], **options: Any
) -> int:
    """The exit code."""
    quiet, as_json = options.pop("quiet"), options.pop("as_json")
    detach, wait_s = options.pop("detach"), options.pop("wait")
    given = Inputs.open(file, no_stdin, inputs, quiet)
    try:
        wish = Wish(client, _invocation(client, given, **options), given.rewind if given.can_resend else None)
        if detach or wait_s:
            return _leave(wish, 0.0 if detach else wait_s, as_json)
        return _follow(wish, quiet, as_json)
    finally:
        given.close()


def _invocation(
    client: Client, given: Inputs, function: str, args: tuple[str, ...], **options: Any
) -> Invocation:
    cpus = options["cpus"]
    return Invocation(
        whole_name(client, function),
        args=args or None,
        env=pairs(options["env"], "--env", os.environ.get),
        parameters=pairs(options["parameter"], "--parameter", lambda _name: None),
        timeout=options["timeout"],
        cpus=None if cpus is None else f"{cpus:g}",
        memory=options["memory"],
        gpus=options["gpus"],
        gpu_memory=options["gpu_memory"],
        repeat=options["repeat"],
        stdin=given.stdin,
        inputs=given.files,
        callback_url=options["callback"],
        idempotency_key=options["idempotency_key"] or os.urandom(16).hex(),
    )


def _follow(wish: Wish, quiet: bool, as_json: bool) -> int:
    """Here until it ends."""
    follower = Follower(wish.client, quiet)

    def cancel() -> bool:
        if follower.record is None:
            return False
        # another one: the first is in the middle of an answer
        with Client(wish.client.url, wish.client.token) as other:
            other.cancel(follower.record["id"])
        return True

    try:
        with interrupts(cancel):
            record = follower.start(wish)
    except (Detached, BrokenPipeError) as left:
        if follower.record is not None:
            leaving(follower.record["id"])
        else:
            note("left before the server said that there is a run: hermes executions list")
        sys.stdout = None  # nothing is flushed into a pipe that is closed
        return left.code if isinstance(left, Detached) else 128 + signal.SIGPIPE
    if not quiet and (words := bad_words(record)):
        note(words)
    if as_json:
        say_record(record, follower.begins_line)
    return exit_code(record)


def _leave(wish: Wish, wait_s: float, as_json: bool) -> int:
    """Started, and waited for at most so long."""
    until = time.monotonic() + wait_s
    record = wish.start(lambda: wish.client.start(wish.invocation, wait_s))
    while record["ended_at"] is None and time.monotonic() < until:
        time.sleep(min(0.5, max(until - time.monotonic(), 0)))
        record = wish.client.run(record["id"])
    ended = record["ended_at"] is not None
    begins_line = print_result(wish.client, record) if ended and wait_s else True
    if as_json:
        say_record(record, begins_line)
    elif not (ended and wait_s):
        click.echo(record["id"])
    if not (ended and wait_s):
        return 0
    if words := bad_words(record):
        note(words)
    return exit_code(record)
