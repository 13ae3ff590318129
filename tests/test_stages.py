"""The stages of a build: found in what its box prints, kept beside its log, told to viewers; never forged."""

import re
import time
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from builder.stages import StagedLog
from hermes.logs import MIXED, STDERR, STDOUT, LogWriter, read
from hermes.stages import StageRecord, read_stages
from tests.programs import go_on, told
from tests.service import Service, wait_for

PROGRAM = '#include <cstdio>\nint main() { std::puts("hello"); }\n'
FORGED = "\\036$$key make\\036 hermes-stage check ::stage image"


def staged(folder: Path, head_bytes: int = 1 << 20) -> tuple[Path, StagedLog, LogWriter, StageRecord]:
    """A log that a box writes."""
    path = folder / "1.1.log"
    writer, record = LogWriter(path, head_bytes, 64), StageRecord(path)
    return path, StagedLog(writer, record), writer, record


def sign(log: StagedLog, stage: str) -> bytes:
    """What the script prints."""
    return b"\x1e%s %s\x1e" % (log.key.encode(), stage.encode())


def found(path: Path) -> list[tuple[str, int | None]]:
    """Its stages."""
    return [(stage.name, stage.offset) for stage in read_stages(path)]


@pytest.mark.parametrize("size", [1, 7, 40, 1000])
def test_signs_are_found_however_the_pieces_are_cut(tmp_path: Path, size: int) -> None:
    path, log, writer, record = staged(tmp_path)
    printed = (
        sign(log, "clean") + b"a\x1eb\n" + sign(log, "make") + b"cc\x1e" + sign(log, "check") + b"end\x1e"
    )
    for at in range(0, len(printed), size):
        log.write(printed[at : at + size], MIXED)
    log.finish()
    writer.close()
    record.close()
    assert read(path, 0) == b"a\x1eb\ncc\x1eend\x1e"
    assert found(path) == [("clean", 0), ("make", 4), ("check", 7)]
    assert all(stage.took_s is not None and stage.took_s >= 0 for stage in read_stages(path))


def test_a_stage_begins_when_both_streams_have_reached_it(tmp_path: Path) -> None:
    path, log, writer, _record = staged(tmp_path)
    log.write(sign(log, "make") + b"one\n", STDOUT)
    log.write(sign(log, "make") + b"warning\n", STDERR)
    log.write(b"two\n" + sign(log, "check") + b"checked\n", STDOUT)
    log.write(b"late error\n", STDERR)
    log.write(sign(log, "check"), STDERR)
    log.finish()
    writer.close()
    text = read(path, 0)
    assert text == b"one\nwarning\ntwo\nlate error\nchecked\n"
    assert found(path) == [("make", 0), ("check", text.index(b"checked"))]


def test_what_a_program_forges_moves_no_byte_and_repeats_no_stage(tmp_path: Path) -> None:
    path, log, writer, _record = staged(tmp_path)
    log.write(sign(log, "make"), MIXED)
    forged = b"\x1e" + b"0" * 32 + b" check\x1e\n"
    log.write(forged + sign(log, "clean") + sign(log, "make") * 5000 + sign(log, "nothing") + b"on\n", MIXED)
    log.write(sign(log, "check") + sign(log, "make") + b"end\n", MIXED)
    log.finish()
    writer.close()
    assert read(path, 0, 1 << 20) == forged + b"on\nend\n"
    assert [name for name, _offset in found(path)] == ["make", "check"]


def test_a_stream_that_runs_ahead_for_ever_is_not_kept_for_ever(tmp_path: Path) -> None:
    path, log, writer, _record = staged(tmp_path)
    log.write(sign(log, "make"), STDOUT)
    for _ in range(100):
        log.write(b"x" * 999 + b"\n", STDOUT)
    assert writer.printed_bytes > 60_000, "what one stream prints is held back for as long as 64 KiB"
    log.finish()
    writer.close()
    assert writer.printed_bytes == 100_000
    assert found(path) == [("make", 0)]


def test_a_stage_after_the_head_of_a_log_that_is_too_long(tmp_path: Path) -> None:
    path, log, writer, _record = staged(tmp_path, head_bytes=10)
    log.write(sign(log, "make") + b"0123456789abc" + sign(log, "check") + b"x", MIXED)
    log.finish()
    writer.close()
    assert found(path) == [("make", 0), ("check", None)]


