"""What `hermes run` does, without what reads its options."""

import os
import signal
import sys
import time
from typing import Any, NoReturn

from hermes.cli.asking import complain, connection, note, whole_name
from hermes.cli.follow import Follower, Wish
from hermes.cli.inputs import Inputs, pairs
from hermes.cli.interrupts import Detached, interrupts, leaving
from hermes.cli.verdict import CANNOT, bad_words, exit_code, say_record
from hermes.client import Client, Invocation
from hermes.errors import HermesError

#: The options of a call that has none.
PLAIN: dict[str, Any] = {
    **dict.fromkeys(("file", "gpus", "gpu_memory", "timeout", "cpus", "memory", "repeat", "wait")),
    **dict.fromkeys(("inputs", "env", "parameter"), ()),
    **dict.fromkeys(("no_stdin", "detach", "as_json", "quiet"), False),
    **dict.fromkeys(("callback", "idempotency_key"), ""),
}


def run_alone(**options: Any) -> NoReturn:
    """The whole process, with the ends that click gives its commands."""
    try:
        run_function(**options)
    except KeyboardInterrupt:
        print("\nAborted!", file=sys.stderr)
    except BrokenPipeError:  # nobody reads us
        pass
    os._exit(1)


def run_function(function: str, server: str, **options: Any) -> NoReturn:
    """Ends the process with the exit code of the program."""
    try:
        with connection(server) as client:
            code = _invoke(client, function=function, **options)
    except HermesError as error:
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
            return _leave(wish, 0.0 if detach else wait_s, quiet, as_json)
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


def _leave(wish: Wish, wait_s: float, quiet: bool, as_json: bool) -> int:
    """Started, and waited for at most so long."""
    until = time.monotonic() + wait_s
    record = wish.start(lambda: wish.client.start(wish.invocation, wait_s))
    while record["ended_at"] is None and time.monotonic() < until:
        time.sleep(min(0.5, max(until - time.monotonic(), 0)))
        record = wish.client.run(record["id"])
    ended = record["ended_at"] is not None
    follower = Follower(wish.client, quiet)
    if ended and wait_s:
        record = follower.go_on(record)
    if as_json:
        say_record(record, follower.begins_line)
    elif not (ended and wait_s):
        print(record["id"])
    if not (ended and wait_s):
        return 0
    if words := bad_words(record):
        note(words)
    return exit_code(record)
