"""A box that is started before anybody calls: what waits at its gate, whose figures they are, who may not."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hermes.errors import Unavailable
from hermes.executors.base import Box, Executor, Recipe, Seen, Task
from hermes.executors.cgroups import group_paths, read_usage
from hermes.executors.container import Ground
from hermes.executors.docker import DockerExecutor
from hermes.executors.engine import connect
from tests.conftest import missing
from tests.service import PATIENCE_S, wait_for
from tests.test_executors import LABEL, Bench

BURN = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"
HOSTILE = r"printf '#!/bin/bash\ntouch /hermes/output/gained; sleep 600' >/new; chmod 755 /new; mv /new"


@pytest.fixture
def api(engine: None) -> Iterator[Any]:
    with closing(connect(PATIENCE_S)) as one:
        yield one


@pytest.fixture
async def bench(api: Any, tmp_path: Path) -> AsyncIterator[Bench]:
    if os.geteuid() != 0:
        missing("root, which bounded disks need,")
    executor = DockerExecutor(tmp_path / "boxes", f"{LABEL}-{tmp_path.name}", keeper=tmp_path / "keeper")
    await executor.check()
    yield Bench(executor, tmp_path)
    for name in await executor.boxes():
        await executor.remove(name)
    await executor.close()
    assert not list((tmp_path / "boxes").glob("*"))
    assert str(tmp_path) not in Path("/proc/mounts").read_text()


def containers(api: Any, bench: Bench) -> dict[str, dict[str, Any]]:
    """{name: what the engine says of it}, of this test."""
    label = f"hermes.instance={LABEL}-{bench.folder.name}"
    found = [api.inspect_container(each) for each in api.containers(all=True, filters={"label": label})]
    return {each["Name"].lstrip("/"): each for each in found}


def the_one(api: Any, bench: Bench) -> dict[str, Any]:
    (found,) = containers(api, bench).values()
    return found


def at(moment: str) -> float:
    """What the engine says of a time, as seconds since 1970."""
    return datetime.fromisoformat(moment[:26].rstrip("Z")).replace(tzinfo=UTC).timestamp()


@contextmanager
def image(api: Any, *command: str) -> Iterator[str]:
    """The base image of the tests after a command of root's."""
    name = f"hermes-test-{os.getpid():x}"
    with ExitStack() as undo:
        made = api.create_container("hermes/cpp:2", [*command], user="0")["Id"]
        undo.callback(api.remove_container, made, force=True)
        api.start(made)
        assert api.wait(made)["StatusCode"] == 0
        api.commit(made, name, "1")
        undo.callback(api.remove_image, f"{name}:1", force=True)
        yield f"{name}:1"


def executor_like(bench: Bench, ground: Ground | None = None) -> DockerExecutor:
    """Of another process of the same instance."""
    label = f"{LABEL}-{bench.folder.name}"
    return DockerExecutor(bench.folder / "boxes", label, ground, keeper=bench.folder / "keeper")


async def test_the_time_and_the_processors_of_a_call_are_its_own_also_for_who_adopts_it(
    bench: Bench, api: Any
) -> None:
    task = bench.task("echo up; until [ -e end ]; do sleep 1; done", checkpoint=bench.folder / "kept")
    await bench.executor.keep_warm([task])
    found = the_one(api, bench)
    api.exec_start(api.exec_create(found["Id"], ["sh", "-c", BURN])["Id"])
    before = read_usage(group_paths(found["State"]["Pid"], found["Id"]))
    assert before is not None and before.cpu_s > 0.05
    asked_at = datetime.now(UTC).timestamp()
    box = await bench.executor.start(task)
    assert box.was_ready and box.handle.container == found["Id"]
    other = executor_like(bench)
    assert await used_s(bench.executor, box) < before.cpu_s
    await bench.executor.leave(box)
    adopted = await other.adopt(task, Seen())
    assert adopted is not None and adopted.was_ready
    assert await used_s(other, adopted) < before.cpu_s
    (bench.folder / "boxes" / task.name / "disk" / "app" / "end").touch()
    printed: list[bytes] = []
    ended = await other.follow(adopted, lambda data, _stream: printed.append(data))
    state = the_one(api, bench)["State"]
    assert ended.code == 0 and b"".join(printed) == b"up\n"
    assert at(state["StartedAt"]) < asked_at <= at(state["FinishedAt"]) - ended.wall_s + 1e-3
    await other.remove(task.name)
    await other.close()


