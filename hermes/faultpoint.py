"""Named points where a test kills the process that comes by (SIGKILL), to see that nothing is lost there.

`HERMES_FAULTPOINT=rank.ended:2` kills who comes by for the second time, counted over all processes of an
instance and their restarts, so that what is started again gets past it; `HERMES_FAULTPOINT=file` looks for
the same words in `DATA/faultpoints/now` each time, so that a test can choose while an instance runs; there
`rank.ended:2:stop` is a SIGSTOP, until the test lets it go on.
Of use in a checkout with its tests only: where Hermes was installed, it is not heard."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path

from hermes.errors import SettingsError

VARIABLE = "HERMES_FAULTPOINT"
#: {point: what has just happened there}, in the order in which one push, call or run comes by.
POINTS = {
    "push.begun": "a push is announced; nothing of it has been received",
    "push.quarantined": "git has its objects in quarantine; nothing is recorded",
    "push.recorded": "the row `received` is committed; git waits in its hook",
    "push.moved": "git has moved the ref and said so; the folders are not synced",
    "push.synced": "the ref is on disk; builds and runs are not queued",
    "push.queued": "builds and runs are in a transaction that is not committed",
    "push.applied": "builds and runs are committed; no bell was rung, the client has heard nothing",
    "push.rung": "the builder knows; the client has heard nothing",
    "build.claiming": "a queued build was found; it is not claimed",
    "build.claimed": "the build is claimed; nothing was done",
    "build.exported": "the tree is a tar in the spool",
    "build.started": "make runs in its box",
    "build.made": "make has ended well; its result is in the box",
    "build.saved": "the image is in the spool",
    "build.stored": "the image has its name; the row does not say so",
    "build.settled": "the row says `built`; no bell was rung, its box is there",
    "rank.claiming": "a rank that fits was found; it is not claimed",
    "rank.claimed": "the rank is claimed; nothing was done",
    "rank.started": "its program runs; the row says `starting`",
    "rank.running": "the row says `running`",
    "rank.ended": "its program has ended; nobody has judged it",
    "artifact.written": "the bytes of an artifact are on disk without a name",
    "artifact.stored": "an artifact has its name; no row knows it",
    "rank.collected": "all artifacts are stored; the verdict is not written",
    "rank.settled": "verdict and artifacts are committed; its box is there",
    "rank.removed": "its box is gone; what it kept between attempts is there",
    "invoke.stored": "the input of a call is on disk; its run does not exist",
    "invoke.queued": "the run of a call is committed; the caller has heard nothing",
    "upload.received": "a part of an upload is on disk; the sender has heard nothing",
    "upload.stored": "an uploaded file is whole and on disk; its run does not exist",
    "upload.recorded": "an upload and its run are committed; nobody has heard",
    "upload.delivered": "outputs of a watched file lie beside its folder; the row does not say so",
    "webhook.recorded": "a delivery and what it asks for are committed; the forge has heard nothing",
    "webhook.fetched": "what it asks for is on disk, outside of the repository",
    "webhook.taken": "its push is applied; the arrival does not say so",
    "schedule.due": "a schedule is due; its tick is not claimed",
    "schedule.claimed": "its tick is claimed and its run is not queued, in one transaction",
    "schedule.fired": "the run of a schedule is committed; no bell was rung",
    "callback.sending": "a callback is taken from the outbox, not sent",
    "callback.sent": "the receiver has it; the outbox does not say so",
    "status.sending": "a commit's state is taken from the outbox, not sent to where it came from",
    "status.sent": "it is there; the outbox does not say so",
    "comment.sending": "a comment on a pull request is taken from the outbox, not sent",
    "comment.sent": "it is there; the outbox does not say so",
    "permission.sending": "that somebody's rights are to be asked for is taken from the outbox, not asked",
    "permission.sent": "the forge has answered; neither the outbox nor the arrival says so",
    "notice.sending": "a message about a run is taken from the outbox, not sent",
    "notice.sent": "its receiver has it; the outbox does not say so",
}
_ROOT = Path(__file__).parent.parent


class _Armed:
    def __init__(self, words: str, folder: Path) -> None:
        self._words, self._folder = words, folder

    def visit(self, name: str) -> None:
        words = self._words
        if words == "file":
            try:
                words = (self._folder / "now").read_text().strip()
            except OSError:
                return
        wanted, turn, end = (*words.split(":"), "", "")[:3]
        if wanted == name and self._count(name) == int(turn or 1):
            os.kill(os.getpid(), signal.SIGSTOP if end == "stop" else signal.SIGKILL)

    def _count(self, name: str) -> int:
        """Also how a test sees that somebody came by."""
        self._folder.mkdir(exist_ok=True)
        with (self._folder / name).open("ab") as file:
            file.write(b".")
            file.flush()
            return file.tell()


_armed: _Armed | None = None


def arm(environ: Mapping[str, str], data: Path) -> None:
    """For entry points. Raises SettingsError for a point that is not there."""
    global _armed
    words = environ.get(VARIABLE, "")
    if not words or not (_ROOT / "tests" / "promises.py").exists():
        return
    name, _, turn = words.partition(":")
    if words != "file" and (name not in POINTS or not (turn or "1").isdigit()):
        raise SettingsError(f"{VARIABLE} must be a point with or without `:N`; points: {', '.join(POINTS)}")
    _armed = _Armed(words, data / "faultpoints")


def faultpoint(name: str) -> None:
    """The process ends here if a test says so."""
    if _armed is not None:
        _armed.visit(name)
