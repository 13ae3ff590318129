"""The contract of an executor, run on each of them: what goes in, what comes out, how it ends, what stays."""

import asyncio
import hashlib
import os
import tarfile
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hermes.errors import Refused
from hermes.executors.base import Box, Executor, Exit, Limits, Task
from hermes.executors.bubblewrap import FENCES, trouble_with
from hermes.executors.docker import DockerExecutor
from hermes.executors.local import LocalExecutor, Means
from hermes.logs import STDERR, STDOUT
from hermes.tree import OWNER_ID
from tests.conftest import missing
from tests.programs import command_lines
from tests.service import PATIENCE_S

MIB = 1 << 20
LABEL = f"hermes-{os.getpid():x}"  # others may test on the same machine
NAP = f"sleep 7654.{os.getpid()}"


class Bench:
    """An executor and a tree to run in."""

    def __init__(self, executor: Executor, folder: Path) -> None:
        self.executor, self.folder, self.count = executor, folder, 0
        self.label = LABEL
        self.waits = False  # whether it makes boxes for tasks that are not known yet
        self.output = b""
        self.tree = folder / "tree.tar"
        with tarfile.open(self.tree, "w") as tar:
            for name, kind, mode in ((".", tarfile.DIRTYPE, 0o755), ("./hello.txt", tarfile.REGTYPE, 0o644)):
                member = tarfile.TarInfo(name)
                member.type, member.mode, member.uid, member.gid = kind, mode, OWNER_ID, OWNER_ID
                tar.addfile(member)

    def task(
        self, script: str, *, memory: int = 256 * MIB, disk: int = 64 * MIB, pids: int = 512, **more: Any
    ) -> Task:
        self.count += 1
        return Task(
            name=f"{self.label}-rank-{self.count}.1",
            image="hermes/cpp:2",
            command=("sh", "-c", script),
            tree=self.tree,
            limits=Limits(cpus=1, memory_bytes=memory, disk_bytes=disk, pids=pids),
            env={"GREETING": "good day", **more.pop("env", {})},
            **more,
        )

    async def start(self, script: str, **more: Any) -> Box:
        return await self.executor.start(self.task(script, **more))

    async def follow(self, box: Box) -> Exit:
        self.output = b""

        def hear(data: bytes, _stream: int) -> None:
            self.output += data

        return await self.executor.follow(box, hear)

    async def hears(self, words: bytes) -> None:
        """Until it has printed them; it is followed."""
        async with asyncio.timeout(PATIENCE_S):
            while words not in self.output:
                await asyncio.sleep(0.02)

    async def run(self, script: str, **more: Any) -> Exit:
        box = await self.start(script, **more)
        try:
            return await self.follow(box)
        finally:
            await self.executor.remove(box.task.name)

    async def saved(self, box: Box, folder: str, limit: int = 8 * MIB) -> dict[str, bytes]:
        target = self.folder / "saved.tar"
        await self.executor.save(box, folder, target, limit)  # type: ignore[arg-type]
        with tarfile.open(target) as tar:
            files = {
                member.name.removeprefix("./"): tar.extractfile(member) for member in tar if member.isreg()
            }
            return {name: file.read() for name, file in files.items() if file is not None}


LOCAL = ["local", "local without root", "local without bubblewrap", "local with nothing"]


def local(how: str, base: Path) -> LocalExecutor:
    """The local executor with what this machine gives, or with less, as it finds by itself elsewhere."""
    executor = LocalExecutor(base)
    means = executor._find_means()
    if how == "local" and means.fence is None:
        missing(f"bubblewrap ({means.why})")
    if how == "local without root" and (trouble := trouble_with(FENCES[-1])):
        missing(f"bubblewrap by user namespaces ({trouble})")
    if how in ("local", "local without bubblewrap") and not (means.parents and means.has_disks):
        missing("root, which control groups and bounded disks need,")
    executor._means = {
        "local": means,
        "local without root": Means(FENCES[-1], {}, has_disks=False),
        "local without bubblewrap": replace(means, fence=None, why="a test"),
        "local with nothing": Means(None, {}, has_disks=False, why="a test"),
    }[how]
    return executor


