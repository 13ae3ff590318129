"""What bench.runner has run: programs that are pushed once, and then run again without a build."""

from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

from bench._tools import read_only
from tests.programs import shell
from tests.service import Service, wait_for

_ENDED = "SELECT count(*), sum(ended_at IS NOT NULL), sum(state = 'succeeded') FROM rank WHERE run_id = ?"
_STATES = "SELECT count(*) FROM rank WHERE run_id = ? AND state = ?"

_FAULTS = """
    SELECT event.reason FROM event JOIN rank ON event.kind = 'rank' AND event.subject_id = rank.id
    WHERE rank.run_id = ? AND event.to_state IN ('queued', 'lost')
"""


class Progress(NamedTuple):
    """Of a run: how many ranks it has, how many are over, and well."""

    ranks: int
    ended: int
    succeeded: int


@dataclass(frozen=True)
class Runs:
    """Pushes and watches through the front door of an instance; looks at its rows, which disturbs nobody."""

    service: Service

    def push(self, program: str, ranks: int, manifest: str = "") -> int:
        """Push a shell program; its run, which has only been queued."""
        text = f"{manifest}\n[ranks]\nrepeat = {ranks}\n"
        pushed = self.service.push(shell(program, text), "detach")
        assert pushed.code == 0, pushed.output
        return int(self.service.commit_page(pushed)["runs"][0]["id"])

    def again(self, run_id: int) -> int:
        """The same once more; the new run."""
        with self.service.client() as client:
            answer = client.post(f"/api/v1/runs/{run_id}/again")
        assert answer.is_success, answer.text
        return int(answer.json()["id"])

    def cancel(self, run_id: int) -> None:
        """Ask for its end."""
        with self.service.client() as client:
            assert client.post(f"/api/v1/runs/{run_id}/cancel").is_success

    def progress(self, run_id: int) -> Progress:
        """How far it is."""
        with closing(read_only(self.service.data)) as rows:
            return Progress(*(count or 0 for count in rows.execute(_ENDED, (run_id,)).fetchone()))

    def rank_id(self, run_id: int) -> int:
        """Its first rank."""
        with closing(read_only(self.service.data)) as rows:
            return int(rows.execute("SELECT min(id) FROM rank WHERE run_id = ?", (run_id,)).fetchone()[0])

    def in_state(self, run_id: int, state: str) -> int:
        """How many of its ranks are in a state."""
        with closing(read_only(self.service.data)) as rows:
            return int(rows.execute(_STATES, (run_id, state)).fetchone()[0])

    def finish(self, run_id: int, timeout_s: float) -> None:
        """Wait until all of it has succeeded."""

        def ended() -> Progress | None:
            now = self.progress(run_id)
            return now if now.ended == now.ranks else None

        done = wait_for(ended, timeout_s)
        assert done.succeeded == done.ranks, f"run {run_id}: {done}"

    def faults(self, run_id: int) -> list[str]:
        """Why attempts of its ranks failed through a fault of ours."""
        with closing(read_only(self.service.data)) as rows:
            return [reason for (reason,) in rows.execute(_FAULTS, (run_id,)).fetchall()]