async def used_s(executor: Executor, box: Box) -> float:
    usage = await executor.usage(box)
    assert usage is not None
    return usage.cpu_s


async def test_while_it_waits_there_is_a_shell_and_nothing_of_a_user(bench: Bench, api: Any) -> None:
    await bench.executor.keep_warm([bench.task("echo", env={"LD_PRELOAD": "/app/own.so"})])
    found = the_one(api, bench)
    assert found["State"]["Status"] == "running" and found["Config"]["WorkingDir"] == "/"
    programs = [row[-1] for row in api.top(found["Id"], "-o pid,args")["Processes"]]
    assert programs == ["/sbin/docker-init -- sh /hermes/call/start", "sh /hermes/call/start"]
    assert not [each for each in found["Config"]["Env"] if each.startswith(("GREETING", "LD_PRELOAD"))]
    ended = await bench.run("ls /proc/self/fd; pwd; echo $PWD")
    assert ended.code == 0 and bench.output.split() == b"0 1 2 3 /app /app".split()
    assert not containers(api, bench), "it was another one"


def ended_meanwhile(api: Any, bench: Bench) -> None:
    api.kill(the_one(api, bench)["Id"])
    wait_for(lambda: not the_one(api, bench)["State"]["Running"])


def away(api: Any, bench: Bench) -> None:
    api.remove_container(the_one(api, bench)["Id"], force=True)


def no_place(api: Any, bench: Bench) -> None:
    """What is written of it first."""
    (bench.folder / "boxes" / next(iter(containers(api, bench))) / "call" / "task").mkdir()


def no_note(api: Any, bench: Bench) -> int:
    """What is written of it last: the checkpoint has its name by then, and somebody is still on its disk."""
    own = bench.folder / "boxes" / next(iter(containers(api, bench)))
    (own / "begun").mkdir()
    return os.open(own / "checkpoint", os.O_RDONLY)


@pytest.mark.parametrize("befalls", [ended_meanwhile, away, no_place, no_note])
async def test_whatever_befalls_what_waits_the_call_runs_once_in_one_made_for_it(
    bench: Bench, api: Any, befalls: Callable[[Any, Bench], int | None]
) -> None:
    script = "echo once; ls -A $HERMES_CHECKPOINT_DIR; touch $HERMES_CHECKPOINT_DIR/mine"
    task = bench.task(script, checkpoint=bench.folder / "kept" / "0")
    await bench.executor.keep_warm([task])
    waited = the_one(api, bench)["Id"]
    held = befalls(api, bench)
    box = await bench.executor.start(task)
    assert (await bench.follow(box)).code == 0 and bench.output == b"once\n"
    assert the_one(api, bench)["Id"] == box.handle.container != waited
    await bench.executor.remove(task.name)
    box = await bench.executor.start(task)  # tried again: the checkpoint is that of the first time
    assert (await bench.follow(box)).code == 0 and bench.output == b"once\nmine\n"
    await bench.executor.remove(task.name)
    if held is not None:
        os.close(held)


async def test_a_task_that_was_tried_before_gets_its_checkpoint_and_not_an_empty_one(bench: Bench) -> None:
    kept = bench.folder / "kept"
    for number in range(2):
        task = bench.task("ls -A $HERMES_CHECKPOINT_DIR; touch $HERMES_CHECKPOINT_DIR/mine", checkpoint=kept)
        await bench.executor.keep_warm([task])
        box = await bench.executor.start(task)
        assert box.was_ready == (number == 0)
        assert (await bench.follow(box)).code == 0 and bench.output == b"mine\n" * number
        await bench.executor.remove(task.name)


