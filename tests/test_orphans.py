"""What earlier crashes have left is gone soon after a start; what others have beside it is not touched."""

from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from docker.errors import NotFound

from hermes.boxes import sweep
from hermes.executors import choose_executor, instance_label
from hermes.executors.engine import connect
from hermes.process import open_context
from hermes.settings import Settings
from hermes.tables import Rank
from tests.programs import shell
from tests.promises import all_is_kept
from tests.service import Service, wait_for


@pytest.fixture
def api(engine: None) -> Iterator[Any]:
    with closing(connect(60)) as one:
        yield one


@pytest.fixture
def house(engine: None, tmp_path: Path) -> Iterator[Service]:
    one = Service(tmp_path / "left", {"HERMES_EXECUTOR": "docker", "HERMES_CPUS": "8", "HERMES_POLL": "1s"})
    one.token = one.add_user(one.user)
    yield one
    assert one.stop() == 0
    assert "Traceback" not in one.log


def containers(api: Any, names: list[str], labels: dict[str, str]) -> None:
    """Half of them run."""
    for number, name in enumerate(names):
        host = api.create_host_config(network_mode="none")
        command = ["sleep", "600"]
        made = api.create_container("hermes/cpp:2", command, name=name, labels=labels, host_config=host)
        if number % 2:
            api.start(made["Id"])


def files(folder: Path, names: list[str]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("left")
    return [folder / name for name in names]


def there(api: Any, label: str) -> set[str]:
    return {each["Names"][0].strip("/") for each in api.containers(all=True, filters={"label": label})}


@pytest.mark.fault(43)
def test_what_crashes_have_left_is_gone_after_a_start_and_nothing_else(house: Service, api: Any) -> None:
    ours = instance_label(Settings(data=house.data))
    mine = [f"hermes-{ours}-{kind}-{900 + n}.1" for kind in ("build", "rank") for n in range(5)]
    others = [f"hermes-0{ours[1:]}x-rank-{900 + n}.1" for n in range(5)] + [
        f"own-{ours}-{n}" for n in range(5)
    ]
    folders = [house.data / "spool" / "boxes" / name for name in mine]
    try:
        containers(api, mine, {"hermes.instance": ours})
        containers(api, others, {"made.by": f"somebody-{ours}"})
        for name in mine[:5]:
            api.create_volume(f"{name}.app", labels={"hermes.instance": ours})
        for name in others[:5]:
            api.create_volume(f"{name}.app", labels={"made.by": f"somebody-{ours}"})
        spooled = files(house.data / "spool", [f"{name}.tar" for name in mine])
        kept = files(house.data / "spool", [f"notes-{n}.txt" for n in range(10)])
        for folder in folders:
            files(folder, ["left"])
        house.start()
        wait_for(lambda: not there(api, f"hermes.instance={ours}"), 120)
        wait_for(lambda: not api.volumes(filters={"label": f"hermes.instance={ours}"})["Volumes"], 120)
        wait_for(lambda: not [path for path in (*folders, *spooled) if path.exists()], 120)
        assert there(api, f"made.by=somebody-{ours}") == set(others)
        volumes = api.volumes(filters={"label": f"made.by=somebody-{ours}"})["Volumes"]
        assert {each["Name"] for each in volumes} == {f"{name}.app" for name in others[:5]}
        assert all(path.read_text() == "left" for path in kept)
        assert house.push(shell("echo hello"), repo="after-all").code == 0
        all_is_kept(house)
    finally:
        for name in (*mine, *others):
            with suppress(NotFound):
                api.remove_container(name, force=True)
            with suppress(NotFound):
                api.remove_volume(f"{name}.app")


async def test_what_its_process_still_is_at_is_not_swept(tmp_path: Path) -> None:
    """It has slept through its lease: its attempt is over, and it will see that by itself."""
    settings = Settings(data=tmp_path / "var", redis_url="none", executor="local", trust="all")
    async with open_context(settings) as context:
        executor, _ = await choose_executor(settings)
        names = [f"hermes-{instance_label(settings)}-rank-{each}.1.tar" for each in (5, 6)]
        at_work, over = files(context.paths.spool, names)
        await sweep(context, executor, Rank, lambda: {(5, 1)})
        assert at_work.exists() and not over.exists()
        await sweep(context, executor, Rank, set)
        assert not at_work.exists()


async def test_a_box_that_its_process_has_made_meanwhile_is_not_swept(tmp_path: Path) -> None:
    """It bears the name of one that a crash has left, which the sweep has found."""
    settings = Settings(data=tmp_path / "var", redis_url="none", executor="local", trust="all")
    async with open_context(settings) as context:
        executor, _ = await choose_executor(settings)
        box = context.paths.boxes / f"hermes-{instance_label(settings)}-rank-5.1"
        box.mkdir(parents=True)
        answers = iter([set[tuple[int, int]](), {(5, 1)}])
        await sweep(context, executor, Rank, lambda: next(answers))
        assert box.exists()
        await sweep(context, executor, Rank, set)
        assert not box.exists()
