"""The variables that a program saw, for its page; what is a secret, or looks like one, is not shown."""

import re
from collections.abc import Mapping

from hermes.command import rank_env
from hermes.plan import Plan
from hermes.tables import Rank, Run

_SECRET = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|(API|PRIVATE|ACCESS)_?KEY", re.IGNORECASE)
MASK = "••••••••"
HIDDEN = "secret, hidden"


def variables(plan: Plan, run: Run, rank: Rank, commit: str, url: str, *, may_write: bool) -> dict[str, str]:
    """By name. Before a rank has a slot nobody knows its GPUs; what its secrets are called is for those who may
    write."""
    seen = rank_env(plan, run, rank, commit, url)
    for name in rank.secrets or ():
        seen.pop(name, None)
    if rank.slot:
        seen["CUDA_VISIBLE_DEVICES"] = ",".join(rank.slot.get("gpus", ()))
    secrets = dict.fromkeys(rank.secrets or () if may_write else (), HIDDEN)
    return dict(sorted((masked(seen) | secrets).items()))


def masked(values: Mapping[str, str]) -> dict[str, str]:
    """Without what looks like a secret by its name."""
    return {name: MASK if _SECRET.search(name) else value for name, value in values.items()}
