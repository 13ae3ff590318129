"""What artifacts become before a page shows them: kinds, pictures, tables, plots, JSON, all of it hostile."""

import json
import os
import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes.errors import SettingsError
from hermes.settings import Settings, load_settings
from tests import media
from web.indent import indented, is_json
from web.media import LOOK_BYTES, Kind, media_of
from web.netpbm import NotAPicture, open_picture
from web.origin import Origin, open_origin
from web.plot import HEIGHT, WIDTH, draw
from web.tabular import READ_BYTES, Table, read_table

# ---- kinds


@pytest.mark.parametrize(
    ("head", "name", "kind", "content_type"),
    [
        (media.png(), "x.html", "picture", "image/png"),
        (b"\xff\xd8\xff\xe0rest", "x", "picture", "image/jpeg"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "x", "picture", "image/webp"),
        (media.wav(), "x.png", "audio", "audio/wav"),
        (b"ID3\x04\0\0", "x", "audio", "audio/mpeg"),
        (b"\xff\xfb\x90\0", "song.mp3", "audio", "audio/mpeg"),
        (b"\xff\xfb\x90\0", "weights.bin", "other", None),
        (b"fLaC\0", "x", "audio", "audio/flac"),
        (b"OggS\0\x02" + bytes(22) + b"\x01vorbis", "x", "audio", "audio/ogg"),
        (b"\0\0\0\x20ftypisom", "x", "video", "video/mp4"),
        (b"\x1a\x45\xdf\xa3\x9fB\x82\x84webm", "x", "video", "video/webm"),
        (media.PDF, "x.html", "pdf", "application/pdf"),
        (b"P6 1 1 255\n\0\0\0", "x.ppm", "netpbm", None),
        (b"P3 1 1 255\n1 2 3", "x.ppm", "netpbm", "text/plain; charset=utf-8"),
        (b"P60 is a road", "x", "text", "text/plain; charset=utf-8"),
        (b"a,b\n1,2\n", "x.CSV", "table", "text/plain; charset=utf-8"),
        (b"<script>", "x.html", "html", "text/plain; charset=utf-8"),
        (b"<svg/>", "x.svg", "svg", "text/plain; charset=utf-8"),
        (b"<script>", "x.png", "text", "text/plain; charset=utf-8"),
        (b"\xc3(", "x.txt", "other", None),
        (b"a" * (LOOK_BYTES - 1) + b"\xc3", "x.txt", "text", "text/plain; charset=utf-8"),
        (b"", "x.html", "html", "text/plain; charset=utf-8"),
    ],
)
def test_first_bytes_decide_and_names_only_among_texts(
    head: bytes, name: str, kind: str, content_type: str | None
) -> None:
    assert media_of(head, name) == (Kind(kind), content_type)


@given(st.binary(max_size=64), st.text(max_size=12))
def test_no_bytes_get_a_type_that_runs_scripts_in_our_origin(head: bytes, name: str) -> None:
    content_type = media_of(head, name).content_type or "application/octet-stream"
    assert not re.search("html|xml|script|svg", content_type)


# ---- pictures


def to_png(folder: Path, data: bytes) -> tuple[int, int, int, int, bytes]:
    path = folder / "picture"
    path.write_bytes(data)
    return media.unpack_png(b"".join(open_picture(path)))


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"P1\n# a comment\n3 2\n1 0 1\n0 1 0\n", (3, 2, 1, 0, b"\x5f\xbf")),
        (b"P1 3 2 101010", (3, 2, 1, 0, b"\x5f\xbf")),
        (b"P2 2 1 15\n0 # black\n 15", (2, 1, 8, 0, b"\0\xff")),
        (b"P2 2 1 65535 1 65535", (2, 1, 16, 0, b"\0\1\xff\xff")),
        (b"P3 1 2 255\n1 2 3 4 5 6 7 8", (1, 2, 8, 2, b"\1\2\3\4\5\6")),
        (b"P4 10 1\n\xf0\x80", (10, 1, 1, 0, b"\x0f\x7f")),
        (b"P5\t2\r\n1 # two\n 100\n\x32\xff", (2, 1, 8, 0, b"\x7f\xff")),  # 255 is beyond 100: white
        (b"P5 1 2 65535\n\x12\x34\xab\xcd", (1, 2, 16, 0, b"\x12\x34\xab\xcd")),
        (b"P5 2 1 1023\n\x03\xff\x00\x00", (2, 1, 16, 0, b"\xff\xff\0\0")),
        (b"P6 1 1 255\n\x0a\x20\x30behind it", (1, 1, 8, 2, b"\x0a\x20\x30")),
        (b"P6 1 1 65535\n\0\1\0\2\0\3", (1, 1, 16, 2, b"\0\1\0\2\0\3")),
    ],
)
def test_netpbm_becomes_png_with_the_same_samples(
    tmp_path: Path, data: bytes, shown: tuple[int, int, int, int, bytes]
) -> None:
    assert to_png(tmp_path, data) == shown