@pytest.fixture(params=["docker", "docker without root", *LOCAL])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    executor: Executor
    if request.param in LOCAL:
        executor = local(request.param, tmp_path / "boxes")
    else:
        request.getfixturevalue("engine")
        executor = DockerExecutor(tmp_path / "boxes", f"{LABEL}-{tmp_path.name}")
        if request.param == "docker without root":
            executor._maker.has_disks = False  # what it finds by itself when it may not mount
    await executor.check()
    one = Bench(executor, tmp_path)
    one.waits = request.param == "docker" and os.geteuid() == 0
    yield one
    for name in await executor.boxes():
        await executor.remove(name)
    await executor.close()


async def test_output_and_exit_code_come_through(bench: Bench) -> None:
    ended = await bench.run("echo out; echo err >&2; exit 3")
    assert sorted(bench.output.split()) == [b"err", b"out"] and ended.code == 3 and not ended.signal_name


async def test_the_tree_is_the_working_directory_and_can_be_written(bench: Bench) -> None:
    assert (await bench.run("ls; touch new && echo writable; test -f hello.txt")).code == 0
    assert bench.output == b"hello.txt\nwritable\n"


async def test_what_is_prepared_is_no_box_until_it_starts(bench: Bench) -> None:
    first, second = bench.task("echo first"), bench.task("echo second", checkpoint=bench.folder / "kept")
    await bench.executor.prepare([first])
    assert await bench.executor.boxes() == []
    for task in (first, replace(second, env={"GREETING": "another"})):  # the second is asked for otherwise
        await bench.executor.prepare([second])
        box = await bench.executor.start(task)
        assert await bench.executor.boxes() == [task.name]
        assert (await bench.follow(box)).code == 0
        await bench.executor.remove(task.name)
    assert bench.output == b"second\n"
    await bench.executor.prepare([first])
    await bench.executor.prepare([])
    assert await bench.executor.boxes() == [] and not list((bench.folder / "boxes").glob("hermes-*"))


async def test_a_box_that_waits_serves_one_task_of_its_kind_and_is_none_until_then(bench: Bench) -> None:
    await bench.executor.keep_warm([bench.task("echo another", env={"GREETING": "other"})])
    assert await bench.executor.boxes() == []
    given = bench.folder / "given"
    given.write_text("given\n")
    given.chmod(0o444)
    for number in range(3):  # the first kind is another, the third finds that nothing waits
        script = "cat; echo $GREETING $SECRET | rev; test -w $HERMES_CHECKPOINT_DIR; echo $?; ls"
        memory = 256 * MIB if number else 200 * MIB
        task = bench.task(script, secrets={"SECRET": "sesame"}, stdin=given, memory=memory)
        box = await bench.executor.start(replace(task, checkpoint=bench.folder / f"kept{number}"))
        assert await bench.executor.boxes() == [task.name]
        assert box.was_ready == (number == 1 and bench.waits)
        assert (await bench.follow(box)).code == 0
        assert bench.output == b"given\nemases yad doog\n0\nhello.txt\n"
        assert await bench.saved(box, "app") == {"hello.txt": b""}
        await bench.executor.remove(task.name)
    await bench.executor.keep_warm([bench.task("echo")])
    await bench.executor.keep_warm([])
    assert await bench.executor.boxes() == [] and not list((bench.folder / "boxes").glob("hermes-*"))


async def test_the_environment_is_passed_on(bench: Bench) -> None:
    await bench.run(
        'echo "$GREETING|$CUDA_VISIBLE_DEVICES|$HERMES_OUTPUT_DIR"; test -w "$HERMES_OUTPUT_DIR" && echo ok'
    )
    assert bench.output.startswith(b"good day||/") and bench.output.endswith(b"ok\n")


async def test_a_signal_is_told_by_its_name(bench: Bench) -> None:
    assert (await bench.run("kill -SEGV $$")).signal_name == "SIGSEGV"


