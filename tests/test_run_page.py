"""The page of a run: charts from few samples or many, its life as a bar, thousands of ranks, who may look."""

import asyncio
import re
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, insert

from hermes.database import Database
from hermes.schema import migrate
from hermes.states import State
from hermes.tables import Build, Event, Rank, Run
from hermes.units import show_size
from tests.programs import shell
from tests.service import Service
from tests.test_pages import signed_in
from web.charts import CPU, MEMORY, MOST_POINTS, charts, draw, round_up, thin
from web.environment import MASK, masked
from web.phases import WIDTH, phases
from web.ranks import look_at_ranks
from web.samples import MOST_READ, Sample, Samples, read_samples


def test_a_thin_line_keeps_its_peaks() -> None:
    series = [(float(at), 1.0) for at in range(50_000)]
    series[12_345], series[40_000] = (12_345.0, 99.0), (40_000.0, -5.0)
    kept = thin(series)
    assert len(kept) <= MOST_POINTS and kept == sorted(kept)
    assert (12_345.0, 99.0) in kept and (40_000.0, -5.0) in kept
    assert thin(series[:600]) == series[:600]


@pytest.mark.parametrize(
    ("value", "top"), [(100, 100), (101, 200), (0.3, 0.4), (1980, 2000), (4100, 5000), (99, 100)]
)
def test_axes_end_at_round_numbers(value: float, top: float) -> None:
    assert round_up(value, CPU.nice) == pytest.approx(top)


def test_axes_of_sizes_end_at_round_sizes() -> None:
    for value, words in ((1 << 20, "1.0 MiB"), (700 << 20, "800 MiB"), (140 << 30, "150 GiB")):
        assert show_size(round_up(value, MEMORY.nice)) == words


def test_several_gpus_are_several_lines_of_one_chart() -> None:
    def gpu(number: int, percent: float | None) -> dict[str, Any]:
        return {"uuid": f"GPU-{number}", "percent": percent, "celsius": 40 + number, "power_w": None}

    rows = [Sample(100.0 + n, n, 1 << 20, [gpu(0, n), gpu(1, 2 * n)]) for n in range(5)]
    drawn = {each.title: each for each in charts(Samples(rows, 1), {"GPU-0": "GPU 0 (H200)"})}
    assert list(drawn) == ["CPU", "Memory", "GPU utilisation", "GPU temperature"]
    first, second = drawn["GPU utilisation"].lines
    assert (first.name, first.high, second.high, second.low) == ("GPU 0 (H200)", "4 %", "8 %", "0 %")
    assert first.style != second.style
    assert "GPU 0 (H200): lowest 0 %, highest 4 %, last 4 %" in drawn["GPU utilisation"].words
    assert [tick.label for tick in drawn["GPU temperature"].rows] == ["0 °C", "25 °C", "50 °C"]
    assert charts(Samples(rows[:1], 1), {}) == []


def test_a_chart_stays_inside_its_frame() -> None:
    chart = draw(CPU, [("", [(0.0, 0.0), (5.0, 350.0), (9.0, 20.0)])], 0.0, 9.0)
    points = [tuple(map(float, pair.split(","))) for pair in chart.lines[0].points.split()]
    assert all(58 <= x <= 312 and 10 <= y <= 112 for x, y in points)
    assert [tick.label for tick in chart.rows] == ["0 %", "200 %", "400 %"]
    assert [tick.label for tick in chart.columns] == ["0 s", "4.50 s", "9.00 s"]


def life(*moves: tuple[str, float], built_at: float, summary: Any = None) -> list[tuple[str, str, float]]:
    """The phases of a rank that was queued at 100."""
    states = ["queued", *(state for state, _ in moves)]
    events = [
        Event(kind="rank", from_state=old, to_state=new, at=at)
        for old, (new, at) in zip(states, moves, strict=False)
    ]
    found = phases(Rank(created_at=100.0, summary=summary), Build(ended_at=built_at), events)
    assert sum(phase.width for phase in found) == pytest.approx(WIDTH, abs=1)
    return [(phase.kind, phase.words, round(phase.span_s, 3)) for phase in found]


def test_the_life_of_a_run_is_told_in_phases() -> None:
    whole = (("starting", 105.0), ("running", 106.0), ("succeeded", 112.0))
    assert life(*whole, built_at=103.0, summary={"wall_s": 5.0}) == [
        ("waiting", "waited for its build", 3.0),
        ("queued", "waited for a free place", 2.0),
        ("starting", "started", 1.0),
        ("running", "ran", 5.0),
        ("ending", "ended", 1.0),
    ]
    again = (("starting", 101.0), ("queued", 102.0), ("starting", 104.0), ("cancelled", 105.0))
    kinds = [kind for kind, _, _ in life(*again, built_at=90.0)]
    assert kinds == ["queued", "starting", "queued", "starting"]


async def test_a_page_reads_so_many_samples_however_long_a_run_was(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'hermes.db'}")
    await migrate(database)
    await database.close()
    with sqlite3.connect(tmp_path / "hermes.db") as rows:  # without the rest of the world
        rows.executemany(
            "INSERT INTO gpu_sample (rank_id, attempt, at, cpu_percent, memory_bytes, gpus)"
            " VALUES (1, 1, ?, 5, 6, '[]')",
            [(float(at),) for at in range(20_000)],
        )
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'hermes.db'}")
    async with database.read() as session:
        found = await read_samples(session, Rank(id=1, attempt=1))
        none = await read_samples(session, Rank(id=1, attempt=2))
    await database.close()
    assert found.every == 7 and len(found.rows) <= MOST_READ
    assert (found.rows[0].at, found.rows[-1].at) == (0.0, 19_999.0)
    assert none == Samples([], 1)


