"""How long the runner takes to decide who starts, with 10,000 ranks waiting in a real database.

Eight GPUs of the tests' driver library; all are held (nothing fits), or all but one (one rank starts). CPUs
and memory are left, so that the runner looks as far down the queue as it ever does; and the ranks have just
been queued, so that none of them reserves. They come in three shapes, and want different GPUs."""

import asyncio
import ctypes
import logging
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import event, insert

from bench._tools import IMAGE, Figures, say
from hermes import journal
from hermes.fairness import TURN_S
from hermes.gpu import GpuWant
from hermes.leases import new_owner
from hermes.plan import Plan
from hermes.pools import load_pools
from hermes.process import Context, open_context
from hermes.settings import Settings
from hermes.states import State
from hermes.supervisor import Job
from hermes.tables import Build, Rank, Repo, Run, User
from runner.app import measure
from runner.claims import Claims
from runner.gpus import open_gpus
from runner.hygiene import Hygiene
from runner.slots import Capacity, Want, assign
from tests.gpus import FakeDriver, gpu

RANKS = 10_000
_USERS, _GPUS, _CPUS, _MEMORY_BYTES = 50, 8, 64, 256 << 30
_HELD = {"cpus": 2, "memory_bytes": 1 << 30}
_MOST_S = 0.005
_GPU_WANTS = (
    GpuWant(count=1),
    GpuWant(count=2),
    GpuWant(count=1, memory_bytes=100 << 30, share=True),
    GpuWant(count=1, model="H200"),
    GpuWant(count=4, capability="8.0"),
)


class Shape(NamedTuple):
    """So many runs of so many ranks each."""

    name: str
    runs: int
    ranks: int