async def test_the_wall_time_is_the_programs(bench: Bench) -> None:
    began = time.monotonic()
    box = await bench.start("trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done")
    follow = asyncio.create_task(bench.follow(box))
    await bench.hears(b"up\n")
    ran = time.monotonic()
    await asyncio.sleep(1)
    ran_s = time.monotonic() - ran
    await bench.executor.stop(box, 600)
    took_s = (await asyncio.wait_for(follow, PATIENCE_S)).wall_s
    await bench.executor.remove(box.task.name)
    assert ran_s - 0.05 < took_s < time.monotonic() - began  # an engine's clock is another one


async def test_output_without_a_line_end_and_binary_output_arrive_whole(bench: Bench) -> None:
    await bench.run(r"printf '\000\377\033[31m'; head -c 3000000 /dev/zero")
    assert bench.output == b"\x00\xff\x1b[31m" + bytes(3_000_000)


async def test_too_much_memory_ends_it_and_is_told_apart(bench: Bench) -> None:
    hog = "x=x; while :; do x=$x$x$x$x; done"
    ended = await bench.run(hog, memory=32 * MIB)
    assert ended.out_of_memory and ended.code != 0


async def test_being_killed_is_not_out_of_memory(bench: Bench) -> None:
    ended = await bench.run("kill -KILL $$")
    assert ended.signal_name == "SIGKILL" and not ended.out_of_memory


async def test_a_program_that_heeds_sigterm_ends_at_once(bench: Bench) -> None:
    box = await bench.start("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done")
    follow = asyncio.create_task(bench.follow(box))
    await bench.hears(b"up\n")
    await bench.executor.stop(box, 600)
    ended = await asyncio.wait_for(follow, PATIENCE_S)
    assert ended.code == 0 and bench.output == b"up\nbye\n"
    await bench.executor.remove(box.task.name)


async def test_a_program_that_ignores_sigterm_is_killed(bench: Bench) -> None:
    box = await bench.start("trap '' TERM; echo up; while :; do sleep 0.05; done")
    follow = asyncio.create_task(bench.follow(box))
    await bench.hears(b"up\n")
    await bench.executor.stop(box, 1)
    assert (await asyncio.wait_for(follow, PATIENCE_S)).signal_name == "SIGKILL"
    await bench.executor.remove(box.task.name)


async def test_what_it_left_running_does_not_outlive_it(bench: Bench) -> None:
    ended = await asyncio.wait_for(bench.run("setsid sleep 600 & echo started"), PATIENCE_S)
    assert ended.code == 0 and bench.output == b"started\n"


async def test_both_folders_can_be_saved(bench: Bench) -> None:
    box = await bench.start(
        "echo made > made.txt; mkdir $HERMES_OUTPUT_DIR/d; echo kept > $HERMES_OUTPUT_DIR/d/kept.txt"
    )
    await bench.follow(box)
    assert await bench.saved(box, "output") == {"d/kept.txt": b"kept\n"}
    assert await bench.saved(box, "app") == {"hello.txt": b"", "made.txt": b"made\n"}
    await bench.executor.remove(box.task.name)


async def test_a_folder_that_is_too_large_is_refused(bench: Bench) -> None:
    box = await bench.start("head -c 4000000 /dev/urandom > big")
    await bench.follow(box)
    with pytest.raises(Refused, match=r"more than 1\.0 MiB"):
        await bench.saved(box, "app", MIB)
    await bench.executor.remove(box.task.name)


async def test_a_program_that_is_not_there_ends_with_a_code(bench: Bench) -> None:
    box = None
    try:
        box = await bench.start("exec ./nothing-here")
        assert (await bench.follow(box)).code == 127
    finally:
        if box:
            await bench.executor.remove(box.task.name)


async def test_boxes_are_known_by_name_and_gone_when_removed(bench: Bench) -> None:
    box = await bench.start("sleep 600")
    assert await bench.executor.boxes() == [box.task.name]
    await bench.executor.remove(box.task.name)
    await bench.executor.remove(box.task.name)  # once more is no error
    assert await bench.executor.boxes() == []
    assert not (bench.folder / "boxes" / box.task.name).exists()


async def test_starting_a_name_again_replaces_what_was_there(bench: Bench) -> None:
    await bench.start("sleep 600")
    bench.count -= 1
    box = await bench.start("echo second")
    assert (await bench.follow(box)).code == 0 and bench.output == b"second\n"
    await bench.executor.remove(box.task.name)


