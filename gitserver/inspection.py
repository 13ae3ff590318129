"""The thread that looks at what a push has brought, its reader of objects at hand before git asks.

Such a reader takes a millisecond to start, and nobody waits for it while git is still at work."""

import asyncio
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from gitserver.policy import Change, PushPolicy
from hermes.errors import HermesError, Unavailable
from hermes.journal import log
from hermes.objects import open_objects
from hermes.pushes import RefUpdate
from hermes.threads import in_thread

_PREFIX = "incoming-look-"  # maintenance sweeps objects/*incoming-* if we die
Verdict = tuple[list[Change], tuple[str, HermesError] | None]


class _Question(NamedTuple):
    """What git asks: may this be?"""

    policy: PushPolicy
    updates: tuple[RefUpdate, ...]
    quarantine: Path | None


class Inspection:
    """One, of one push. Whoever begins it ends it, asked or not."""

    def __init__(self, repo: Path) -> None:
        self._repo = repo
        self._questions: SimpleQueue[_Question | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._good: asyncio.Future[Verdict] = self._loop.create_future()
        self._work = asyncio.create_task(in_thread(self._live))

    async def ask(
        self, policy: PushPolicy, updates: tuple[RefUpdate, ...], quarantine: Path | None
    ) -> Verdict:
        """As `PushPolicy.examine`, once. Raises Unavailable."""
        self._questions.put(_Question(policy, updates, quarantine))
        await asyncio.wait((self._good, self._work), return_when=asyncio.FIRST_COMPLETED)
        return self._good.result() if self._good.done() else self._work.result()

    async def end(self) -> None:
        """It is over: nothing of it is left."""
        self._questions.put(None)
        await asyncio.wait((self._work,))
        if not self._work.cancelled() and (error := self._work.exception()):
            log.warning("the look at a push ended badly", repo=self._repo.name, error=str(error))

    def _live(self) -> Verdict:
        with _folder(self._repo) as folder, open_objects(self._repo, folder) as objects:
            question = self._questions.get()
            if question is None:
                return [], None
            _look_into(folder, question.quarantine)
            verdict = question.policy.examine(question.updates, objects, question.quarantine)
            if verdict[1] is None:  # all was read and is good: nobody waits for the reader to leave. If it is
                self._loop.call_soon_threadsafe(self._good.set_result, verdict)  # not, its end may say why
        return verdict


@contextmanager
def _folder(repo: Path) -> Iterator[Path]:
    """What the reader takes for the quarantine, before there is one."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=repo / "objects"))
    except OSError as error:
        raise Unavailable(f"no place to look at a push: {error}") from error
    try:
        yield folder
    finally:
        with suppress(OSError):
            (folder / "pack").unlink(missing_ok=True)
            folder.rmdir()


def _look_into(folder: Path, quarantine: Path | None) -> None:
    """Git lists the packs when it is asked for the first object, so now they may appear. There is nothing but
    packs: `receive.unpackLimit` is 1."""
    if quarantine is not None:
        os.symlink(quarantine / "pack", folder / "pack")
