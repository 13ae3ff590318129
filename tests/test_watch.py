"""Watched folders: a new file that is whole starts one run; outputs lie beside it; no link is followed."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.access_tools import browsing, execute, open_house
from tests.programs import shell
from tests.service import Service, wait_for

COPY = shell(
    'test "$HERMES_INPUT_PATH" != "fails.png" || exit 4\n'
    'mkdir "$HERMES_OUTPUT_DIR/deep"; cp "$HERMES_INPUT_FILE" "$HERMES_OUTPUT_DIR/deep/copy.png"',
    '[on]\nupload = "*.png"\n',
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The watched folder."""
    folder = tmp_path_factory.mktemp("host") / "in"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def house(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance that watches it."""
    settings = {"HERMES_POLL": "1s", "HERMES_INPUT_SIZE": "1M"}
    for one in open_house(tmp_path_factory.mktemp("watch"), **settings):
        for repo, files in (("copy", COPY), ("plain", shell("true"))):
            pushed = one.push(files, "build-only", repo=f"alice/{repo}")
            assert one.settled(pushed)["state"] == "built", pushed.output
        (place / "early.png").write_bytes(b"was there before")
        said = one.hermes("admin", "watch", "add", str(place), "alice/copy")
        assert "files like *.png in" in said.stdout and f"{place}.out" in said.stderr
        yield one


def uploads(house: Service, name: str = "") -> list[dict[str, Any]]:
    query = f"?name={name}" if name else "?limit=100"
    found: list[dict[str, Any]] = house.api(f"/functions/alice/copy/uploads{query}")["uploads"]
    return found


def delivered(place: Path, name: str) -> dict[str, Any]:
    record = Path(f"{place}.out") / name / ".hermes.json"
    wait_for(record.exists)
    found: dict[str, Any] = json.loads(record.read_text())
    return found


def test_what_is_put_there_runs_and_its_output_lies_beside(house: Service, place: Path) -> None:
    (place / "img").mkdir()
    (place / "img" / "a.png").write_bytes(b"a picture")
    assert delivered(place, "early.png")["state"] == "succeeded"
    assert delivered(place, "img/a.png")["outputs"] == ["deep/copy.png"]
    assert (Path(f"{place}.out") / "img/a.png/deep/copy.png").read_bytes() == b"a picture"
    (upload,) = uploads(house, "img/a.png")
    run = house.api(f"/runs/{upload['run']}")
    assert (run["trigger"], run["why"], run["user"]) == ("upload", f"img/a.png in {place}", "alice")
    (place / "fails.png").write_bytes(b"x")
    assert delivered(place, "fails.png")["reason"] == "exit code 4"


def test_a_changed_file_is_another_one_and_a_restart_makes_none(house: Service, place: Path) -> None:
    (place / "changes.png").write_bytes(b"one")
    wait_for(lambda: len(uploads(house, "changes.png")) == 1)
    (place / "changes.png").write_bytes(b"two, longer")
    wait_for(lambda: len(uploads(house, "changes.png")) == 2)
    wait_for(lambda: delivered(place, "changes.png")["run"] == uploads(house, "changes.png")[0]["run"])
    before = len(uploads(house))
    house.stop()
    (place / "meanwhile.png").write_bytes(b"put there while nobody looked")
    house.start()
    wait_for(lambda: uploads(house, "meanwhile.png"))
    delivered(place, "meanwhile.png")
    assert len(uploads(house)) == before + 1


def test_a_file_that_somebody_has_open_is_not_taken(house: Service, place: Path) -> None:
    with (place / "slow.png").open("wb") as file:
        file.write(b"first half, ")
        file.flush()
        (place / "after.png").write_bytes(b"x")  # younger, and whole
        delivered(place, "after.png")
        (place / "later.png").write_bytes(b"x")
        delivered(place, "later.png")
        assert not uploads(house, "slow.png")
        file.write(b"second half")
    delivered(place, "slow.png")
    (upload,) = uploads(house, "slow.png")
    copy = Path(f"{place}.out") / "slow.png/deep/copy.png"
    assert copy.read_bytes() == b"first half, second half" and upload["size_bytes"] == 23


def test_links_and_other_oddities_are_refused_once_and_written_down(
    house: Service, place: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"not yours")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inside.png").write_bytes(b"not yours either")
    (place / "link.png").symlink_to(secret)
    (place / "elsewhere").symlink_to(tmp_path / "folder")
    os.mkfifo(place / "pipe.png")
    (place / "large.png").write_bytes(bytes(2 << 20))
    (place / "notes.txt").write_bytes(b"nobody asked for it")
    (place / ".hidden.png").write_bytes(b"being written")
    os.mkdir(os.fsencode(place) + b"/\xff\xfe")
    with open(os.fsencode(place) + b"/\xff\xfe/name.png", "wb") as file:
        file.write(b"x")
    execute(house, "UPDATE user SET is_admin = 1 WHERE name = 'alice'")
    with browsing(house, house.token) as browser:

        def audit() -> str:
            return browser.get("/admin/audit?act=upload+refused").text

        for words in ("link.png", "symbolic link", "pipe.png", "no regular file", "large.png", "name.png"):
            wait_for(lambda words=words: words in audit())  # type: ignore[misc]
        house.stop()
        house.start()
        (place / "behind.png").write_bytes(b"x")
        delivered(place, "behind.png")
        assert audit().count("link.png") == 1
    names = {each["name"] for each in uploads(house)}
    assert not names & {
        "link.png",
        "elsewhere/inside.png",
        "pipe.png",
        "large.png",
        "notes.txt",
        ".hidden.png",
    }


def test_a_link_among_the_outputs_is_not_written_through(house: Service, place: Path, tmp_path: Path) -> None:
    out = Path(f"{place}.out")
    out.mkdir(exist_ok=True)
    (out / "trap.png").symlink_to(tmp_path)
    (place / "trap.png").write_bytes(b"x")
    wait_for(lambda: [each for each in uploads(house, "trap.png") if each["state"] == "succeeded"])
    (place / "next.png").write_bytes(b"x")
    delivered(place, "next.png")
    assert not list(tmp_path.iterdir())


def test_what_is_wrong_is_said_to_the_operator(house: Service, place: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(place)
    wrong = {
        (str(tmp_path / "nothing"), "alice/copy"): "is no folder",
        (str(tmp_path), "alice/plain"): "takes no uploads",
        (str(tmp_path), "alice/nothing"): "there is no function",
        (str(tmp_path / "link"), "alice/copy"): "links are not followed",
        (str(tmp_path), "alice/copy", "--out", str(tmp_path / "x")): "in the watched folder",
        (str(house.data), "alice/copy"): "in the watched folder",
        (str(tmp_path), "alice/copy", "--as", "nobody"): "nobody",
    }
    for words, said in wrong.items():
        done = house.hermes("admin", "watch", "add", *words, check=False)
        assert done.returncode == 1 and said in done.stderr, (words, done.stderr)
    other = tmp_path / "other"
    other.mkdir()
    house.hermes("admin", "watch", "add", str(other), "alice/copy")
    (other / "before.png").write_bytes(b"x")
    wait_for(lambda: uploads(house, "before.png"))
    house.hermes("admin", "watch", "remove", str(other))
    other.rename(tmp_path / "moved")
    assert json.loads(house.hermes("admin", "watch", "list", "--json").stdout)[0]["error"] == ""
    house.hermes("admin", "watch", "add", str(tmp_path / "moved"), "alice/copy")
    (tmp_path / "moved").rename(tmp_path / "gone")
    wait_for(lambda: "No such file" in house.hermes("admin", "watch", "list").stdout)