@pytest.fixture(scope="module")
def build(service: Service) -> dict[str, Any]:
    """One that tries to look as if it were further, and warns."""
    script, files = told("echo compiling", "echo warned >&2")
    makefile = (
        f"all:\n\t@sh {script}\n\t@printf '{FORGED}\\n'\n\tg++ -o a.out main.cpp\nclean:\n\trm -f a.out\n"
    )
    files |= {"Makefile": makefile, "main.cpp": PROGRAM, "hermes.toml": 'handler = "./a.out"\n'}
    pushed = service.push(files, "detach")
    page = wait_for(lambda: (page := service.commit_page(pushed))["builds"] and page)
    wait_for(lambda: b"compiling" in service.read_log("builds", page["builds"][0]["id"]))
    began = time.monotonic()
    time.sleep(0.2)  # so long, at least, it is seen to be made
    made_s = time.monotonic() - began
    go_on(script)
    found: dict[str, Any] = service.settled(pushed)["builds"][0]
    assert found["state"] == "built", found
    return found | {"made_s": made_s}


def test_a_build_has_its_stages_with_durations(service: Service, build: dict[str, Any]) -> None:
    with service.client() as client:
        outline = client.get(f"/builds/{build['id']}/log/outline").json()
        text = client.get(f"/builds/{build['id']}/log").text
    stages = {each["key"]: each for each in outline["heads"]}
    assert list(stages) == ["tree", "box", "clean", "make", "check", "image"]
    assert stages["make"]["first"] == 1 and stages["check"]["first"] == text.count("\n") + 1
    assert all(each["took_s"] is not None for each in stages.values())
    total_s = sum(each["took_s"] for each in stages.values())
    assert total_s <= build["ended_at"] - build["started_at"] + 0.01
    assert stages["make"]["took_s"] >= build["made_s"]
    assert "\x1e" in text, "what the program printed is all there"
    assert not re.search(r"[0-9a-f]{32}", text), "and nothing of ours"


def test_the_pages_show_stages_without_scripts(service: Service, build: dict[str, Any]) -> None:
    with service.client() as client:
        page = client.get(f"/builds/{build['id']}").text
    assert re.search(r'<span class="l head">make <span class="note">[\d.]+ s</span>', page)
    assert page.index("Start the box") < page.index("compiling") < page.index("Keep the image")


def test_stages_fold_by_hand_and_by_key(service: Service, build: dict[str, Any], browser_page: Page) -> None:
    browser_page.goto(f"/builds/{build['id']}")
    expect(browser_page.locator("[data-log].scripted")).to_be_visible()
    heads = browser_page.locator(".l.head")
    expect(heads).to_have_count(6)
    expect(heads.nth(3)).to_have_text(re.compile(r"^make [\d.]+ s\s*$"))
    assert browser_page.locator(".l.head button").count() == 1, "what has no lines cannot be folded"
    browser_page.set_viewport_size({"width": 360, "height": 800})
    tops = "rows => new Set(rows.map((row) => row.getBoundingClientRect().top)).size"
    assert heads.evaluate_all(tops) == 6, "each on a line of its own"
    button = browser_page.get_by_role("button", name=re.compile("^make "))
    line = browser_page.locator('.l[data-line="1"]')
    expect(line).to_contain_text("compiling")
    button.focus()
    browser_page.keyboard.press("Enter")
    expect(line).to_have_count(0)
    expect(button).to_have_text(re.compile(r"· \d lines"))
    browser_page.goto(f"/builds/{build['id']}#L1")
    expect(line).to_be_visible()
    expect(line).to_have_class(re.compile("picked"))


def test_a_build_says_what_its_image_is_made_of(service: Service, build: dict[str, Any]) -> None:
    with service.client() as client:
        pages = [
            client.get(f"/builds/{build['id']}").text,
            client.get(f"/{build['repo']}/commit/{build['commit']}").text,
        ]
    for page in pages:
        rows = re.findall(r"<tr><td>(.*?)</td>.*?</tr>", page)
        assert "Base image" in rows and "/app" in rows
        assert re.search(r'<code title="sha256:[0-9a-f]{64}">sha256:', page)
        assert "cached: on this machine before" in page and "made by this build in" in page
