"""The variables that a program saw, for its page; what is a secret, or looks like one, is not shown."""

import re
from collections.abc import Mapping

from hermes.command import rank_env
from hermes.plan import Plan
from hermes.tables import Rank, Run

_SECRET = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|(API|PRIVATE|ACCESS)_?KEY", re.IGNORECASE)
MASK = "••••••••"


def variables(plan: Plan, run: Run, rank: Rank, commit: str, url: str) -> dict[str, str]:
    """By name, without its secrets. Before a rank has a slot nobody knows its GPUs."""
    seen = rank_env(plan, run, rank, commit, url)
    if plan.input_file:
        seen |= {"HERMES_INPUT_FILE": f"$HERMES_INPUT_DIR/{plan.input_file}"}
        seen |= {"INPUT_FILE_PATH": "$HERMES_INPUT_FILE", "TMP_OUTPUT_DIR": "$HERMES_OUTPUT_DIR"}
    for name in rank.secrets or ():  # it goes before what the manifest says
        seen.pop(name, None)
    if rank.slot:
        seen["CUDA_VISIBLE_DEVICES"] = ",".join(rank.slot.get("gpus", ()))
    return masked(dict(sorted(seen.items())))


def masked(values: Mapping[str, str]) -> dict[str, str]:
    """Without what looks like a secret by its name."""
    return {name: MASK if _SECRET.search(name) else value for name, value in values.items()}
