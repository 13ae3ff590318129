"""CSV and TSV as far as a page shows them: the first rows as a table, columns of numbers for a plot."""

import csv
import io
import math
from dataclasses import dataclass

READ_BYTES = 1 << 20
_SHOWN_ROWS, _SHOWN_COLUMNS, _SHOWN_CHARACTERS = 50, 20, 80
_MOST_SERIES = 6
_MOST_COLUMNS = 50  # that are looked at for numbers
_NO_VALUE = ("nan", "inf", "infinity", "na")


@dataclass(frozen=True)
class Series:
    """A column of numbers by row; None: this row has none."""

    name: str
    values: list[float | None]

    @property
    def known(self) -> list[float]:
        """Those that there are."""
        return [value for value in self.values if value is not None]


@dataclass(frozen=True)
class Table:
    """What is shown. `rows` and `columns` count what was read; `whole`: that is the file to its end."""

    header: list[str]
    shown: list[list[str]]
    rows: int
    columns: int
    whole: bool
    x: Series | None  # None: the number of the row
    series: list[Series]

    @property
    def rest(self) -> str:
        """What the page does not show, in words."""
        more = []
        if self.rows > len(self.shown) or not self.whole:
            more.append(
                f"the first {len(self.shown)} of {self.rows} rows" + ("" if self.whole else " and more")
            )
        if self.columns > _SHOWN_COLUMNS:
            more.append(f"the first {_SHOWN_COLUMNS} of {self.columns} columns")
        return ", ".join(more)


def read_table(data: bytes, name: str, size_bytes: int) -> Table | None:
    """From the first READ_BYTES of a file; None when they are no table."""
    whole = size_bytes <= len(data)
    text = data.decode("utf-8-sig", "replace")
    if not whole:
        text = text.rpartition("\n")[0]  # the last line is not all there
    try:
        rows = [
            row for row in csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text, name)) if row
        ]
    except csv.Error:
        return None
    if len(rows) < 2:
        return None
    header, body = _header(rows)
    columns = max(len(header), max(len(row) for row in body))
    x, series = _numbers(header, body)
    shown = [_cut(row) for row in body[:_SHOWN_ROWS]]
    return Table(_cut(header), shown, len(body), columns, whole, x, series)


def _delimiter(text: str, name: str) -> str:
    """By its name, unless another one is all that its first line has."""
    first = text.partition("\n")[0]
    usual = "\t" if name.lower().endswith(".tsv") else ","
    return usual if usual in first else max("\t;,", key=first.count)


def _header(rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """A first row without a number names the columns."""
    first = [rows[0][0].lstrip("# "), *rows[0][1:]]
    if any(number(cell) is not None or _is_no_value(cell) for cell in first):
        return [f"column {i + 1}" for i in range(len(first))], rows
    return [cell.strip() or f"column {i + 1}" for i, cell in enumerate(first)], rows[1:]


def number(cell: str) -> float | None:
    """A finite number as programs print it."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _is_no_value(cell: str) -> bool:
    """How programs print that there is no finite number."""
    return cell.strip().lower().lstrip("+-") in _NO_VALUE


def _numbers(header: list[str], body: list[list[str]]) -> tuple[Series | None, list[Series]]:
    """The first column is what the others are drawn over, if there are others."""
    columns = {i: _series(i, name, body) for i, name in enumerate(header[:_MOST_COLUMNS])}
    found = {i: series for i, series in columns.items() if series is not None}
    x = found.pop(0) if 0 in found and len(found) > 1 and None not in found[0].values else None
    return x, list(found.values())[:_MOST_SERIES]


def _series(column: int, name: str, body: list[list[str]]) -> Series | None:
    values: list[float | None] = []
    for row in body:
        cell = row[column].strip() if column < len(row) else ""
        value = number(cell)
        if value is None and cell and not _is_no_value(cell):
            return None  # a word among numbers: not a column of numbers
        values.append(value)
    series = Series(_short(name), values)
    return series if len(series.known) > 1 else None


def _cut(row: list[str]) -> list[str]:
    return [_short(cell) for cell in row[:_SHOWN_COLUMNS]]


def _short(cell: str) -> str:
    return cell if len(cell) <= _SHOWN_CHARACTERS else f"{cell[: _SHOWN_CHARACTERS - 1]}…"
