"""Gathers what the tests of each row of the matrix of faults came to, for scripts/fault-table."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

RESULTS = Path(__file__).parent.parent / ".pytest_cache" / "faults.json"
_PROPERTY = "fault"
_seen: dict[str, dict[str, Any]] = {}  # by test


def pytest_configure(config: pytest.Config) -> None:
    """Its mark."""
    config.addinivalue_line("markers", "fault(*rows): proves these rows of tests/fault_rows.py")


def mark_rows(items: list[pytest.Item]) -> None:
    """Rows travel with the reports of their tests, also from another process."""
    for item in items:
        rows = [row for mark in item.iter_markers("fault") for row in mark.args]
        item.user_properties += [(_PROPERTY, row) for row in rows]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """One phase of a test; the worst counts."""
    rows = [value for name, value in report.user_properties if name == _PROPERTY]
    if not rows or (report.when != "call" and report.passed):
        return
    test = report.nodeid.partition("[")[0]
    entry = _seen.setdefault(test, {"rows": rows, "passed": 0, "failed": 0, "skipped": 0})
    entry["rows"] = sorted({*entry["rows"], *rows})
    entry[report.outcome] += 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Beside what earlier sessions came to."""
    if hasattr(session.config, "workerinput") or not _seen:
        return
    RESULTS.parent.mkdir(exist_ok=True)
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    today = time.strftime("%Y-%m-%d")
    known |= {test: entry | {"on": today} for test, entry in _seen.items()}
    RESULTS.write_text(json.dumps(known, indent=1, sort_keys=True))
