"""A database as a lab has it after years: 50 repositories with 100,000 runs, one of them of 10,000 ranks."""

import hashlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from bench._tools import IMAGE
from hermes.accounts import add_token, add_user
from hermes.columns import Base
from hermes.git import git_command, git_env, init_bare
from hermes.plan import MAX_RANKS, Plan
from hermes.process import Context
from hermes.states import TERMINAL, State
from hermes.tables import (
    Artifact,
    Build,
    Collaborator,
    Event,
    GpuSample,
    Metric,
    Push,
    Rank,
    Repo,
    Run,
    Runner,
)

_USERS, _REPOS, _BATCH, _SAMPLES = 10, 50, 2000, 3600
_QUEUED, _RUNNING = 40, 8
_HOUR_S = 3600.0
_SLOT = {"cpus": 2, "memory_bytes": 4 << 30, "gpus": [], "runner": "bench"}
_PLAN = Plan(
    name="nbody",
    version="1.0.0",
    language="cuda",
    image="cuda-13.0",
    reference=IMAGE,
    build_timeout_s=900,
    args=["--bodies", "100000"],
    env={"OMP_NUM_THREADS": "2", "MODE": "fast"},
    timeout_s=3600,
    cpus=2,
    memory_bytes=4 << 30,
)


class Filled(NamedTuple):
    """What is asked for: the owner of most repositories, and one who has almost none."""

    token: str
    newcomer_token: str
    repo: str
    sha: str
    run_id: int
    wide_run_id: int


