"""bench.triggers: how soon others are told how a run ended, also beside a receiver that answers nothing."""

import json
import time

from bench._tools import Figures, instance, percentile, say
from tests.listener import Listener, listening
from tests.programs import shell
from tests.service import Service, wait_for

_PATIENCE_S = 300.0
_SETTINGS = {
    "HERMES_TRUST": "all",
    "HERMES_CALLBACK_NETWORKS": "127.0.0.0/8,::1",
    "HERMES_RUNS_PER_MINUTE": "0",
}


def _tell(service: Service, url: str) -> None:
    with service.client() as client:
        wish = {"kind": "webhook", "target": url, "events": "all"}
        client.post("/api/v1/notifications", json=wish).raise_for_status()


def _latenesses(service: Service, listener: Listener, path: str, runs: int) -> list[float]:
    """Of so many runs, one after another: from the end of each until the receiver has its message."""
    found = []
    address, since = f"/api/v1/functions/{service.user}/told/runs?mode=sync", len(listener.at(path))
    with service.client() as client:
        for number in range(1, runs + 1):
            client.post(address).raise_for_status()
            wait_for(lambda number=number: len(listener.at(path)) >= since + number, _PATIENCE_S)  # type: ignore[misc]
            arrived = time.time()
            found.append(max(arrived - json.loads(listener.at(path)[-1].body)["ended_at"], 0.0))
    return found


def measure_notices(runs: int, figures: Figures) -> None:
    """Alone, then beside one who takes a message and says nothing."""
    with listening() as listener, instance("local", _SETTINGS) as service:
        pushed = service.push(shell("true"), repo="told")
        service.run_of(pushed)
        _tell(service, listener.url("/swift"))
        say(f"notices: {runs} runs, one receiver")
        alone = _latenesses(service, listener, "/swift", runs)
        listener.held.add("/stalls")
        _tell(service, listener.url("/stalls"))
        say(f"notices: {runs} runs, another receiver that answers nothing")
        beside = _latenesses(service, listener, "/swift", runs)
        listener.released.set()
    for name, values in (("notice_after_end", alone), ("notice_beside_a_stalled_one", beside)):
        figures.median(f"{name}_p50", values)
        figures.add(f"{name}_p95", percentile(values, 95), "s")
