"""`hermes put`: files and folders, over cut connections, with words for what goes wrong."""

import hashlib
import json
import random
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.access_tools import open_house
from tests.cable import Cable
from tests.files import paths_below
from tests.programs import shell
from tests.service import Service, wait_for

LOOK = shell(
    'echo "$HERMES_INPUT_PATH"; sha256sum < "$HERMES_INPUT_FILE"\n'
    'case "$HERMES_INPUT_PATH" in *bad*) exit 3;; esac\n',
    '[on]\nupload = ["*.png", "*.bin"]\n',
)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance whose alice is signed in by the command line."""
    for one in open_house(tmp_path_factory.mktemp("put")):
        one.env |= {"HERMES_SERVER": one.url, "HERMES_TOKEN": one.token}
        pushed = one.push(LOOK, "build-only", repo="alice/look")
        assert one.settled(pushed)["state"] == "built", pushed.output
        one.push(shell("true"), "build-only", repo="alice/plain")
        yield one


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with pictures, words and a link."""
    for name in ("img/a.png", "img/deep/b.png", "img/notes.txt", "bad.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    (tmp_path / "img" / "link.png").symlink_to("/etc/hostname")
    (tmp_path / "img" / "out").symlink_to("/etc")
    return tmp_path


def put(house: Service, *words: str) -> "CompletedProcess[str]":
    return house.hermes("put", *words, check=False)


def test_a_folder_is_sent_with_its_paths(house: Service, files: Path) -> None:
    done = put(house, str(files / "img"), "--to", "alice/look", "--json")
    assert done.returncode == 0, done.stderr
    assert [each["name"] for each in json.loads(done.stdout)] == ["img/a.png", "img/deep/b.png"]
    assert "1 files are left out that do not match *.png *.bin" in done.stderr
    assert "2 links are left out" in done.stderr


def test_of_one_file_the_output_and_the_exit_code_come_back(house: Service, files: Path) -> None:
    done = put(house, str(files / "img" / "a.png"), "--to", "alice/look", "--as", "x/y.png", "--follow")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"x/y.png\n{hashlib.sha256(b'img/a.png').hexdigest()}  -\n"
    assert put(house, str(files / "bad.png"), "--to", "alice/look", "--follow").returncode == 3


def test_of_several_files_each_says_how_it_ended(house: Service, files: Path) -> None:
    names = [str(files / "bad.png"), str(files / "img" / "a.png")]
    done = put(house, *names, "--to", "alice/look", "--follow")
    assert done.returncode == 1
    words = [line.split("  ") for line in done.stdout.splitlines()]
    assert [(each[0], each[2]) for each in words] == [
        ("bad.png", "failed: exit code 3"),
        ("a.png", "succeeded"),
    ]


def test_what_goes_wrong_is_said(house: Service, files: Path) -> None:
    wrong = {
        ("nothing.png", "--to", "alice/look"): "nothing.png cannot be read: No such file",
        (str(files / "img" / "notes.txt"), "--to", "alice/look"): "does not match on.upload of alice/look",
        (str(files / "bad.png"), "--to", "alice/lok"): "did you mean alice/look?",
        (str(files / "bad.png"), "--to", "alice/plain"): "takes no uploads",
        (str(files / "img"), "--to", "alice/plain"): "there is no file to send",
        (str(files / "bad.png"), "--to", "alice/look", "--as", "../x.png"): "cannot be the name",
        (str(files / "bad.png"), str(files / "img"), "--to", "alice/look", "--as", "x"): "--as names one",
        (str(files / "bad.png"),): "say --to OWNER/NAME",
    }
    for words, said in wrong.items():
        done = put(house, *words)
        assert done.returncode == 1 and said in done.stderr, (words, done.stderr)
        assert "Traceback" not in done.stderr
    some = put(house, str(files / "img" / "notes.txt"), str(files / "bad.png"), "--to", "alice/look")
    assert some.returncode == 1 and "bad.png  run" in some.stdout and "1 of 2 files were taken" in some.stderr


def size_of(path: Path) -> int:
    with suppress(OSError):  # it has just gone
        return path.stat().st_size
    return 0


def test_a_big_file_survives_a_restart_of_the_service(house: Service, tmp_path: Path) -> None:
    data = random.Random(2).randbytes(64 << 20)  # so slowly it takes 20 s
    (tmp_path / "big.bin").write_bytes(data)
    done: list[CompletedProcess[str]] = []
    cable = Cable(0, house.port)
    cable.plug_in()
    cable.delay_s = 0.02
    words = ("--to", "alice/look", "--server", f"http://127.0.0.1:{cable.here}")
    sending = threading.Thread(target=lambda: done.append(put(house, str(tmp_path / "big.bin"), *words)))
    sending.start()
    inputs = house.data / "inputs"
    wait_for(lambda: any(size_of(each) > 4 << 20 for each in paths_below(inputs)))
    cable.pull_out()
    house.stop()
    house.start()
    assert not house.api("/functions/alice/look/uploads?name=big.bin")["uploads"][0]["run"]
    cable.delay_s = 0.0
    cable.plug_in()
    sending.join()
    cable.end()
    assert done[0].returncode == 0, done[0].stderr
    upload = house.api("/functions/alice/look/uploads?name=big.bin")["uploads"]
    assert len(upload) == 1
    run = wait_for(lambda: (found := house.api(f"/runs/{upload[0]['run']}"))["ended_at"] and found)
    assert hashlib.sha256(data).hexdigest() in house.read_log("runs", run["id"]).decode()
