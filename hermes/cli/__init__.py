"""The command `hermes`."""

import os
import sys
from collections.abc import Sequence

from hermes.importing import uncollected

_COMPLETES = "_HERMES_COMPLETE"  # a shell asks what may follow


def main() -> None:
    """The entry point; an error is one clear line with the next step, never a traceback."""
    if (words := plain_run(sys.argv[1:])) and _COMPLETES not in os.environ:
        with uncollected():
            from hermes.cli.running import PLAIN, run_alone

        server = os.environ.get("HERMES_SERVER", "")
        run_alone(function=words[0], args=tuple(words[1:]), server=server, **PLAIN)
    from hermes.cli.asking import complain
    from hermes.cli.commands import hermes
    from hermes.errors import HermesError

    try:
        hermes()
    except HermesError as error:
        complain(error)
        sys.exit(1)


def plain_run(words: Sequence[str]) -> list[str]:
    """The function and its arguments where `hermes run` has no options; else nothing. That is most calls, and
    what reads options takes 15 ms to import (tests/test_run_plain.py: both read the same)."""
    if words[:1] != ["run"]:
        return []
    rest = list(words[1:])
    end = rest.index("--") if "--" in rest else len(rest)
    if not end or any(word.startswith("-") for word in rest[:end]):
        return []
    return rest[:end] + rest[end + 1 :]
