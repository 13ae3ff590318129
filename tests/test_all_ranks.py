"""All ranks of a run together in the viewer: each line once, in its order, live, and found again."""

import random
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from hermes.logs import END, RECORD, index_path
from tests.programs import shell
from tests.service import Pushed, Service, wait_for
from web.byrank import ByRank
from web.bytime import ByTime
from web.lines import LineIndex, PerLog
from web.ranklog import Order, RankLog

TALK = (
    "i=0; while [ $i -lt 20 ]; do i=$((i+1)); echo rank $RANK says $i; sleep 0.0$((RANK+2)); done\n"
    "printf '\\033[32mgreen %s\\033[0m\\n' $RANK; printf 'last of %s' $RANK\n"
)
RANKS: dict[str, str | bytes] = {"hermes.toml": 'handler = "sh main.sh"\n[ranks]\nrepeat = 3\n'}


@dataclass
class Written:
    """A log whose times are chosen."""

    log: RankLog
    lines: list[tuple[float, str]] = field(default_factory=list)
    size: int = 0

    def write(self, at: float, text: str) -> None:
        """Bytes that came at this time."""
        with index_path(self.log.path).open("ab") as index:
            index.write(RECORD.pack(self.size, at, 1))
        with self.log.path.open("ab") as file:
            file.write(text.encode())
        self.size += len(text)

    def end(self, at: float) -> None:
        """Nothing more comes."""
        with index_path(self.log.path).open("ab") as index:
            index.write(RECORD.pack(self.size, at, END))

    @property
    def text(self) -> list[str]:
        """Its lines."""
        return self.log.path.read_text().removesuffix("\n").split("\n")


def written(folder: Path, ranks: int) -> list[Written]:
    """Empty logs."""
    found = [Written(RankLog(rank, folder / f"{rank}.1.log")) for rank in range(ranks)]
    for each in found:
        each.log.path.touch()
    return found


def seen(order: Order, logs: list[Written]) -> list[tuple[int, int]]:
    """All rows as (rank, line)."""
    order.take([each.log for each in logs])
    pieces = order.rows(0, 1 << 30).pieces
    return [(piece.rank, piece.first + at) for piece in pieces for at in range(piece.lines)]


def test_lines_are_in_the_order_of_their_times(tmp_path: Path) -> None:
    one, two = logs = written(tmp_path, 2)
    one.write(1.0, "a\nb\n")
    two.write(2.0, "c")
    one.write(3.0, "d\n")
    two.write(4.0, "c\ne\n")
    for each in logs:
        each.end(5.0)
    assert seen(ByTime(PerLog(LineIndex, 9)), logs) == [(0, 0), (0, 1), (1, 0), (0, 2), (1, 1)]
    assert seen(ByRank(PerLog(LineIndex, 9)), logs) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]