def test_secrets_in_the_environment_are_not_shown() -> None:
    env = {
        "OMP_NUM_THREADS": "2",
        "WANDB_API_KEY": "x",
        "DB_PASSWORD": "y",
        "hf_token": "z",
        "KEYBOARD": "de",
    }
    shown = masked(env)
    assert [name for name, value in shown.items() if value == MASK] == [
        "WANDB_API_KEY",
        "DB_PASSWORD",
        "hf_token",
    ]


@pytest.fixture(scope="module")
def run(service: Service) -> dict[str, Any]:
    """Of three ranks, one of which fails."""
    program = shell(
        'echo "rank $RANK"; test $RANK != 1\n',
        '[run]\ncpus = 0.5\nmemory = "64M"\nenv = { MY_TOKEN = "hush", WORD = "<b>" }\n'
        "[gpu]\ncount = 0\n[ranks]\nrepeat = 3\n",
    )
    return service.run_of(service.push(program, repo="manyranks"))


def test_the_page_shows_the_rank_that_is_asked_for(service: Service, run: dict[str, Any]) -> None:
    with signed_in(service, service.token) as client:
        page = client.get(f"/runs/{run['id']}?rank=1").text
        assert client.get(f"/runs/{run['id']}?rank=3").status_code == 404
    assert "Timeline of rank 1" in page and 'aria-label="rank 1 failed"' in page
    assert len(re.findall(r'<a href="\?rank=\d" class="s-', page)) == 3
    assert page.count('tabindex="-1"') == 3  # two cells, and the content itself
    variables = page.partition('id="environment"')[2]
    assert "hush" not in variables and MASK in variables and "<code>&lt;b&gt;</code>" in variables
    assert re.search(r"<code>RANK</code></dt><dd><code>1</code>", variables)
    assert '<span class="dim">rank 1</span> failed: exit code 1' in page


def test_who_may_not_see_a_run_does_not_see_its_charts(
    service: Service, bob: str, run: dict[str, Any]
) -> None:
    address = f"/runs/{run['id']}/charts?rank=0"
    with signed_in(service, service.token) as client:
        answer = client.get(address)
        assert answer.status_code == 200 and 'data-open="no"' in answer.text
        assert client.get(f"/runs/{run['id']}/charts?rank=9").status_code == 404
    with signed_in(service, bob) as other:
        assert other.get(address).status_code == 404
    with service.client("") as nobody:
        assert nobody.get(address).status_code == 303


@pytest.fixture
def crowd(service: Service, run: dict[str, Any]) -> int:
    """A run of 10,000 ranks that are over, written into the database: none is claimed any more."""
    states = [State.FAILED if number % 2500 == 7 else State.SUCCEEDED for number in range(10_000)]

    async def write() -> int:
        database = Database(f"sqlite+aiosqlite:///{service.data / 'hermes.db'}")
        async with database.write() as session:
            model = await session.get_one(Run, run["id"])
            fresh = Run(
                repo_id=model.repo_id,
                build_id=model.build_id,
                user_id=model.user_id,
                trigger="retry",
                state=State.FAILED,
                plan=model.plan | {"ranks": [{}] * len(states)},
                queue_key=0.0,
                created_at=time.time(),
            )
            session.add(fresh)
            await session.flush()
            common = {"run_id": fresh.id, "queue_key": 0.0, "created_at": time.time(), "parameters": {}}
            summary = {"wall_s": 2.0, "cpu_s": 1.0, "peak_memory_bytes": 1 << 20}
            rows = [
                common | {"number": number, "state": state, "exit_code": int(state == "failed")}
                for number, state in enumerate(states)
            ]
            await session.execute(insert(Rank), [row | {"summary": summary} for row in rows])
            run_id = fresh.id
        await database.close()
        return run_id

    return asyncio.run(write())


def test_ten_thousand_ranks_are_a_page_of_bounded_weight(service: Service, crowd: int) -> None:
    with signed_in(service, service.token) as client:
        page = client.get(f"/runs/{crowd}?rank=5007").text
    assert len(page) < 300_000
    assert page.count('aria-label="rank ') == 1000 and 'aria-label="rank 5007 failed"' in page
    assert page.count("–") >= 10 and "9000–9999" in page
    assert '<b class="num">9996</b>' in page and '<b class="num">4</b>' in page
    assert "5000 to 5019 of 10000" in page and 'href="?rank=5020" rel="next"' in page
    assert "CPU time</dt><dd>2 h 46 m" in page  # the sum of all


def test_few_rows_are_loaded_of_ten_thousand(service: Service, crowd: int) -> None:
    async def look() -> int:
        loaded = 0

        def count(*_: object) -> None:
            nonlocal loaded
            loaded += 1

        event.listen(Rank, "load", count)
        database = Database(f"sqlite+aiosqlite:///{service.data / 'hermes.db'}")
        try:
            async with database.read() as session:
                shown = Rank(run_id=crowd, number=2507, position=2507)
                found = await look_at_ranks(session, shown)
        finally:
            event.remove(Rank, "load", count)
            await database.close()
        assert [block.counts.get(State.FAILED, 0) for block in found.blocks[:3]] == [1, 0, 1]
        assert (found.earlier, found.later, found.rows[0].number) == (2480, 2520, 2500)
        assert [(count.state, count.ranks, count.first) for count in found.counts] == [
            (State.SUCCEEDED, 9996, 0),
            (State.FAILED, 4, 7),
        ]
        return loaded

    assert asyncio.run(look()) == 20
