"""The oracle: what Hermes promises, looked at from outside after whatever was done to it.

It reads what is there when the dust has settled (rows, logs, artifacts, repositories, processes, containers)
and names every promise that is broken; it asks Hermes nothing."""

import asyncio
import hashlib
import re
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hermes.hold import keep_all
from hermes.paths import Paths
from hermes.states import TERMINAL, State, run_state
from tests import postgres
from tests.leftovers import leftovers, processes
from tests.service import Pushed, Service, wait_for

#: What of one process of ours stays resident after hours of work, Python and its libraries with it.
MOST_MEMORY_BYTES = 500 << 20
_OURS = re.compile(rb"^(?:\n?hermes: .*|\n?\[hermes: .*|)\n?$")
_ENDS = tuple(str(state) for state in TERMINAL)


@dataclass(frozen=True)
class Told:
    """A push as its user knows it, and what its program prints when it runs to its end."""

    pushed: Pushed
    says: bytes = b""


@dataclass(frozen=True)
class Called:
    """A call that was answered with the number of its run, and what its program prints."""

    run_id: int
    says: bytes


@dataclass
class Watched:
    """What somebody has seen of a log: (attempt, offset, bytes), as it came; `has_ended`: to its end."""

    run_id: int
    pieces: list[tuple[int, int, bytes]] = field(default_factory=list)
    has_ended: bool = False
    last: str = ""  # the id of the event that came last


def broken(service: Service, told: Sequence[Told] = ()) -> list[str]:
    """Every promise that does not hold now, in words; of a service in which nothing goes on any more."""
    return verdict(service, told, (), ())


def verdict(
    service: Service, told: Sequence[Told], called: Sequence[Called], watched: Sequence[Watched]
) -> list[str]:
    """The same, of all that people did."""
    with closing(_rows(service)) as rows:
        rows.row_factory = sqlite3.Row
        look = _Look(service, rows, Paths(service.data))
        found = [words for check in (*_CHECKS, _is_nothing_left) for words in check(look)]
        found += [words for each in told for words in _is_kept(look, each)]
        found += [words for each in called for words in _is_its_log(look, each.run_id, each.says, "a call")]
        found += [words for each in called for words in _is_there(look, each)]
        found += [words for each in watched for words in _was_shown(look, each)]
    return found


def all_is_kept(service: Service, told: Sequence[Told] = (), sweep_s: float = 120.0) -> None:
    """No promise is broken when what was left has been swept, which happens once a minute."""
    with suppress(AssertionError):  # the oracle says what is left
        wait_for(lambda: not _half_pushes(service), sweep_s)
        wait_for(lambda: not any(leftovers(service).values()), sweep_s)
    found = broken(service, told)
    assert found == [], found


def _rows(service: Service) -> sqlite3.Connection:
    """Its database; of one in PostgreSQL a copy."""
    if url := service.env.get("HERMES_DATABASE_URL"):
        return asyncio.run(postgres.copied(url))
    return sqlite3.connect(f"file:{service.data / 'hermes.db'}?mode=ro", uri=True, timeout=30)


def _half_pushes(service: Service) -> int:
    """Those of a killed server are resolved some seconds after the next one has started."""
    with closing(_rows(service)) as rows:
        return int(rows.execute("SELECT count(*) FROM push WHERE state = 'received'").fetchone()[0])


