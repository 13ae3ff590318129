"""The log of a rank among those of others; and what an order of all their lines can say."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from web.heads import Head

MOST_RANKS = 256  # that one viewer shows together


@dataclass(frozen=True)
class RankLog:
    """Where the newest attempt of a rank has printed; `words` say how the rank stands."""

    number: int
    path: Path
    words: str = ""


class Piece(NamedTuple):
    """Lines of one rank that follow one another in the order, too; `first` is counted from 0."""

    rank: int
    first: int
    lines: int


class Rows(NamedTuple):
    """Some rows of an order, as it was at one moment."""

    generation: str  # another one when all rows have changed
    first: int
    total: int
    firm: int  # rows from here on may still change their place
    left_out: bool  # whether there are older lines
    pieces: list[Piece]


class Order(Protocol):
    """The lines of all ranks in one order. Rows are counted from 0. Thread-safe; blocks."""

    def take(self, ranks: list[RankLog]) -> None:
        """What was printed since; how the ranks stand now."""

    def rows(self, first: int, count: int) -> Rows:
        """So many from `first` on; before 0: from the end."""

    def rows_of(self, lines: Mapping[int, list[int]]) -> list[int]:
        """Where lines are, that are given in order by rank; without those that are not there."""

    def heads(self) -> list[Head]:
        """What divides the rows."""
