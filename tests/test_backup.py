"""A backup taken under load and restored is the instance of one moment: nothing said before it is gone."""

import json
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from hermes import hold
from hermes.errors import Unavailable, UserError
from hermes.executors.disks import can_mount
from hermes.paths import Paths
from tests.conftest import missing
from tests.leftovers import leftovers
from tests.oracle import QUIET, run
from tests.programs import shell
from tests.promises import Told, broken
from tests.race_tools import begin, children, let_a_minute_pass
from tests.service import BUSY, PATIENCE_S, Pushed, Service, WorkTree, living, wait_for
from tests.test_admin import admin, use

PROGRAM = shell("echo begun; echo $HERMES_RUN >$HERMES_OUTPUT_DIR/out.txt; sleep 0.3; echo finished")
SAYS = b"begun\nfinished\n"
ECHO = shell("cat; echo said", manifest='name = "echo"\n')


@dataclass
class Pusher:
    """Somebody who pushes one commit after the other, some of them in place of the one before."""

    service: Service
    tree: WorkTree
    repo: str
    stop: threading.Event
    done: list[tuple[float, str, str]] = field(default_factory=list)  # (when it ended, ref, commit)
    failed: list[str] = field(default_factory=list)

    def push(self) -> None:
        """Until it is told to stop."""
        count = 0
        while not self.stop.is_set():
            count += 1
            ref, sha = f"refs/heads/{('main', 'side')[count % 2]}", children(self.tree, 1, size=2000)[0]
            racer = begin(self.service, self.tree, self.repo, f"+{sha}:{ref}").end()
            if racer.won:
                self.done.append((time.time(), ref, sha))
            else:
                self.failed.append(racer.output)


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance that packs its repositories all the time."""
    env = {
        "HERMES_EXECUTOR": "local",
        "HERMES_POLL": "1s",
        "HERMES_MAINTENANCE": "1s",
        "HERMES_PUSH_RATE": "100000",
        "HERMES_LEASE": "8s",
    }
    with living(Service(tmp_path_factory.mktemp("busy") / "var", env)) as one:
        yield one


@contextmanager
def pushing(service: Service) -> Iterator[list[Pusher]]:
    """Two whose commits run, one whose commits are only kept."""
    stop = threading.Event()
    kept: dict[str, str | bytes] = {**QUIET}
    kinds = [("runs-one", PROGRAM), ("runs-two", PROGRAM), ("kept", kept)]
    pushers = [Pusher(service, service.worktree(files, name), name, stop) for name, files in kinds]
    threads = [threading.Thread(target=each.push) for each in pushers]
    for thread in threads:
        thread.start()
    try:
        yield pushers
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert [each.failed for each in pushers] == [[], [], []]


def rows(data: Path, query: str, *values: object) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(data / "hermes.db")) as database:
        return database.execute(query, values).fetchall()


@pytest.mark.parametrize("kind", ["folder", "file.tar"])
def test_backup_under_load_has_all_that_was_said_before_it_and_starts_again(
    busy: Service, tmp_path: Path, kind: str
) -> None:
    echo = busy.push(ECHO, repo=f"echo-{len(kind)}")
    with busy.client() as client:
        answer = client.post(f"/api/v1/functions/alice/{echo.repo}/runs?mode=sync", content=b"an input\n")
    assert answer.text == "an input\nsaid\n"
    dest = tmp_path / kind
    with pushing(busy) as pushers:
        wait_for(lambda: all(len(each.done) > 3 for each in pushers))
        began = time.time()
        report = json.loads(busy.hermes("admin", "backup", str(dest), "--with-keys", "--json").stdout)
        had = [len(each.done) for each in pushers]
        wait_for(lambda: all(len(each.done) > count for each, count in zip(pushers, had, strict=True)))
    assert (report["missing"], report["damaged"]) == ([], [])
    data = tmp_path / "restored"
    busy.hermes("admin", "restore", str(dest), "--data", str(data))
    assert not (data / "hermes.db-wal").exists()
    check_rows_and_refs(data, pushers, began)
    check_files(data, busy.data)
    other = Service(data, busy.env, token=busy.token)
    other.start()
    try:
        check_service(other, pushers, began)
        check_invocation(other, echo.repo)
    finally:
        assert other.stop() == 0
    assert "Traceback" not in other.log


def check_rows_and_refs(data: Path, pushers: list[Pusher], began: float) -> None:
    """The rows are whole; refs are where the rows say; every commit of a row is there, and git is content."""
    assert rows(data, "PRAGMA integrity_check") == [("ok",)]
    for pusher in pushers:
        (repo_id,) = rows(data, "SELECT id FROM repo WHERE name = ?", pusher.repo)[0]
        bare = data / "repos" / f"{repo_id}.git"
        pushed = rows(data, "SELECT ref, new_sha, state FROM push WHERE repo_id = ? ORDER BY id", repo_id)
        told = [(ref, sha, "applied") for at, ref, sha in pusher.done if at < began]
        assert set(told) <= set(pushed)
        names = run("git", "for-each-ref", "--format=%(refname) %(objectname)", cwd=bare).stdout
        found = dict(line.split(" ") for line in names.splitlines())
        ours = {name for name in found if name.startswith("refs/hermes/keep/")}
        half = {ref for ref, _, state in pushed if state == "received"}
        newest = {ref: sha for ref, sha, state in pushed if state == "applied"}
        shown = {name: sha for name, sha in found.items() if name not in ours}
        assert {ref: sha for ref, sha in shown.items() if ref not in half} == {
            ref: sha for ref, sha in newest.items() if ref not in half
        }
        left = {sha for _, sha, state in pushed if state == "applied"} - set(newest.values())
        assert {
            f"refs/hermes/keep/{sha}" for sha in left
        } <= ours  # everything was pushed in place of another
        done = run("git", "fsck", "--strict", "--full", cwd=bare)
        assert done.returncode == 0, done.stderr
        for sha in {sha for _, sha, state in pushed if state == "applied"}:
            assert run("git", "cat-file", "-e", f"{sha}^{{tree}}", cwd=bare).returncode == 0


def check_files(data: Path, live: Path) -> None:
    """Artifacts are what their names say, logs are beginnings of those that there are now; and no others."""
    digests = {digest for (digest,) in rows(data, "SELECT sha256 FROM artifact")}
    found = list((data / "artifacts").glob("*/*"))
    assert {path.name for path in found} == digests and digests
    assert all(sha256(path.read_bytes()).hexdigest() == path.name for path in found)
    logs = [path for path in (data / "logs").rglob("*") if path.is_file()]
    assert len(logs) > 10
    for path in logs:
        kind, (row_id, attempt, suffix) = path.parent.name, path.name.split(".")
        assert int(attempt) <= rows(data, f"SELECT attempt FROM {kind} WHERE id = ?", row_id)[0][0]
        if suffix == "log":
            assert (live / path.relative_to(data)).read_bytes().startswith(path.read_bytes())
    for key in ("ssh_host_ed25519_key", "callback_key"):
        if (live / key).exists():
            assert (data / key).read_bytes() == (live / key).read_bytes()
            assert (data / key).stat().st_mode & 0o777 == 0o600


def check_service(service: Service, pushers: list[Pusher], began: float) -> None:
    """Every run comes to its end there, and what somebody was told of is among them; pushes go on."""

    def all_runs() -> list[tuple[Any, ...]]:
        return rows(service.data, "SELECT state FROM run")

    wait_for(lambda: not {state for (state,) in all_runs()} & {str(each) for each in BUSY})
    assert {state for (state,) in all_runs()} == {"succeeded"}
    let_a_minute_pass(service)
    wait_for(lambda: not rows(service.data, "SELECT id FROM push WHERE state = 'received'"))
    for pusher in pushers[:2]:
        for at, _, sha in pusher.done:
            if at < began:
                page = service.api(f"/repos/alice/{pusher.repo}/commits/{sha}")
                assert page["runs"] and page["runs"][0]["state"] == "succeeded", page
        run_id = page["runs"][0]["id"]
        assert service.read_log("runs", run_id).endswith(b"finished\n")
    pushed = service.push(pushers[0].tree, "check", repo="runs-one", refs=("+HEAD:main",))
    assert pushed.code == 0, pushed.output
    told = [
        Told(Pushed(0, "", sha, "alice", pusher.repo, pusher.tree), SAYS)
        for pusher in pushers[:2]
        for at, _, sha in pusher.done
        if at < began
    ]
    wait_for(lambda: not any(leftovers(service).values()), 2 * PATIENCE_S)  # swept once a minute
    assert broken(service, told) == []


def check_invocation(service: Service, repo: str) -> None:
    """Its input and its result are there."""
    query = "SELECT run.id FROM run JOIN repo ON repo.id = repo_id WHERE repo.name = ? AND trigger = 'api'"
    ((run_id,),) = rows(service.data, query, repo)
    with service.client() as client:
        assert client.get(f"/api/v1/runs/{run_id}/result").text == "an input\nsaid\n"
        again = client.post(f"/api/v1/runs/{run_id}/again").json()
    wait_for(lambda: service.api(f"/runs/{again['id']}")["state"] == "succeeded")
    with service.client() as client:
        assert client.get(f"/api/v1/runs/{again['id']}/result").text == "an input\nsaid\n"


# ---- what is refused, and what is told


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """An instance that is stopped: one run with an artifact, one secret."""
    folder = tmp_path_factory.mktemp("still")
    with living(Service(folder / "var", {"HERMES_EXECUTOR": "local"})) as one:
        assert one.push(PROGRAM, "check", repo="pi").code == 0
        (folder / "value").write_text("long enough")
        admin(one, "secret", "set", "alice/pi", "API_TOKEN", str(folder / "value"))
    return one


@pytest.fixture(scope="module")
def taken(still: Service, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of it."""
    dest = tmp_path_factory.mktemp("taken") / "one"
    admin(still, "backup", str(dest))
    return dest