@pytest.mark.parametrize(
    "data",
    [
        b"P6 100000 100000 255\n" + bytes(300),
        b"P6 4000 4000 255\n" + bytes(300),
        b"P4 32768 512\n" + bytes(300),
        b"P6 999999999 999999999 255\n",
        b"P6 0 1 255\n\0\0\0",
        b"P6 1 1 0\n\0\0\0",
        b"P6 1 1 65536\n\0\0\0\0\0\0",
        b"P6 99999999999999999999999999 1 255\n\0",
        b"P6 -1 1 255\n\0\0\0",
        b"P6 1 1",
        b"P6 #" + b"x" * 5000,
        b"P2 2 2 255 1 2 3",
        b"P2 2 1 255 1 256",
        b"P2 2 1 255 1 -1",
        b"P2 2 1 255 1 x",
        b"P2 1 1 255 " + b"9" * 5000,
        b"P1 2 2 1 0 2 1",
        b"P1 2 2 101",
        b"P3 1 1 255\n1 2 3 " + b" " * (4 << 20),
    ],
)
def test_pictures_that_lie_are_refused_before_anything_is_made(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "picture").write_bytes(data)
    with pytest.raises(NotAPicture):
        open_picture(tmp_path / "picture")


@given(st.binary(max_size=200), st.integers(1, 6))
@settings(max_examples=100)
def test_any_bytes_are_a_picture_or_are_refused(
    tmp_path_factory: pytest.TempPathFactory, rest: bytes, form: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    try:
        to_png(folder, b"P%d 2 3 " % form + rest)
    except NotAPicture:
        return


def test_a_large_picture_is_made_in_small_pieces(tmp_path: Path) -> None:
    """Noise cannot be packed; still no piece is larger than what is read at once."""
    (tmp_path / "picture").write_bytes(b"P6 1000 2000 255\n" + os.urandom(6_000_000))
    sizes = [len(piece) for piece in open_picture(tmp_path / "picture")]
    assert sum(sizes) > 6_000_000 and max(sizes) < 400_000


# ---- tables and plots


def table_of(text: str | bytes, name: str = "x.csv") -> Table | None:
    data = text.encode() if isinstance(text, str) else text
    return read_table(data[:READ_BYTES], name, len(data))


def test_a_table_shows_its_first_rows_and_draws_its_numbers() -> None:
    table = table_of("# step,loss,note,lr\n" + "".join(f"{i},{i * i},word,{i / 10}\n" for i in range(200)))
    assert table is not None and (table.header, len(table.shown)) == (["step", "loss", "note", "lr"], 50)
    assert table.rest == "the first 50 of 200 rows"
    plot = draw(table)
    assert plot is not None and plot.x_name == "step"
    assert [curve.name for curve in plot.curves] == ["loss", "lr"]
    assert plot.words == "loss, lr over step, 200 rows, from 0 to 3.96e4"
    assert len({curve.mark for curve in plot.curves}) == 2


@pytest.mark.parametrize(
    ("text", "name", "header", "series"),
    [
        ("1,2\n3,4\n", "x.csv", ["column 1", "column 2"], ["column 2"]),
        ("a;b\n1;2\n3;4\n", "x.csv", ["a", "b"], ["b"]),
        ("a\tb\n1\t2\n3\t4\n", "x.tsv", ["a", "b"], ["b"]),
        ("loss\n3\n2\n", "x.csv", ["loss"], ["loss"]),
        ('a,b\n"1,5\nx",2\n3,nan\n4,5\n', "x.csv", ["a", "b"], ["b"]),
        ("a,b\n1\n2,3,4\n5,6\n", "x.csv", ["a", "b"], ["b"]),
        ("﻿a,b\nx,y\nz,w\n", "x.csv", ["a", "b"], []),
        (b"a,b\n\xff,1\n\xfe,2\n".decode("latin-1"), "x.csv", ["a", "b"], ["b"]),
    ],
)
def test_tables_as_programs_write_them(text: str, name: str, header: list[str], series: list[str]) -> None:
    table = table_of(text, name)
    assert table is not None
    assert (table.header, [each.name for each in table.series]) == (header, series)


def test_points_in_no_order_have_marks_and_no_line() -> None:
    table = table_of("x,y\n3,1\n1,2\n2,5\n")
    plot = table and draw(table)
    assert plot and (plot.curves[0].path, len(plot.curves[0].points)) == ("", 3)


@pytest.mark.parametrize(
    "row", [",".join(["1"] * 10_000), ",".join(["x" * 100] * 10_000), '"' + "y" * 200_000]
)
def test_wide_tables_and_huge_cells_stay_small(row: str) -> None:
    began = time.process_time()
    table = table_of(f"{row}\n" * 5)
    if table is not None:
        draw(table)
        assert len(table.header) <= 20 and len(table.series) <= 6
        assert sum(len(cell) for line in table.shown for cell in line) <= 50 * 20 * 80
    assert time.process_time() - began < 5


@given(
    st.lists(
        st.floats() | st.sampled_from(["", "inf", "-1e308", "1e308", "5e-324", "1_0", "0x1"]), min_size=2
    )
)
def test_any_numbers_are_drawn_inside_the_picture(values: list[float | str]) -> None:
    table = table_of("x,y\n" + "".join(f"{i},{value}\n" for i, value in enumerate(values)))
    plot = table and draw(table)
    for curve in plot.curves if plot else ():
        assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in curve.points)
        assert "nan" not in curve.path and "inf" not in curve.path
    if plot:
        assert all(0 <= tick.at <= WIDTH for tick in plot.x_ticks)
        assert all(0 <= tick.at <= HEIGHT for tick in plot.y_ticks)


