"""Two minutes of a soak; `make soak` is longer, and with other seeds."""

from pathlib import Path

import pytest

from tests.soak.scene import Scene

SECONDS, SEED = 120.0, 7


@pytest.mark.timeout(1200)
@pytest.mark.fault(47, 11, 40)
def test_every_promise_holds_after_two_minutes_of_faults(engine: None, tmp_path: Path) -> None:
    assert Scene(tmp_path / "var", SEED, "docker").play(SECONDS, print) == []