def refused(service: Service, *words: str) -> str:
    """What a command says that must not go well, with the next step."""
    done = use(service, *words)
    assert isinstance(done.exception, UserError), (done.output, done.exception)
    assert done.exception.hint
    return f"{done.exception}\n{done.exception.hint}"


def test_backup_has_no_key_unless_it_is_asked_for_and_nobody_else_reads_it(
    still: Service, taken: Path, tmp_path: Path
) -> None:
    assert not (taken / "keys").exists() and taken.stat().st_mode & 0o777 == 0o700
    said = use(still, "backup", str(tmp_path / "with.tar"), "--with-keys").stderr
    assert "no key is in it" not in said and (tmp_path / "with.tar").stat().st_mode & 0o777 == 0o600
    with tarfile.open(tmp_path / "with.tar") as tar:
        names = tar.getnames()
    assert "keys/secret_key" in names and names[-1] == "SHA256SUMS"
    admin(still, "restore", str(tmp_path / "with.tar"), "--data", str(tmp_path / "data"))
    assert (tmp_path / "data/secret_key").read_bytes() == (still.data / "secret_key").read_bytes()


def test_checksums_are_those_of_sha256sum(taken: Path) -> None:
    done = run("sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS", cwd=taken)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    listed = {line.partition("  ")[2] for line in (taken / "SHA256SUMS").read_text().splitlines()}
    there = {str(path.relative_to(taken)) for path in taken.rglob("*") if path.is_file()}
    assert there - listed == {"SHA256SUMS"} and listed <= there


