"""The matrix of faults: what is done to Hermes on purpose, what is promised then, and why a row is not here.

Tests say which row they prove by `@pytest.mark.fault(7)`; docs/reliability.md is written from both
(scripts/fault-table)."""

from typing import NamedTuple


class Row(NamedTuple):
    """One fault; `not_here` says why no test of this suite does it."""

    fault: str
    expected: str
    not_here: str = ""


ROWS = {
    1: Row(
        "`kill -9` of the server at each step of a push",
        "`ok` means that the run exists; without `ok` there is nothing or one run; pushing again converges",
    ),
    2: Row("two, and fifty, pushes race on one ref", "one `ok`; the others are told and exit with 1"),
    3: Row("the client dies amid its pack", "nothing is visible, nothing stays on disk"),
    4: Row("a client sends a byte a second", "closed at its limit of time; others do not notice"),
    5: Row("`kill -9` of builder or runner before it claims", "the work begins with the next one"),
    6: Row("`kill -9` after the claim, before the box", "queued again; the second attempt succeeds"),
    7: Row(
        "`kill -9` of the runner while a program runs",
        "the next runner goes on with it; its log has no gap and nothing twice",
    ),
    8: Row("`kill -9` between a program's end and its verdict", "one verdict; one attempt counts"),
    9: Row("`kill -9` amid the artifacts", "all of them, or those of the next attempt; never half a list"),
    10: Row("a runner that sleeps through its lease and wakes", "it is fenced: one attempt counts"),
    11: Row("Redis is emptied at random", "nothing is lost"),
    12: Row("Redis is shut down without saving, and comes back", "pushes are taken meanwhile and run"),
    13: Row("Redis is not there at the start", "Hermes starts, says so in `/healthz`, and works"),
    14: Row("Redis has no memory left", "pushes are taken and run"),
    15: Row("Redis hangs, or the line to it is half open", "a push takes no second longer"),
    16: Row("rubbish and pickles under the queue's keys", "not executed; work goes on"),
    17: Row("a hundred rings for one run", "one execution"),
    18: Row("the database is locked for four seconds", "requests wait, and succeed"),
    19: Row(
        "the database is locked for half a minute",
        "a clear no before anything is half done; what runs counts once",
    ),
    20: Row(
        "PostgreSQL is restarted amid work", "tried again, or a clear error; who follows goes on following"
    ),
    21: Row("the disk is full during a push", "refused in words; the repository is clean, reading goes on"),
    22: Row("the disk is full while a log is written", "the program goes on; its verdict is right"),
    23: Row("the disk is full while artifacts are copied", "the run says so; the space is given back"),
    24: Row("the data volume becomes read-only", "no crash; said in `/healthz`; pages can be read"),
    25: Row("power is lost right after `ok`", "the push is there after the next start"),
    26: Row(
        "the machine of the runner loses power",
        "another attempt; containers from before are removed first",
    ),
    27: Row(
        "dockerd restarts, live-restore on",
        "ended and tried again, with the reason: an engine drops what a program prints meanwhile",
    ),
    28: Row("dockerd restarts, live-restore off", "tried again, with the reason"),
    29: Row("dockerd answers no more", "every call has a deadline; nothing else waits for it"),
    30: Row(
        "a base image is not there",
        "tried again, then `lost` with the command that makes it",
    ),
    31: Row("a program cannot be killed", "its run ends; its GPU is put into quarantine"),
    32: Row("Xid 79 during a run", "quarantine; tried again on another GPU"),
    33: Row("Xid 31: the program's own fault", "`failed`; the GPU stays"),
    34: Row("a GPU's memory is not free after a run", "quarantine"),
    35: Row(
        "`systemctl daemon-reload` during a run with a GPU",
        "`hermes doctor` names the setting that prevents it",
        "needs systemd, a GPU and NVIDIA's toolkit; `doctor` looks at the setting (docs/operations.md)",
    ),
    36: Row(
        "the line between server and runner is cut",
        "within the lease nothing; beyond, fenced",
        "one machine: a runner reads the database itself, and a database that is away is rows 18 to 20",
    ),
    37: Row(
        "an answer to the runner is lost",
        "asking again changes nothing",
        "one machine: a runner has no server between it and the database",
    ),
    38: Row("the clock jumps an hour", "no storm of leases, nothing stuck; order is by id"),
    39: Row("SIGTERM while programs run", "drained, left or ended, as HERMES_STOP says"),
    40: Row("restart under load", "no push fails that is tried again; no line of a log is lost"),
    41: Row("viewers that stall; 500 of them", "bounded memory; nobody else waits"),
    42: Row("`kill -9` amid a migration", "the next start goes on; an older program refuses"),
    43: Row(
        "boxes, files and leases of earlier crashes", "gone after a start; those of others are untouched"
    ),
    44: Row("a webhook comes five times, and once more a day later", "one run"),
    45: Row("webhooks came while the server was down", "found by polling"),
    46: Row("fork bombs, floods, memory hogs, programs that stay", "the right verdict; the host answers"),
    47: Row("all of it at random, with several users", "the oracle finds nothing (`make soak`)"),
    48: Row(
        "`kill -9` of the server amid a call, and amid its callback",
        "the same key makes one run; the record is sent again",
    ),
    49: Row(
        "`kill -9` of the server amid an upload, in one request, in parts, or from a watched folder",
        "a file is whole and has its one run, or it has none; what came in parts goes on",
    ),
    50: Row(
        "`kill -9` of the server at each step of firing a schedule",
        "due once: one run, never two, never none, also where its image has to be made again",
    ),
}