_SHAPES = (Shape("runs", RANKS, 1), Shape("sweeps", RANKS // 100, 100), Shape("one", 1, RANKS))


@dataclass
class Stopwatch:
    """Where the time of a decision goes: queries, what is made of them, and all of the write."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _asked_at: float = 0.0
    _query_s: float = 0.0
    _write_at: float = 0.0

    def attach(self, engine: Any) -> None:
        """Look at the statements of a database."""
        event.listen(engine, "before_cursor_execute", self._before)
        event.listen(engine, "after_cursor_execute", self._after)
        event.listen(engine, "begin", self._begin)

    def _before(self, *_: Any) -> None:
        self._asked_at = time.perf_counter()

    def _after(self, *_: Any) -> None:
        if not self._write_at:
            self._query_s += time.perf_counter() - self._asked_at

    def _begin(self, connection: Any) -> None:
        if connection.get_execution_options().get("hermes_write"):
            self._write_at = time.perf_counter()

    async def time(self, name: str, decide: Callable[[], Any]) -> Any:
        """One decision."""
        self._query_s = self._write_at = 0.0
        began, cpu_s = time.perf_counter(), time.process_time()
        result = await decide()
        ended, cpu_s = time.perf_counter(), time.process_time() - cpu_s
        chosen = self._write_at or ended
        for stage, value in (
            ("query", self._query_s),
            ("decision", chosen - began - self._query_s),
            ("write", ended - chosen),
            ("cpu", cpu_s),  # of all three: waiting for others who use the machine is not in it
            ("without_write", chosen - began),
        ):
            self.seconds[f"{name}_{stage}"].append(value)
        return result


@dataclass
class Machine:
    """A runner's own view, without its loop: what it has, what it holds."""

    context: Context
    capacity: Capacity
    claims: Claims
    holders: list[Job[Rank]]

    async def claim(self, held: int) -> list[Job[Rank]]:
        """What its loop would do now, with so many of its GPUs in use."""
        return await self.claims.claim(self.holders[:held])


def measure_queue(folder: Path, decisions: int, figures: Figures) -> None:
    """All shapes."""
    folder.mkdir()
    driver = FakeDriver(folder).build().world(*(gpu(number) for number in range(_GPUS)))
    ctypes.CDLL(str(folder / "libnvidia-ml.so.1"))  # so pynvml, which asks for it by name, finds it loaded
    os.environ["FAKE_NVML"] = driver.env["FAKE_NVML"]
    journal.configure("text", "bench")
    with open(os.devnull, "w") as nowhere:  # the lines cost what they cost; nobody wants to read them
        for handler in logging.getLogger().handlers:
            assert isinstance(handler, logging.StreamHandler)
            handler.setStream(nowhere)
        for shape in _SHAPES:
            asyncio.run(_measure_shape(folder / shape.name, shape, decisions, figures))
    _add_pure(figures, decisions)


async def _measure_shape(data: Path, shape: Shape, decisions: int, figures: Figures) -> None:
    async with _machine(data) as machine:
        watch = Stopwatch()
        await _fill(machine.context, shape)
        watch.attach(machine.context.database.engine.sync_engine)
        for _ in range(decisions + 1):  # the first one warms up
            assert not await watch.time("full", lambda: machine.claim(_GPUS))
            started = await watch.time("one_free", lambda: machine.claim(_GPUS - 1))
            assert len(started) == 1, started
    for name, seconds in watch.seconds.items():
        most = _MOST_S if name.endswith("without_write") else None
        figures.median(f"queue_{shape.name}_{name}", seconds[1:], most=most)
    say(f"{RANKS} ranks queued as {shape.runs} runs: {decisions} decisions of each kind")


@asynccontextmanager
async def _machine(data: Path) -> AsyncIterator[Machine]:
    data.mkdir()
    settings = Settings(data=data, redis_url="none", cpus=_CPUS, memory=_MEMORY_BYTES)
    async with open_context(settings) as context:
        gpus, words = open_gpus("auto")
        pools = load_pools(settings.pools)
        capacity = measure(settings, gpus, pools)
        assert len(capacity.gpus) == _GPUS, words
        hygiene = Hygiene(context, gpus)
        await hygiene.learn([each.uuid for each in capacity.gpus])
        claims = Claims(context, new_owner(), capacity, hygiene, pools)
        yield Machine(context, capacity, claims, [_holder(each.uuid) for each in capacity.gpus])


def _holder(uuid: str) -> Job[Rank]:
    """Somebody who is at work on a GPU, since long ago."""
    return Job(Rank(id=0, attempt=1, slot=_HELD | {"gpus": [uuid], "gpu_bytes": 0}), "somebody")


async def _fill(context: Context, shape: Shape) -> None:
    """Users, each with a repository and a build; their runs, in turns."""
    now = time.time()
    async with context.database.write() as session:
        numbers = range(1, _USERS + 1)
        await session.execute(
            insert(User), [{"id": n, "name": f"user{n}", "created_at": now} for n in numbers]
        )
        repo = {"name": "work", "created_at": now}
        await session.execute(insert(Repo), [repo | {"id": n, "owner_id": n} for n in numbers])
        await session.execute(insert(Build), [_build(n, now) for n in numbers])
        await session.execute(insert(Run), [_run(n, shape, now) for n in range(1, shape.runs + 1)])
        await session.execute(insert(Rank), list(_ranks(shape, now)))


def _plan(number: int, ranks: int) -> Plan:
    return Plan(
        name="work",
        language="cuda",
        image="cuda-13.0",
        reference=IMAGE,
        build_timeout_s=600,
        timeout_s=3600,
        cpus=2,
        memory_bytes=1 << 30,
        gpu=_GPU_WANTS[number % len(_GPU_WANTS)] if ranks < RANKS else _GPU_WANTS[0],
        ranks=[{"n": str(rank)} for rank in range(ranks)],
    )


def _build(number: int, now: float) -> dict[str, Any]:
    who = {"id": number, "repo_id": number, "user_id": number}
    plan = {"inputs": "", "plan": _plan(number, 1).model_dump()}
    return who | plan | {"commit_sha": "1" * 40, "state": State.BUILT, "created_at": now}


def _run(number: int, shape: Shape, now: float) -> dict[str, Any]:
    user = number % _USERS + 1
    who = {"id": number, "repo_id": user, "build_id": user, "user_id": user, "trigger": "push"}
    key = {"queue_key": now + TURN_S * shape.ranks * (number // _USERS), "created_at": now}
    return who | key | {"plan": _plan(number, shape.ranks).model_dump()}


def _ranks(shape: Shape, now: float) -> Iterator[dict[str, Any]]:
    for run in range(1, shape.runs + 1):
        before = shape.ranks * (run // _USERS)  # of the same user
        wants = _plan(run, shape.ranks).shape()
        for number in range(shape.ranks):
            key = {"queue_key": now + TURN_S * (before + number), "created_at": now, "shape": wants}
            yield {"run_id": run, "number": number, "parameters": {"n": str(number)}} | key


def _add_pure(figures: Figures, decisions: int) -> None:
    """The same question without a database: all 10,000 looked at, nothing fits."""
    plans = [_plan(number, 1) for number in range(RANKS)]
    wants = [
        Want(n, plan.cpus, plan.memory_bytes, plan.gpu, shape=plan.shape()) for n, plan in enumerate(plans)
    ]
    capacity = Capacity(_CPUS, _MEMORY_BYTES, open_gpus("auto")[0].list())
    slots = assign(capacity, [], [each for each in wants if each.gpu.count == 1 and not each.gpu.share])
    figures.median(
        "queue_assign_all", _repeat(lambda: assign(capacity, [s for _, s in slots], wants), decisions)
    )


def _repeat(call: Callable[[], Sequence[object]], times: int) -> list[float]:
    found = []
    for _ in range(times):
        began = time.perf_counter()
        assert not call()
        found.append(time.perf_counter() - began)
    return found