def test_stream_on_stdout_is_a_tar_that_restores(still: Service, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hermes", "admin", "backup", "-"]
    done = subprocess.run(
        command, env=still.environment(), capture_output=True, check=True, timeout=PATIENCE_S
    )
    assert b"repositories" in done.stderr
    (tmp_path / "stream.tar").write_bytes(done.stdout)
    admin(still, "restore", str(tmp_path / "stream.tar"), "--data", str(tmp_path / "data"))
    assert rows(tmp_path / "data", "SELECT name FROM repo") == [("pi",)]


def test_backup_goes_only_where_nothing_is(still: Service, taken: Path, tmp_path: Path) -> None:
    (tmp_path / "file.tar").touch()
    assert "is there already" in refused(still, "backup", str(taken))
    assert "is there already" in refused(still, "backup", str(tmp_path / "file.tar"))
    assert "in the data directory itself" in refused(still, "backup", str(still.data / "backup"))
    assert list(taken.parent.iterdir()) == [taken]


def test_restore_goes_only_where_nothing_is(still: Service, taken: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/mine").write_text("mine")
    assert "is not empty" in refused(still, "restore", str(taken), "--data", str(tmp_path / "data"))
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["mine"]


def harm_file(backup: Path, pattern: str) -> None:
    victim = next(path for path in sorted(backup.glob(pattern)) if path.is_file())
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.chmod(0o600)
    victim.unlink()  # it may be a link to the live one
    victim.write_bytes(data)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


HARMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "database": (lambda it: harm_file(it, "hermes.db"), "hermes.db is not what it was"),
    "artifact": (lambda it: harm_file(it, "artifacts/*/*"), "is not what it was"),
    "pack": (lambda it: harm_file(it, "repos/*/objects/pack/*.pack"), ".pack is not what it was"),
    "log": (lambda it: harm_file(it, "logs/rank/*.log"), ".log is not what it was"),
    "lost": (lambda it: next(it.glob("logs/rank/*.log")).unlink(), ".log is not in it"),
    "half": (lambda it: (it / "backup.json").unlink(), "no whole backup"),
    "newer schema": (
        lambda it: edit(it / "backup.json", '"schema": "00', '"schema": "99'),
        "this program knows",
    ),
    "newer format": (lambda it: edit(it / "backup.json", '"format": 1', '"format": 2'), "has format 2"),
    "way out": (lambda it: edit(it / "SHA256SUMS", "  hermes.db", "  ../hermes.db"), "no file of a backup"),
    "other place": (lambda it: edit(it / "SHA256SUMS", "  hermes.db", "  etc/passwd"), "no file of a backup"),
    "no refs' objects": (lambda it: forge(it), "1.git"),
}


def forge(backup: Path) -> None:
    """A pack is left out, and the checksums agree with that."""
    sums = (backup / "SHA256SUMS").read_text().splitlines(keepends=True)
    (backup / "SHA256SUMS").write_text("".join(line for line in sums if "/objects/pack/" not in line))


@pytest.mark.parametrize("what", HARMS)
def test_backup_that_is_damaged_is_refused_and_leaves_nothing(
    still: Service, taken: Path, tmp_path: Path, what: str
) -> None:
    harm, words = HARMS[what]
    copy = tmp_path / "copy"
    shutil.copytree(taken, copy)
    harm(copy)
    assert words in refused(still, "restore", str(copy), "--data", str(tmp_path / "data"))
    assert not (tmp_path / "data").exists() or not list((tmp_path / "data").iterdir())


def test_what_is_not_a_backup_is_refused(still: Service, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a tar")
    for source in ("text", "nothing"):
        words = refused(still, "restore", str(tmp_path / source), "--data", str(tmp_path / "data"))
        assert "is no backup" in words


def test_files_that_rows_name_and_that_are_not_well_are_told(still: Service, tmp_path: Path) -> None:
    data = tmp_path / "var"
    shutil.copytree(still.data, data, ignore=shutil.ignore_patterns("*.sock"))
    one = Service(data, still.env)
    artifact, image = next(data.glob("artifacts/*/*")), next(data.glob("images/*"))
    artifact.write_text("rotten")
    image.unlink()
    done = use(one, "backup", str(tmp_path / "dest"), "--json")
    assert isinstance(done.exception, UserError) and "had been damaged before" in str(done.exception)
    report = json.loads(done.stdout)
    assert report["damaged"] == [str(artifact.relative_to(data))]
    assert report["missing"] == [str(image.relative_to(data))]
    assert "rows name files that are not there" in done.stderr
    admin(one, "restore", str(tmp_path / "dest"), "--data", str(tmp_path / "restored"))
    assert (tmp_path / "restored" / artifact.relative_to(data)).read_text() == "rotten"


def test_what_was_removed_to_make_room_is_not_missed(still: Service, tmp_path: Path) -> None:
    data = tmp_path / "var"
    shutil.copytree(still.data, data, ignore=shutil.ignore_patterns("*.sock"))
    with closing(sqlite3.connect(data / "hermes.db")) as database, database:
        for kind, table in (("artifacts", "run"), ("images", "build"), ("logs", "run")):
            database.execute(f"INSERT INTO removal SELECT '{kind}', id, 0.0, 'of its age', 0.0 FROM {table}")
    for path in (*data.glob("artifacts/*/*"), *data.glob("images/*"), *data.glob("logs/rank/*")):
        path.unlink()
    report = json.loads(admin(Service(data, still.env), "backup", str(tmp_path / "dest"), "--json"))
    assert (report["missing"], report["counts"]["artifacts"], report["counts"]["images"]) == ([], 0, 0)


@pytest.mark.parametrize(("name", "room"), [("dest", "64k"), ("dest", "320k"), ("dest.tar", "400k")])
def test_disk_that_is_full_is_told_and_nothing_is_left(
    still: Service, tmp_path: Path, name: str, room: str
) -> None:
    """Full while the database is copied, and after it."""
    if not can_mount(tmp_path / "probe"):
        missing("mounting a file system")
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", str(out)], check=True)
    try:
        words = refused(still, "backup", str(out / name))
        assert "nothing is left of what was begun\nmake room there" in words, words
        assert list(out.iterdir()) == []
    finally:
        subprocess.run(["umount", str(out)], check=True)


# ---- nothing goes while a backup is taken


def test_repositories_are_not_packed_while_a_backup_is_taken(busy: Service, tmp_path: Path) -> None:
    tree = busy.worktree(dict(QUIET), "held")

    def maintained() -> int:
        return busy.log.count("repository maintained")

    with hold.keep_all(Paths(busy.data), lambda: None):
        assert busy.push({"hermes.toml": "hndler = 1\n"}, repo="held-not").code == 1
        wait_for(lambda: "hndler" in busy.log)  # the same process: what it had done before it has said, too
        before = maintained()
        for sha in children(tree, 4, size=5000):
            assert begin(busy, tree, "held", f"+{sha}:refs/heads/main").end().won
        time.sleep(4)  # several rounds
        assert maintained() == before
    wait_for(lambda: maintained() > before)


def test_backup_waits_for_who_removes_files_now(still: Service, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hermes", "admin", "backup", str(tmp_path / "dest")]
    with hold.may_remove(Paths(still.data)) as may:
        assert may
        backup = subprocess.Popen(command, env=still.environment(), stderr=subprocess.PIPE, text=True)
        assert backup.stderr is not None
        assert "waiting for maintenance" in backup.stderr.readline()
        assert backup.poll() is None
    said = backup.communicate(timeout=PATIENCE_S)[1]
    assert backup.returncode == 0, said


def test_a_backup_that_has_ended_holds_nothing_although_a_child_has_its_file(tmp_path: Path) -> None:
    """For a moment each has all files of its parent."""
    paths = Paths(tmp_path)
    with hold.keep_all(paths, lambda: None):
        files = [int(each.name) for each in Path("/proc/self/fd").iterdir() if each.resolve() == paths.hold]
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=files)
    with child, hold.may_remove(paths) as may:
        assert files and may
        assert child.stdin is not None
        child.stdin.close()


def test_nothing_old_is_removed_while_a_backup_is_taken(still: Service) -> None:
    with hold.keep_all(Paths(still.data), lambda: None):
        done = use(still, "retention", "--now")
        assert isinstance(done.exception, Unavailable) and "a backup is being taken" in str(done.exception)
    admin(still, "retention", "--now")
