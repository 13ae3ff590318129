"""What is to be started for a rank: its run, its build and its inputs become a task for an executor."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import select

from hermes.boxes import box_name
from hermes.command import rank_command, rank_env
from hermes.executors.base import Limits, Recipe, Task
from hermes.export import export_commit
from hermes.plan import Plan
from hermes.process import Context
from hermes.secret_keys import decrypt, key_file
from hermes.secret_runs import secrets_of
from hermes.tables import STDIN, Build, Input, Rank, Run
from hermes.threads import in_thread


class Order(NamedTuple):
    """Rows that do not change while a rank waits and runs."""

    run: Run
    build: Build
    inputs: list[Input]


async def look_up(context: Context, rank: Rank) -> Order:
    """All that `task_of` needs."""
    async with context.database.read() as session:
        run = await session.get_one(Run, rank.run_id)
        inputs = await session.scalars(select(Input).where(Input.run_id == run.id).order_by(Input.name))
        return Order(run, await session.get_one(Build, run.build_id), list(inputs.all()))


def task_of(context: Context, rank: Rank, order: Order) -> Task:
    """What is started for a rank that has a slot, without secrets: a program that runs already has them, and
    the keeper of its output knows them."""
    run, build, inputs = order
    settings, paths = context.settings, context.paths
    plan, slot = Plan.model_validate(run.plan), rank.slot or {}
    files = {each.name: paths.input(each.token) for each in inputs}
    stdin = files.pop(STDIN, None)
    spooled = paths.spooled(box_name(context, rank), "recipe")
    export = partial(export_commit, paths, settings, build, spooled)
    recipe = Recipe(plan.dockerfile, spooled, export, plan.build_timeout_s) if plan.dockerfile else None
    return Task(
        name=box_name(context, rank),
        image=plan.reference,
        packages=tuple(plan.packages),
        command=rank_command(plan, rank, reads_file=stdin is None),
        tree=paths.image(build.id),
        limits=Limits(slot["cpus"], slot["memory_bytes"], settings.disk),
        env=rank_env(plan, run, rank, build.commit_sha, settings.public_url),
        gpus=tuple(slot["gpus"]),
        network=plan.network,
        checkpoint=paths.checkpoint(run.id, rank.number),
        stdin=stdin,
        inputs=tuple(files.items()),
        input_file=plan.input_file if plan.input_file in files else "",
        recipe=recipe,
        apart=True,
    )


async def make_task(context: Context, rank: Rank, order: Order) -> Task:
    """With the secrets that it gets now; they go before what the manifest sets. Raises Unavailable when they
    cannot be read."""
    task = task_of(context, rank, order)
    async with context.database.read() as session:
        rows = await secrets_of(session, order.run, order.build.commit_sha)
    if not rows:
        return task
    key = key_file(context.settings)
    secrets = {row.name: await in_thread(decrypt, key, row.name, row.ciphertext) for row in rows}
    env = {name: value for name, value in task.env.items() if name not in secrets}
    return replace(task, env=env, secrets=secrets)


def log_of(context: Context, rank: Rank) -> Path:
    """The log of this attempt."""
    return context.paths.log("rank", rank.id, rank.attempt)
