"""Artifacts while they are collected: the service stops, or somebody kills the program that reads them."""

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.programs import shell, without_bubblewrap
from tests.service import Pushed, Service, living, wait_for

_LEAVES = 'for name in a b c; do echo $name >"$HERMES_OUTPUT_DIR/$name.txt"; done\n'
#: In the place of tar. The first time that it is to read the folder {place}, it does this before.
_TAR = """#!/bin/sh
case "$(pwd) $*" in */{place}\\ *-cf*) if mkdir {gate}/begun 2>/dev/null; then {before}; fi;; esac
exec {tar} "$@"
"""
_WAITS = "until [ -e {gate}/go ]; do sleep 0.05; done"
_IS_KILLED = '{tar} "$@" | head -c 512; kill -KILL $$'  # in between two files: what it wrote is a sound tar


def collecting(folder: Path, place: str, before: str) -> Service:
    """An instance whose tar is this one."""
    path, gate, tar = without_bubblewrap(folder / "bin"), folder / "gate", shutil.which("tar")
    gate.mkdir()
    script = _TAR.replace("{before}", before).format(gate=gate, tar=tar, place=place)
    (folder / "bin" / "tar").unlink()
    (folder / "bin" / "tar").write_text(script)
    (folder / "bin" / "tar").chmod(0o755)
    own = {"HERMES_EXECUTOR": "local", "HERMES_REDIS_URL": "none", "HERMES_POLL": "1s"}
    return Service(folder / "var", own | path)


def run_of(service: Service, pushed: Pushed) -> dict[str, Any]:
    """Ended, and all that its rank wrote is kept."""
    run = service.run_of(pushed)
    kept = sorted(each["path"] for each in run["artifacts"])
    assert (run["state"], kept) == ("succeeded", ["a.txt", "b.txt", "c.txt"])
    return run


def test_a_stop_waits_for_what_is_collected(tmp_path: Path) -> None:
    """The program has ended: it need not run again for nothing but our own stop."""
    with living(collecting(tmp_path, "output", _WAITS)) as service:
        pushed = service.push(shell(_LEAVES), "detach")
        assert pushed.code == 0, pushed.output
        wait_for((tmp_path / "gate/begun").exists)
        stopping = threading.Thread(target=service.stop)
        stopping.start()
        wait_for(lambda: "sending SIGTERM to runner" in service.log)
        wait_for(lambda: "builder stopped" in service.log)  # so the signal has come to all
        (tmp_path / "gate/go").touch()
        stopping.join()
        assert not service.was_killed
        service.start()
        assert [rank["attempt"] for rank in run_of(service, pushed)["ranks"]] == [1]


@pytest.mark.parametrize(("place", "attempts"), [("app", (2, 1)), ("output", (1, 2))])
def test_what_is_half_collected_is_never_taken_for_all(
    tmp_path: Path, place: str, attempts: tuple[int, int]
) -> None:
    """The kernel kills for memory, people by mistake: a fault of ours; what it hit is done again."""
    with living(collecting(tmp_path, place, _IS_KILLED)) as service:
        pushed = service.push(shell(_LEAVES), "detach")
        assert pushed.code == 0, pushed.output
        run = run_of(service, pushed)
        build = service.api(f"/builds/{run['build']}")
        assert (build["attempt"], run["ranks"][0]["attempt"]) == attempts
        wait_for(lambda: "the folder cannot be saved" in service.log)
