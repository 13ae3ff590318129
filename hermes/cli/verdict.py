"""What the end of a run is to a shell: an exit code, and a line where the program could not say it itself."""

import json

from hermes.cli.plain import clean
from hermes.client.answers import Run

#: Ours, as `docker run` has it: it could not be started, or not followed to its end.
CANNOT = 125
_OF_STATE = {"succeeded": 0, "timed_out": 124, "cancelled": 130, "lost": CANNOT}


def exit_code(run: Run) -> int:
    """The program's own; where it had none: 124 timed out (as `timeout` has it), 130 cancelled, 125 lost."""
    if run["state"] == "failed":
        return run["exit_code"] or 1
    return _OF_STATE.get(run["state"], CANNOT)


def bad_words(run: Run) -> str:
    """Why it ended, where its exit code alone does not say it."""
    if run["state"] == "succeeded" or run["reason"].startswith("exit code"):
        return ""
    return clean(f"run {run['id']} {run['words']}  {run['url']}")


def say_record(run: Run, begins_line: bool) -> None:
    """One line of JSON, the last of stdout."""
    print(("" if begins_line else "\n") + json.dumps(run, ensure_ascii=False))