@pytest.mark.parametrize("seed", range(8))
def test_rows_stay_and_each_line_is_there_once_while_the_logs_grow(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    logs = written(tmp_path, 5)
    order = ByTime(PerLog(LineIndex, 9))
    before: list[tuple[int, int]] = []
    for step in range(60):
        for each in chance.sample(logs, 3):
            words = "".join(
                chance.choice(["x", "yy\n", "\n", "é", "z" * 40]) for _ in range(chance.randrange(6))
            )
            if words:
                each.write(step + chance.random(), words)
        if chance.random() < 0.4:
            rows = seen(order, logs)
            assert rows[: len(before)] == before, "what is firm stays"
            before = rows[: order.rows(0, 1).firm]
    for each in logs:
        each.end(99.0)
    rows = seen(order, logs)
    expected = {(each.log.number, at) for each in logs for at in range(len(each.text)) if each.size}
    assert len(rows) == len(expected) and set(rows) == expected
    assert order.rows(0, 1).firm == len(rows)
    for rank, line in expected:
        assert order.rows_of({rank: [line]}) == [rows.index((rank, line))]
    for first in (0, 3, len(rows) - 2):
        part = [(p.rank, p.first + at) for p in order.rows(first, 7).pieces for at in range(p.lines)]
        assert part == rows[first : first + 7]


def test_a_line_without_an_end_is_shown_last_and_takes_its_place_when_it_has_one(tmp_path: Path) -> None:
    one, two = logs = written(tmp_path, 2)
    order = ByTime(PerLog(LineIndex, 9))
    one.write(1.0, "progress 10 %")
    two.write(2.0, "a\n")
    assert seen(order, logs) == [(1, 0), (0, 0)]
    assert order.rows(0, 9).firm == 1
    two.write(3.0, "b\n")
    one.write(4.0, "\rdone\n")
    assert set(seen(order, logs)) == {(1, 0), (0, 0), (1, 1)} and order.rows(0, 9).firm == 3


def test_another_attempt_begins_anew(tmp_path: Path) -> None:
    logs = written(tmp_path, 2)
    order = ByTime(PerLog(LineIndex, 9))
    for each in logs:
        each.write(1.0, "first try\n")
    seen(order, logs)
    generation = order.rows(0, 1).generation
    again = Written(RankLog(1, tmp_path / "1.2.log"))
    again.write(5.0, "second\ntry\n")
    logs[1] = again
    assert seen(order, logs) == [(0, 0), (1, 0), (1, 1)]
    assert order.rows(0, 1).generation != generation


def test_very_many_pieces_are_bounded_and_the_newest_stay(tmp_path: Path) -> None:
    logs = written(tmp_path, 2)
    order = ByTime(PerLog(LineIndex, 9), most_pieces=100)
    for at in range(500):
        logs[at % 2].write(float(at), f"{at}\n")
        if at % 10 == 9:
            rows = seen(order, logs)
            assert len(rows) <= 100
            assert rows[-1] == (at % 2, at // 2)
    assert order.rows(0, 1).left_out
    late = ByTime(PerLog(LineIndex, 9), most_pieces=100)
    rows = seen(late, logs)
    assert 40 <= len(rows) <= 50 and rows[-1] == (1, 249) and late.rows(0, 1).left_out
    assert rows == sorted(rows, key=lambda row: row[1] * 2 + row[0]), "from the same moment on"


@pytest.fixture(scope="module")
def crowd(service: Service) -> Pushed:
    """A run of three ranks that talk at the same time."""
    return service.push(shell(TALK) | RANKS)


def part(service: Service, run: int, name: str, **parameters: Any) -> dict[str, Any]:
    """Of its logs."""
    with service.client() as client:
        answer = client.get(f"/runs/{run}/logs/{name}", params=parameters)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told


@pytest.mark.parametrize("order", ["time", "rank"])
def test_the_viewer_gets_what_the_text_has(service: Service, crowd: Pushed, order: str) -> None:
    run = service.run_of(crowd)["id"]
    told = part(service, run, "lines", **{"from": 1, "count": 1000, "order": order})
    assert told["total"] == told["firm"] == 3 * 22 and told["ended"]
    lines = [(piece["rank"], words) for piece in told["pieces"] for words in piece["lines"]]
    with service.client() as client:
        text = client.get(f"/runs/{run}/logs", params={"order": "time"}).text
    expected = [re.fullmatch(r"\[(\d)\] (.*)", line) for line in text.splitlines()]
    pairs = [(int(match[1]), match[2]) for match in expected if match]
    assert sorted(lines) == sorted(pairs)
    for rank in range(3):
        assert [each for each in lines if each[0] == rank] == [each for each in pairs if each[0] == rank]
    if order == "time":
        assert lines == pairs
    else:
        assert [head["first"] for head in told["heads"]] == [1, 23, 45]
    window = part(service, run, "lines", **{"from": 50, "count": 10, "order": order})
    assert [(piece["rank"], words) for piece in window["pieces"] for words in piece["lines"]] == lines[49:59]
    found = part(service, run, "search", q="green", order=order)
    assert [lines[row - 1][1][-6:] for row in found["lines"]] and found["count"] == 3
    assert all("green" in lines[row - 1][1] for row in found["lines"])
    where = part(service, run, "where", rank=2, line=21, order=order)
    assert lines[where["row"] - 1] == (2, "\x1b[32mgreen 2\x1b[0m")
    assert part(service, run, "where", rank=2, line=500, order=order)["row"] == 0


def together(page: Page, run: int, order: str, anchor: str = "") -> Any:
    """The viewer of all ranks."""
    page.set_viewport_size({"width": 1280, "height": 1400})
    page.goto(f"/runs/{run}?rank=all&order={order}{anchor}")
    expect(page.locator("[data-log].scripted")).to_be_visible()
    return page.locator("[data-lines]")


def test_all_ranks_are_followed_live(service: Service, browser_page: Page) -> None:
    pushed = service.push(shell(TALK.replace("sleep 0.0", "sleep 0.1")) | RANKS, "detach")
    run = wait_for(lambda: service.commit_page(pushed)["runs"])[0]["id"]
    log = together(browser_page, run, "time")
    expect(log).to_contain_text("rank 2 says 5\n")
    browser_page.context.set_offline(True)
    browser_page.wait_for_timeout(1500)
    browser_page.context.set_offline(False)
    expect(browser_page.locator(".verdict .status")).to_have_text("succeeded")
    for rank in range(3):  # a verdict may be shown before the last lines are
        expect(log).to_contain_text(f"last of {rank}")
    shown = [line.strip() for line in log.inner_text().splitlines() if "says" in line]
    assert sorted(shown) == sorted(f"rank {rank} says {at}" for rank in range(3) for at in range(1, 21))
    for rank in range(3):
        of_rank = [int(line.split()[-1]) for line in shown if line.startswith(f"rank {rank}")]
        assert of_rank == sorted(of_rank)


def test_a_line_among_all_ranks_has_a_link(service: Service, crowd: Pushed, browser_page: Page) -> None:
    run = service.run_of(crowd)["id"]
    together(browser_page, run, "time", "#R1L7")
    picked = browser_page.locator(".l.picked")
    expect(picked).to_have_count(1)
    expect(picked).to_contain_text("rank 1 says 7")
    expect(picked.locator(".n")).to_have_attribute("data-n", "1")
    browser_page.get_by_role("link", name="All ranks, one after another").click()
    browser_page.locator('.l[data-rank="2"] .n[data-line="3"]').click()
    expect(browser_page).to_have_url(re.compile("#R2L3$"))
    browser_page.get_by_role("link", name="in its own log").click()
    browser_page.wait_for_url(f"**/runs/{run}?rank=2#L3")
    expect(browser_page.locator(".l.picked")).to_contain_text("rank 2 says 3")


def test_ranks_one_after_another_fold(service: Service, crowd: Pushed, browser_page: Page) -> None:
    log = together(browser_page, service.run_of(crowd)["id"], "rank")
    heads = browser_page.locator(".l.head button")
    log.press("g")
    heads.first.focus()
    browser_page.keyboard.press("Enter")
    expect(heads.first).to_have_text(re.compile("Rank 0 succeeded · 22 lines"))
    expect(log).not_to_contain_text("rank 0 says")
    expect(log).to_contain_text("rank 1 says 1\n")
    browser_page.keyboard.press("/")
    browser_page.keyboard.type("rank 0 says 9")
    browser_page.keyboard.press("Enter")
    expect(browser_page.locator("[data-count]")).to_have_text("1 of 1")
    expect(browser_page.locator(".l.current")).to_contain_text("rank 0 says 9")


def test_without_scripts_all_ranks_are_there(service: Service, crowd: Pushed) -> None:
    run = service.run_of(crowd)["id"]
    with service.client() as client:
        page = client.get(f"/runs/{run}", params={"rank": "all", "order": "time"}).text
    assert 'id="R2L20"' in page and f'href="/runs/{run}?rank=2#L20"' in page
    assert "Output of all ranks" in page