async def test_usage_is_seen_while_it_runs(bench: Bench) -> None:
    box = await bench.start("x=$(head -c 20000000 /dev/zero | tr '\\0' x); while :; do :; done")
    async with asyncio.timeout(PATIENCE_S):  # others may hold the cores
        while True:
            usage = await bench.executor.usage(box)
            if usage is not None and usage.cpu_s > 0.3 and usage.peak_memory_bytes > 15 * MIB:
                break
            await asyncio.sleep(0.2)
    await bench.executor.remove(box.task.name)


async def test_what_left_its_session_its_parents_and_its_environment_is_ended_too(bench: Bench) -> None:
    hide = f"(setsid env -i {NAP} >/dev/null 2>&1 &) ; (setsid sh -c '{NAP} & exit 0' &)"
    ended = await asyncio.wait_for(bench.run(f"{hide}; echo started; sleep 0.3"), PATIENCE_S)
    assert ended.code == 0 and bench.output == b"started\n"
    assert [line for line in command_lines().values() if NAP in line] == []


async def test_too_many_processes_do_not_come_about(bench: Bench) -> None:
    bomb = "i=0; while [ $i -lt 200 ]; do sleep 60 & i=$((i+1)); done; echo all; sleep 60"
    ended = await asyncio.wait_for(bench.run(bomb, pids=50), PATIENCE_S)
    assert ended.code != 0 and b"all" not in bench.output


async def test_it_reads_its_stdin_and_its_input_files_and_changes_no_others(bench: Bench) -> None:
    given, data = bench.folder / "given", bytes(range(256)) * 4096
    given.write_bytes(data)
    given.chmod(0o444)
    script = (
        "sha256sum; cd $HERMES_INPUT_DIR; find . -type f | sort; cmp 'a b.bin' deep/er/c; "
        "(echo no >deep/er/c) 2>/dev/null; (rm -rf deep) 2>/dev/null; true"
    )
    inputs = (("a b.bin", given), ("deep/er/c", given))
    assert (await bench.run(script, stdin=given, inputs=inputs)).code == 0
    assert bench.output.decode().split("\n") == [
        f"{hashlib.sha256(data).hexdigest()}  -",
        "./a b.bin",
        "./deep/er/c",
        "",
    ]
    assert given.read_bytes() == data
    assert (await bench.run("cat | wc -c; echo ${HERMES_INPUT_DIR-none}")).code == 0
    assert bench.output.split() == [b"0", b"none"]


async def test_it_finds_the_file_that_it_is_run_for_by_all_its_names(bench: Bench) -> None:
    given = bench.folder / "given"
    given.write_bytes(b"a picture")
    given.chmod(0o444)
    script = (
        'cat "$HERMES_INPUT_FILE"; test "$HERMES_INPUT_FILE" = "$HERMES_INPUT_DIR/img/a b.png" && '
        'test "$INPUT_FILE_PATH" = "$HERMES_INPUT_FILE" && test "$TMP_OUTPUT_DIR" = "$HERMES_OUTPUT_DIR"'
    )
    inputs = (("img/a b.png", given), ("other", given))
    assert (await bench.run(script, inputs=inputs, input_file="img/a b.png")).code == 0
    assert bench.output == b"a picture"
    names = "${HERMES_INPUT_FILE-none} ${INPUT_FILE_PATH-none} ${TMP_OUTPUT_DIR-none}"
    assert (await bench.run(f'echo "{names}"', inputs=inputs)).code == 0
    assert bench.output == b"none none none\n"


async def test_its_streams_are_told_apart_for_who_asks(bench: Bench) -> None:
    box = await bench.start("echo out; echo err >&2; echo more", apart=True)
    found: dict[int, bytes] = {}
    ended = await bench.executor.follow(box, lambda data, s: found.update({s: found.get(s, b"") + data}))
    await bench.executor.remove(box.task.name)
    assert found == {STDOUT: b"out\nmore\n", STDERR: b"err\n"} and ended.code == 0
