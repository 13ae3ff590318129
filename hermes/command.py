"""The command line and the environment of one rank: its runner starts them, its page shows them."""

import re
import shlex

from hermes.plan import Plan
from hermes.tables import Rank, Run

#: Without a handler: the Makefile's `run` target (arguments as ARGS), else ./a.out.
_DEFAULT = 'if make -n run >/dev/null 2>&1; then exec make -s run ARGS="$*"; fi; exec ./a.out "$@"'
_WITH_STDIN = 'input=$1; shift; exec "$@" <"$input"'
MASTER_PORT = "9000"  # PESC's default


def rank_command(plan: Plan, rank: Rank, *, reads_file: bool = True) -> tuple[str, ...]:
    """What is started. Arguments stay arguments: no shell reads them. `reads_file`: its stdin is the file
    that the manifest names, if it names one; an invocation may bring another."""
    values = {"rank": str(rank.number), "world_size": str(plan.world_size), **rank.parameters}
    args = substitute(plan.args, values)
    handler = shlex.split(plan.handler)
    command = [*handler, *args] if handler else ["sh", "-c", _DEFAULT, "run", *args]
    if plan.stdin and reads_file:
        command = ["sh", "-c", _WITH_STDIN, "run", plan.stdin, *command]
    return tuple(command)


def substitute(words: list[str], values: dict[str, str]) -> list[str]:
    """Each `{name}` of a known name replaced; other braces are the program's own business."""

    def value(match: re.Match[str]) -> str:
        return values.get(match[1], match[0])

    return [re.sub(r"\{([^{}]+)\}", value, word) for word in words]  # one pass: values are not read again


def rank_env(plan: Plan, run: Run, rank: Rank, commit: str, url: str) -> dict[str, str]:
    """What the program sees besides the executor's own variables (docs/manifest.md lists them)."""
    return {
        "LC_ALL": "C.UTF-8",
        **plan.env,
        "HERMES_RUN": str(run.id),
        "HERMES_COMMIT": commit,
        "HERMES_URL": f"{url}/runs/{run.id}",
        **({"HERMES_INPUT_PATH": plan.input_file} if plan.input_file else {}),
        "RANK": str(rank.number),
        "WORLD_SIZE": str(plan.world_size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": MASTER_PORT,
    }
