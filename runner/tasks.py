"""What is started for a rank that has a slot: its command, its limits, its variables, its secrets."""

from dataclasses import replace

from hermes.boxes import box_name
from hermes.command import rank_command, rank_env
from hermes.executors.base import Limits, Task
from hermes.plan import Plan
from hermes.process import Context
from hermes.secret_keys import decrypt, key_file
from hermes.secret_runs import secrets_of
from hermes.tables import Build, Rank, Run
from hermes.threads import in_thread


def task_of(context: Context, rank: Rank, run: Run, build: Build) -> Task:
    """Without secrets: a program that runs already has them, and its keeper knows them."""
    plan, slot = Plan.model_validate(run.plan), rank.slot or {}
    return Task(
        name=box_name(context, rank),
        image=plan.reference,
        command=rank_command(plan, rank),
        tree=context.paths.image(build.id),
        limits=Limits(slot["cpus"], slot["memory_bytes"], context.settings.disk),
        env=rank_env(plan, run, rank, build.commit_sha, context.settings.public_url),
        gpus=tuple(slot["gpus"]),
        network=plan.network,
        checkpoint=context.paths.checkpoint(run.id, rank.number),
    )


async def make_task(context: Context, rank: Rank, run: Run, build: Build) -> Task:
    """With the secrets that it gets now; they go before what the manifest sets. Raises Unavailable when they
    cannot be read."""
    task = task_of(context, rank, run, build)
    async with context.database.read() as session:
        rows = await secrets_of(session, run, build.commit_sha)
    if not rows:
        return task
    key = key_file(context.settings)
    secrets = {row.name: await in_thread(decrypt, key, row.name, row.ciphertext) for row in rows}
    env = {name: value for name, value in task.env.items() if name not in secrets}
    return replace(task, env=env, secrets=secrets)