async def test_what_a_process_that_dies_has_handed_over_does_not_begin(bench: Bench, api: Any) -> None:
    task = bench.task("touch $HERMES_OUTPUT_DIR/begun", checkpoint=bench.folder / "kept")
    await bench.executor.keep_warm([task])
    dying = bench.executor
    assert isinstance(dying, DockerExecutor)
    ready = await dying._warm.take(task)
    assert ready is not None
    dying._maker.hand_over(task, ready.name)
    dying._warm.let_go(ready)
    os.close(dying._maker.gates.pop(ready.name)._door)  # as the kernel does then
    wait_for(lambda: not the_one(api, bench)["State"]["Running"])
    assert not list((bench.folder / "boxes" / task.name / "disk" / "output").iterdir())
    other = executor_like(bench)
    assert await other.boxes() == [task.name]
    await other.remove(task.name)
    assert await other.boxes() == []
    await other.close()


@pytest.mark.parametrize("gpus", [(), ("GPU-1",)])
async def test_an_image_without_a_shell_has_nothing_that_waits_and_hinders_no_other(
    bench: Bench, api: Any, gpus: tuple[str, ...]
) -> None:
    with image(api, "rm", "/usr/bin/sh") as reference:
        task = replace(bench.task(""), image=reference, command=("/usr/bin/env",))
        with pytest.raises(Unavailable, match="shell"):
            await bench.executor.keep_warm([replace(task, gpus=gpus), bench.task("echo other")])
        assert the_one(api, bench)["Config"]["Image"] == "hermes/cpp:2"
        await runs_cold(bench, task)


async def test_a_shell_that_does_not_wait_for_its_word_is_found_out(bench: Bench, api: Any) -> None:
    """Of an image that the operator offers."""
    with image(api, "sh", "-c", f"{HOSTILE} /usr/bin/sh") as reference:
        task = replace(bench.task(""), image=reference, command=("/usr/bin/env",))
        with pytest.raises(Unavailable, match="shell"):
            await bench.executor.keep_warm([task])
        assert not containers(api, bench)
        await runs_cold(bench, task)
        assert await bench.executor.boxes() == []


async def runs_cold(bench: Bench, task: Task) -> None:
    box = await bench.executor.start(task)
    assert not box.was_ready and (await bench.follow(box)).code == 0
    assert b"GREETING=good day" in bench.output and not list(
        (bench.folder / "boxes" / task.name / "disk" / "output").iterdir()
    )
    await bench.executor.remove(task.name)


@pytest.mark.parametrize("whose", [{"gpus": ("GPU-1",)}, {"recipe": True}])
async def test_with_a_gpu_or_in_an_image_of_a_repositorys_own_nothing_is_started_before_its_turn(
    bench: Bench, api: Any, whose: dict[str, Any]
) -> None:
    with image(api, "sh", "-c", f"{HOSTILE} /usr/bin/sh") as reference:
        if "recipe" in whose:
            whose = {"recipe": Recipe("Dockerfile", bench.tree, lambda: None, 1.0)}
        await bench.executor.keep_warm([replace(bench.task("echo"), image=reference, **whose)])
        assert the_one(api, bench)["State"]["Status"] == "created"
        await bench.executor.keep_warm([])


async def test_with_a_runtime_that_was_chosen_it_waits_without_being_started(bench: Bench, api: Any) -> None:
    executor = executor_like(bench, Ground(runtime="runc"))
    await executor.check()
    given = bench.folder / "given"
    given.write_text("given\n")
    given.chmod(0o444)
    task = bench.task("cat; pwd", stdin=given, checkpoint=bench.folder / "kept")
    await executor.keep_warm([task])
    assert the_one(api, bench)["State"]["Status"] == "created"
    box = await executor.start(task)
    heard: list[bytes] = []
    ended = await executor.follow(box, lambda data, _stream: heard.append(data))
    assert box.was_ready and ended.code == 0 and b"".join(heard) == b"given\n/app\n"
    await executor.remove(task.name)
    await executor.close()