class _Rows:
    """The rows of runs, `number` from 0 on: repositories in turns, each number with a commit of its own."""

    def __init__(self, runs: int, shas: list[str]) -> None:
        self._runs, self._shas = runs, shas
        self._now = time.time()
        self._plan = _PLAN.model_dump()

    def at(self, number: int) -> float:
        """The newest was a minute ago; one every ten minutes."""
        return self._now - 60 - 600.0 * (self._runs - number)

    def sha(self, number: int) -> str:
        """Those of the first repository are in its git."""
        if number % _REPOS == 0:
            return self._shas[number // _REPOS]
        return hashlib.sha1(str(number).encode()).hexdigest()

    def of(self, number: int) -> Iterator[tuple[type[Base], dict[str, Any]]]:
        """Push, build, run, its rank, what happened, two metrics and an artifact."""
        row_id, at = number + 1, self.at(number)
        state = self._state(number)
        ended_at = at + 20 + number % 97 / 7 if state in TERMINAL else None
        yield from self._asked(number, state, ended_at)
        yield Rank, self._rank(number, state, ended_at)
        steps = (("run", "", "queued"), ("rank", "queued", "starting"), ("rank", "running", state))
        for kind, old, new in steps:
            yield Event, {"kind": kind, "subject_id": row_id, "from_state": old, "to_state": new, "at": at}
        for name, value in (("gflops", 800 + number % 100), ("loss", 1 / (1 + number))):
            yield Metric, {"rank_id": row_id, "name": name, "value": value, "unit": "", "at": at}
        if ended_at:
            file = {"path": "result.csv", "size_bytes": 1000, "sha256": "0" * 64}
            yield Artifact, {"run_id": row_id, "rank_id": row_id, "created_at": at} | file

    def _state(self, number: int) -> State:
        """The newest wait, some run; of the others one in ten has failed, one in thirty took too long."""
        if number >= self._runs - _QUEUED:
            return State.QUEUED
        if number >= self._runs - _QUEUED - _RUNNING:
            return State.RUNNING
        late = State.TIMED_OUT if number % 30 == 7 else State.SUCCEEDED
        return State.FAILED if number % 10 == 3 else late

    def _asked(
        self, number: int, state: State, ended_at: float | None
    ) -> Iterator[tuple[type[Base], dict[str, Any]]]:
        row_id, repo_id, at, sha = number + 1, number % _REPOS + 1, self.at(number), self.sha(number)
        user_id = (number % _REPOS) % _USERS + 1
        common = {"id": row_id, "repo_id": repo_id, "user_id": user_id, "created_at": at, "plan": self._plan}
        yield Push, common | {
            "ref": f"refs/heads/{'main' if number % 300 < 250 else 'side'}", "old_sha": "0" * 40,
            "new_sha": sha, "subject": f"Change number {number}", "state": "applied", "trigger": "push",
        }  # fmt: skip
        yield Build, common | {
            "commit_sha": sha, "inputs": "0" * 32, "attempt": 1, "state": State.BUILT, "started_at": at,
            "ended_at": at + 2.9, "image_bytes": 45_056, "name": _PLAN.name,
            "version": f"{number // 9000}.0.0",
        }  # fmt: skip
        yield Run, common | {
            "build_id": row_id, "push_id": row_id, "trigger": "push", "state": state, "queue_key": at,
            "reason": "exit code 3" if state is State.FAILED else "",
            "started_at": None if state is State.QUEUED else at + 3, "ended_at": ended_at,
        }  # fmt: skip

    def _rank(self, number: int, state: State, ended_at: float | None) -> dict[str, Any]:
        row_id, at = number + 1, self.at(number)
        took_s = (ended_at or at) - at
        began_at = None if state is State.QUEUED else at + 3
        works = state is State.RUNNING
        summary = {"wall_s": took_s, "cpu_s": 1.9 * took_s, "peak_memory_bytes": 3 << 28, "artifacts": 1}
        return {
            "id": row_id, "run_id": row_id, "number": 0, "parameters": {}, "state": state, "queue_key": at,
            "attempt": int(began_at is not None), "shape": _PLAN.shape(), "created_at": at,
            "slot": _SLOT if began_at else None, "summary": summary if ended_at else None,
            "lease_owner": "bench" if works else None, "lease_until": self._now + _HOUR_S if works else None,
            "claimed_at": began_at, "started_at": began_at, "ended_at": ended_at,
            "exit_code": {State.SUCCEEDED: 0, State.FAILED: 3}.get(state),
        }  # fmt: skip


async def fill(context: Context, runs: int) -> Filled:
    """Takes a minute or so for 100,000."""
    shas = _commits(context.paths.repo(1), -(-runs // _REPOS))
    rows = _Rows(runs, shas)
    async with context.database.write() as session:
        users = [await add_user(session, name) for name in ("alice", *(f"user{n}" for n in range(2, 11)))]
        newcomer = await add_user(session, "newcomer")
        token = await add_token(session, users[0], "bench")
        newcomer_token = await add_token(session, newcomer, "bench")
        at = time.time()
        for number in range(_REPOS):
            values = {"owner_id": number % _USERS + 1, "name": f"repo{number}", "created_at": at}
            session.add(Repo(id=number + 1, default_branch="main", public=number % 2 == 1, **values))
        await session.flush()
        session.add_all(Collaborator(repo_id=n, user_id=1, role="write") for n in range(2, 25))
        session.add(
            Runner(name="bench", executor="docker", cpus=64, memory_bytes=1 << 38, seen_at=at + _HOUR_S)
        )
        connection = await session.connection()
        for begin in range(0, runs, _BATCH):
            await _insert(connection, rows, range(begin, min(begin + _BATCH, runs)))
        await _insert_samples(connection, runs - 100)
        wide = await _insert_wide(connection, runs)
    newest = (runs - 2 * _REPOS) // _REPOS * _REPOS  # of the first repository, and it has ended
    return Filled(token, newcomer_token, "alice/repo0", rows.sha(newest), newest + 1, wide)


async def _insert(connection: AsyncConnection, rows: _Rows, numbers: range) -> None:
    found: dict[type[Base], list[dict[str, Any]]] = {}
    for number in numbers:
        for table, row in rows.of(number):
            found.setdefault(table, []).append(row)
    for table, several in found.items():
        await connection.execute(insert(table), several)


async def _insert_samples(connection: AsyncConnection, rank_id: int) -> None:
    """An hour of telemetry of one run."""
    row = {"rank_id": rank_id, "attempt": 1, "cpu_percent": 90.0, "memory_bytes": 1 << 30, "gpus": []}
    await connection.execute(insert(GpuSample), [row | {"at": float(n)} for n in range(_SAMPLES)])


async def _insert_wide(connection: AsyncConnection, runs: int) -> int:
    """A run of 10,000 ranks, of the first repository's first build."""
    run_id, at = runs + 1, time.time() - 2 * _HOUR_S
    plan = _PLAN.model_copy(update={"ranks": [{"n": str(n)} for n in range(MAX_RANKS)]}).model_dump()
    run = {
        "id": run_id, "repo_id": 1, "build_id": 1, "user_id": 1, "trigger": "retry", "state": State.SUCCEEDED,
        "plan": plan, "queue_key": at, "created_at": at, "started_at": at, "ended_at": at + 60,
    }  # fmt: skip
    await connection.execute(insert(Run), [run])
    summary = {"wall_s": 20.0, "cpu_s": 19.0, "peak_memory_bytes": 3 << 28, "artifacts": 0}
    ranks = [
        {
            "id": runs + 1 + n, "run_id": run_id, "number": n, "parameters": {"n": str(n)}, "attempt": 1,
            "state": State.SUCCEEDED, "queue_key": at, "created_at": at, "started_at": at, "exit_code": 0,
            "ended_at": at + 20, "summary": summary, "slot": _SLOT,
        }
        for n in range(MAX_RANKS)
    ]  # fmt: skip
    await connection.execute(insert(Rank), ranks)
    return run_id


def _commits(path: Path, count: int) -> list[str]:
    """A bare repository with one line of commits on main; their ids, the first one first."""
    init_bare(path)
    lines = []
    for number in range(count):
        words = f"Change number {number}"
        lines.append(
            f"commit refs/heads/main\ncommitter Ada <ada@example.org> {1_700_000_000 + number} +0000\n"
            f"data {len(words)}\n{words}\nM 100644 inline a\ndata {len(str(number))}\n{number}\n"
        )
    data = "".join(lines).encode()
    subprocess.run(git_command(path, "fast-import", "--quiet"), input=data, env=git_env(), check=True)
    listed = subprocess.run(
        git_command(path, "rev-list", "--reverse", "main"), env=git_env(), capture_output=True, check=True
    )
    return listed.stdout.decode().split()