# ---- JSON


def test_json_is_laid_out_and_its_tokens_stay() -> None:
    text = '{"a":[1.000000000000000000001,{"b":"x,]\\"{"}],"e":[],"a":{}}'
    shown = indented(text, 1000)
    assert shown.splitlines()[:3] == ["{", '  "a": [', "    1.000000000000000000001,"]
    assert re.sub(r"\s", "", shown) == text and '"e": [],' in shown


LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=8)


@given(
    st.recursive(
        LEAVES, lambda each: st.lists(each) | st.dictionaries(st.text(max_size=4), each), max_leaves=9
    )
)
@settings(max_examples=40)
def test_json_means_the_same_afterwards(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert is_json(text) and json.loads(indented(text, 1 << 20)) == value


def test_json_that_is_a_bomb_is_no_json_or_stays_small() -> None:
    assert not is_json("[" * 100_000 + "]" * 100_000)
    assert not is_json("{'a': 1}")
    deep = "[" + ",".join(["[" * 500 + "]" * 500] * 200) + "]"
    assert not is_json(deep) or len(indented(deep, 8192)) < 9000


# ---- the second origin


def test_addresses_of_previews_are_signed_and_grow_old(monkeypatch: pytest.MonkeyPatch) -> None:
    origin = Origin("https://artifacts.gpu.lab", b"k" * 32)
    path = origin.url(7).removeprefix("https://artifacts.gpu.lab")
    claim, _, signature = path.removeprefix("/preview/").rpartition(".")
    assert origin.artifact_id(path) == 7
    for other in (
        "/preview/",
        "/preview/7.9999999999.",
        f"/preview/8{claim[1:]}.{signature}",
        path[:-1],
        f"{path}é",
        "/",
    ):
        assert origin.artifact_id(other) is None, other
    assert Origin(origin.base_url, b"l" * 32).artifact_id(path) is None
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 301)
    assert origin.artifact_id(path) is None


@pytest.mark.parametrize(
    ("url", "host", "same"),
    [
        ("https://artifacts.gpu.lab", "Artifacts.GPU.lab:443", True),
        ("http://artifacts.gpu.lab:8000", "artifacts.gpu.lab:8000", True),
        ("http://artifacts.gpu.lab:8000", "artifacts.gpu.lab", False),
        ("https://artifacts.gpu.lab", "gpu.lab", False),
        ("https://artifacts.gpu.lab", "", False),
    ],
)
def test_the_second_host_is_known_by_what_browsers_send(url: str, host: str, same: bool) -> None:
    assert Origin(url, b"").is_host(host) is same


def test_the_second_origin_is_another_host_and_its_key_is_kept(tmp_path: Path) -> None:
    assert open_origin(Settings(), tmp_path / "key") is None and not (tmp_path / "key").exists()
    with pytest.raises(SettingsError, match="another host"):
        open_origin(Settings(artifact_origin="http://localhost:9000"), tmp_path / "key")
    with pytest.raises(SettingsError, match="HERMES_ARTIFACT_ORIGIN"):
        load_settings({"HERMES_ARTIFACT_ORIGIN": "https://artifacts.gpu.lab/previews"})
    one, other = (open_origin(Settings(artifact_origin="http://a.lab"), tmp_path / "key") for _ in range(2))
    assert one is not None and one == other
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["key"]
