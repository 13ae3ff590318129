"""Pools: GPUs that only some people get ("rooms"), a table in a TOML file. A GPU in none is everybody's."""

import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from hermes.errors import SettingsError


class Pool(BaseModel):
    """One row: `gpus` are UUIDs or indices, `users` who gets them; without it everybody does."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    gpus: list[str | int]
    users: list[str] | None = None


PoolTable = dict[str, Pool]


def load_pools(path: Path) -> PoolTable:
    """Read the table; `Path()` means that there are no pools. Raises SettingsError, also for a GPU in two."""
    if path == Path():
        return {}
    try:
        pools = TypeAdapter(PoolTable).validate_python(tomllib.loads(path.read_text()))
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise SettingsError(f"HERMES_POOLS={path}: {error}") from None
    seen: dict[str, str] = {}
    for name, pool in pools.items():
        for gpu in map(str, pool.gpus):
            if gpu in seen:
                raise SettingsError(f"HERMES_POOLS={path}: GPU {gpu} is in {seen[gpu]!r} and in {name!r}")
            seen[gpu] = name
    return pools


def pool_of(pools: PoolTable, uuid: str, index: int) -> str:
    """The pool of a GPU; "" if it is in none."""
    return next((name for name, pool in pools.items() if {uuid, str(index)} & set(map(str, pool.gpus))), "")


def open_pools(pools: PoolTable, user: str) -> frozenset[str]:
    """The pools whose GPUs this user may have; "" is among them, the GPUs in none."""
    return frozenset(n for n, pool in pools.items() if pool.users is None or user in pool.users) | {""}