@dataclass(frozen=True)
class _Look:
    service: Service
    rows: sqlite3.Connection
    paths: Paths

    def ask(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """The rows."""
        return self.rows.execute(query, values).fetchall()


def _is_kept(look: _Look, told: Told) -> Iterator[str]:
    """1: what was acknowledged is recorded, once, with its build and its run; what was not, at most once."""
    pushed = told.pushed
    what = f"{pushed.owner}/{pushed.repo}@{pushed.sha[:7]}"
    pushes = look.ask(
        "SELECT push.* FROM push JOIN repo ON repo.id = push.repo_id JOIN user ON user.id = repo.owner_id"
        " WHERE user.name = ? AND repo.name = ? AND push.new_sha = ? AND push.state = 'applied'",
        pushed.owner,
        pushed.repo,
        pushed.sha,
    )
    if len(pushes) > 1 or (pushed.code == 0 and not pushes):
        yield f"{what} was answered with {pushed.code} and is recorded {len(pushes)} times"
    for push in pushes:
        builds = look.ask(
            "SELECT * FROM build WHERE repo_id = ? AND commit_sha = ?", push["repo_id"], pushed.sha
        )
        runs = look.ask("SELECT * FROM run WHERE push_id = ?", push["id"])
        if push["plan"] is not None and (len(builds), len(runs)) != (1, 1):
            yield f"{what} has {len(builds)} builds and {len(runs)} runs"
        for run in runs:
            yield from _is_its_log(look, run["id"], told.says, what)


def _is_its_log(look: _Look, run_id: int, says: bytes, what: str) -> Iterator[str]:
    """5: the log of each attempt is a prefix of what the program prints, and all of it if it succeeded."""
    says = _printed(says)  # empty lines may be ours, too
    for rank in look.ask("SELECT * FROM rank WHERE run_id = ?", run_id):
        for attempt in range(1, rank["attempt"] + 1):
            path = look.paths.log("rank", rank["id"], attempt)
            printed = _printed(path.read_bytes()) if path.exists() else b""
            is_whole = rank["state"] == State.SUCCEEDED and attempt == rank["attempt"]
            if not (printed == says if is_whole else says.startswith(printed)):
                yield f"{what}: attempt {attempt} of rank {rank['id']} has the log {printed[-300:]!r}"


def _is_there(look: _Look, called: Called) -> Iterator[str]:
    """1, of calls."""
    if not look.ask("SELECT id FROM run WHERE id = ?", called.run_id):
        yield f"the run {called.run_id} of a call is not there"


def _was_shown(look: _Look, watched: Watched) -> Iterator[str]:
    """5: who watches sees every byte of each attempt once and in order, whatever was cut meanwhile."""
    ends: dict[int, int] = {}
    for attempt, offset, data in watched.pieces:
        if offset != ends.get(attempt, 0):
            yield f"run {watched.run_id}.{attempt} was shown from {offset} on after {ends.get(attempt, 0)}"
            return
        ends[attempt] = offset + len(data)
    ranks = look.ask("SELECT id, attempt FROM rank WHERE run_id = ?", watched.run_id)
    for attempt, end in ends.items():
        log = look.paths.log("rank", ranks[0]["id"], attempt).read_bytes()
        shown = b"".join(data for of, _, data in watched.pieces if of == attempt)
        is_whole = watched.has_ended and attempt == ranks[0]["attempt"]
        if shown != (log if is_whole else log[:end]):
            yield f"run {watched.run_id}.{attempt} was shown as {shown[-200:]!r}, its log ends {log[-200:]!r}"


def _printed(log: bytes) -> bytes:
    """Without what we say ourselves."""
    return b"".join(line for line in log.splitlines(keepends=True) if not _OURS.match(line))


def _is_settled(look: _Look) -> Iterator[str]:
    """3: every push, build, run and rank has come to its end, and runs to that of their ranks."""
    for row in look.ask("SELECT id, state FROM push WHERE state NOT IN ('applied', 'abandoned')"):
        yield f"push {row['id']} is {row['state']}"
    for kind in ("build", "run", "rank"):
        for row in look.ask(f"SELECT id, state FROM {kind}"):
            if row["state"] not in _ENDS:
                yield f"{kind} {row['id']} is {row['state']}"
    for run in look.ask("SELECT id, state FROM run"):
        ranks = look.ask("SELECT state FROM rank WHERE run_id = ?", run["id"])
        states = [State(rank["state"]) for rank in ranks]
        if run["state"] != run_state(states):
            yield f"run {run['id']} is {run['state']} and its ranks are {states}"


def _ends_once(look: _Look) -> Iterator[str]:
    """4: no attempt has two ends, no work more than three attempts for faults of ours, no two one image."""
    marks = ",".join("?" * len(_ENDS))
    twice = look.ask(
        f"SELECT kind, subject_id, attempt, count(*) AS n FROM event WHERE kind IN ('build', 'rank')"
        f" AND to_state IN ({marks}) AND from_state NOT IN ({marks}) GROUP BY 1, 2, 3 HAVING n > 1",
        *_ENDS,
        *_ENDS,
    )
    for row in twice:
        yield f"attempt {row['attempt']} of {row['kind']} {row['subject_id']} has ended {row['n']} times"
    for kind in ("build", "rank"):
        for row in look.ask(f"SELECT id, faults FROM {kind} WHERE faults > 3"):
            yield f"{kind} {row['id']} was tried again after {row['faults']} faults"
    for row in look.ask("SELECT repo_id, commit_sha, inputs FROM build GROUP BY 1, 2, 3 HAVING count(*) > 1"):
        yield f"commit {row['commit_sha'][:7]} was built twice"


def _is_stored(look: _Look) -> Iterator[str]:
    """Artifacts are what their digests say, images are there, and there are no others."""
    known = {row["sha256"] for row in look.ask("SELECT DISTINCT sha256 FROM artifact")}
    for sha256 in known:
        path = look.paths.artifact(sha256)
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "not there"
        if digest != sha256:
            yield f"the artifact {sha256[:12]} is {digest[:12]}"
    for path in (look.paths.root / "artifacts").glob("*/*"):
        if path.name not in known:
            yield f"nobody knows the artifact {path.name[:12]}"
    for row in look.ask("SELECT id, image_bytes FROM build WHERE state = 'built'"):
        image = look.paths.image(row["id"])
        if not image.exists() or image.stat().st_size != row["image_bytes"]:
            yield f"the image of build {row['id']} is not what was built"


def _is_sound(look: _Look) -> Iterator[str]:
    """What git and SQLite say of what they keep."""
    for repo in sorted((look.paths.root / "repos").glob("*.git")):
        with keep_all(look.paths, lambda: None):  # no pack goes while git is about to read it
            done = subprocess.run(
                ["git", "fsck", "--strict", "--full", "--no-dangling"],
                cwd=repo,
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode or done.stderr.strip():
            yield f"git fsck of {repo.name}: {done.stdout}{done.stderr}"
    words = [row[0] for row in look.ask("PRAGMA integrity_check")]
    if words != ["ok"]:
        yield f"the database: {words}"


def _is_calm(look: _Look) -> Iterator[str]:
    """No fault of ours was a surprise, and nobody has grown."""
    if "Traceback" in (log := look.service.log):
        yield log[log.index("Traceback") - 500 :][:4000]
    for pid in processes(look.service):
        with suppress(OSError):
            status = Path(f"/proc/{pid}/status").read_text()
            if (rss := re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)) and (
                int(rss[1]) << 10
            ) > MOST_MEMORY_BYTES:
                yield f"process {pid} has {rss[1]} KiB"


def _is_nothing_left(look: _Look) -> Iterator[str]:
    """8: no container, mount, working folder or temporary file without somebody who needs it."""
    for what, left in leftovers(look.service).items():
        if left:
            yield f"{what} left: {left}"


_CHECKS: tuple[Callable[[_Look], Iterator[str]], ...] = (
    _is_settled,
    _ends_once,
    _is_stored,
    _is_sound,
    _is_calm,
)
