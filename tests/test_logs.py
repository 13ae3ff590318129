"""Logs: what a reader gets is what was written, from every offset, and a flood is cut in the middle only."""

import asyncio
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inotify_simple import INotify

from hermes.followed import LogWatch
from hermes.logs import END, LogWriter, end_offset, index_path, read
from hermes.queue import Bell
from tests.service import PATIENCE_S


async def whole(path: Path, offset: int = 0) -> bytes:
    return b"".join([data async for _, data in LogWatch().tail(path, offset)])


@settings(max_examples=40)
@given(st.lists(st.binary(max_size=200), max_size=20), st.integers(0, 4000))
async def test_a_reader_gets_the_same_bytes_from_any_offset(
    tmp_path: Path, parts: list[bytes], at: int
) -> None:
    path = tmp_path / "1.1.log"
    path.unlink(missing_ok=True)
    index_path(path).unlink(missing_ok=True)
    writer = LogWriter(path, 1 << 20)
    for part in parts:
        writer.write(part)
    writer.close()
    assert await whole(path, at) == b"".join(parts)[at:]


async def test_a_reader_that_was_there_first_sees_all_and_ends_with_the_log(tmp_path: Path) -> None:
    path = tmp_path / "1.1.log"
    reader = asyncio.create_task(whole(path))
    await asyncio.sleep(0)
    writer = LogWriter(path, 1 << 20)
    for number in range(100):
        writer.write(f"line {number}\n".encode())
        await asyncio.sleep(0.001)
    assert not reader.done() and end_offset(path) is None
    writer.close()
    assert (await asyncio.wait_for(reader, PATIENCE_S)).count(b"\n") == 100


async def test_who_is_at_the_same_place_gets_the_same_piece_and_who_is_behind_comes_there(
    tmp_path: Path,
) -> None:
    path, watch, bell = tmp_path / "1.1.log", LogWatch(), Bell()
    writer = LogWriter(path, 1 << 20)
    writer.write(b"first ")
    with watch.follow(path, bell) as log:
        pieces = [log.piece(0)]
        for words in (b"second ", b"third "):
            writer.write(words)
            assert await bell.wait(PATIENCE_S)
            pieces.append(log.piece(log.size_bytes - len(words)))
        assert [piece and piece.data for piece in pieces] == [b"first ", b"second ", b"third "]
        behind = log.piece(2)
        assert behind is not None and behind.data == b"rst ", "to where a shared piece begins"
        assert log.piece(6) is pieces[1] and log.piece(13) is pieces[2]
        assert log.piece(log.size_bytes) is None and not log.has_ended
        writer.close()
        assert await bell.wait(PATIENCE_S) and log.has_ended


async def test_where_the_kernel_tells_nothing_a_reader_looks_by_itself(tmp_path: Path) -> None:
    with ExitStack() as stack:
        try:
            for _ in range(2000):
                stack.enter_context(INotify())
        except OSError:
            pass  # now this user has as many as may be
        else:
            pytest.skip("here a user may have more of inotify than a test should take")
        path = tmp_path / "1.1.log"
        writer = LogWriter(path, 1 << 20)
        reader = asyncio.create_task(whole(path))
        for number in range(20):
            writer.write(f"line {number}\n".encode())
            await asyncio.sleep(0.001)
        writer.close()
        assert (await asyncio.wait_for(reader, PATIENCE_S)).count(b"\n") == 20


async def test_a_flood_keeps_its_head_and_its_tail_and_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "1.1.log"
    writer = LogWriter(path, head_bytes=1000, tail_bytes=100)
    flood = b"".join(b"%09d\n" % n for n in range(5000))
    for at in range(0, len(flood), 333):
        writer.write(flood[at : at + 333])
    writer.close()
    log = await whole(path)
    assert log.startswith(flood[:1000]) and log.endswith(flood[-100:])
    assert b"the program goes on" in log and b"48900 bytes are left out here" in log
    assert writer.printed_bytes == len(flood) and len(log) < 1500


def test_every_byte_is_in_the_file_before_write_returns(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path / "1.1.log", 1 << 20)
    writer.write(b"no line end yet")
    assert read(tmp_path / "1.1.log", 0) == b"no line end yet"
    writer.close()
    writer.close()  # harmless


def test_the_end_mark_is_the_size(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path / "1.1.log", 1 << 20)
    writer.write(b"12345")
    writer.close()
    assert end_offset(tmp_path / "1.1.log") == 5 and END == 255
