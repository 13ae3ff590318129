"""What a look has found: in one line how it is, in another what to do."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Status(StrEnum):
    """How bad it is: as it should be; worth knowing; costs something; keeps Hermes from working."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"


class Finding(NamedTuple):
    """`step` is what to do next, a command where there is one; it is empty only when all is well."""

    name: str
    status: Status
    found: str
    step: str = ""


class Look(NamedTuple, Generic[T]):
    """What one look has found, and what others go on from; None: it could not be seen."""

    findings: list[Finding]
    facts: T | None = None


def ok(name: str, found: str) -> Finding:
    """As it should be."""
    return Finding(name, Status.OK, found)


def note(name: str, found: str, step: str) -> Finding:
    """Worth knowing; it may be meant so."""
    return Finding(name, Status.NOTE, found, step)


def warning(name: str, found: str, step: str) -> Finding:
    """Hermes works, and something is lost or will be."""
    return Finding(name, Status.WARNING, found, step)


def problem(name: str, found: str, step: str) -> Finding:
    """Something does not work until somebody acts."""
    return Finding(name, Status.PROBLEM, found, step)


def first_line(error: BaseException) -> str:
    """An error in one line of bounded length."""
    return (str(error).strip().partition("\n")[0] or type(error).__name__)[:200]


def worst(findings: Iterable[Finding]) -> Status:
    """Of all of them."""
    order = list(Status)
    return max((each.status for each in findings), key=order.index, default=Status.OK)
