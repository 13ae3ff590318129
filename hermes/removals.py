"""What was removed to make room, and how that is said: pages and programs hear when, why and what to do."""

import time
from collections.abc import Collection
from enum import StrEnum

from sqlalchemy import ColumnElement, delete, exists, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from hermes.errors import Gone
from hermes.remains import Removal


class Data(StrEnum):
    """What goes, in the order in which it goes when the disk is full: first what can be made again."""

    CACHES = "caches"  # of compilers
    IMAGES = "images"
    INPUTS = "inputs"
    RESULTS = "results"
    ARTIFACTS = "artifacts"
    BUILD_LOGS = "build logs"
    LOGS = "logs"  # of runs


OF_BUILDS = (Data.IMAGES, Data.BUILD_LOGS)
OF_RUNS = (Data.INPUTS, Data.RESULTS, Data.ARTIFACTS, Data.LOGS)
_AGAIN = {
    Data.IMAGES: "the next run builds it again",
    Data.BUILD_LOGS: "push the commit again to build it anew",
    Data.INPUTS: "invoke the function again, with its input",
}


def is_removed(kind: Data, subject: "InstrumentedAttribute[int]") -> ColumnElement[bool]:
    """A condition on a query of runs, or builds."""
    return exists().where(Removal.kind == kind, Removal.subject_id == subject)


async def removals_of(session: AsyncSession, kinds: Collection[Data], subject_id: int) -> dict[Data, Removal]:
    """Of one run, or one build."""
    query = select(Removal).where(Removal.kind.in_(kinds), Removal.subject_id == subject_id)
    return {Data(each.kind): each for each in (await session.scalars(query)).all()}


async def made_again(session: AsyncSession, build_id: int) -> None:
    """A build is done once more."""
    of_it = (Removal.kind.in_(OF_BUILDS), Removal.subject_id == build_id)
    await session.execute(delete(Removal).where(*of_it))


async def refuse_removed(session: AsyncSession, kind: Data, subject_id: int) -> None:
    """Raises Gone when it was removed."""
    if removal := (await removals_of(session, (kind,), subject_id)).get(kind):
        raise Gone(sentence(removal), hint(kind))


def words(removal: Removal) -> str:
    """`removed on 2027-02-28 after 90 d (HERMES_KEEP_ARTIFACTS)`."""
    return f"removed on {time.strftime('%Y-%m-%d', time.gmtime(removal.at))} {removal.why}"


def sentence(removal: Removal) -> str:
    """The same of whom: `the artifacts of run 12 were removed on …`."""
    kind = Data(removal.kind)
    whose = f"{'build' if kind in OF_BUILDS else 'run'} {removal.subject_id}"
    what = {Data.BUILD_LOGS: "logs", Data.INPUTS: "input files"}.get(kind, str(kind))
    if kind is Data.IMAGES:
        return f"the image of {whose} was {words(removal)}"
    return f"the {what} of {whose} were {words(removal)}"


def hint(kind: Data) -> str:
    """The next step."""
    return _AGAIN.get(kind, "run it again to have them anew")
