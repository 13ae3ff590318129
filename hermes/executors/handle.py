"""What the executor holds of a container that has started, and how its end is told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hermes.executors.base import Exit
from hermes.executors.engine import wall_s
from hermes.executors.gate import Begun
from hermes.executors.output import Output
from hermes.executors.witness import Witness, witness_of


@dataclass
class Handle:
    """Of one container."""

    container: str
    output: Output
    begun: Begun | None = None
    groups: dict[str, Path] | None = None  # not looked for yet: whoever reads its output must not wait
    witness: Witness | None = None

    def watch(self, groups: dict[str, Path]) -> None:
        """From now on it is heard what becomes of these groups."""
        if self.witness is None:
            self.witness = witness_of(groups)

    def exit(self, code: int, state: dict[str, Any]) -> Exit:
        """`state`: what the engine says of it after its end; it may have missed that it was for memory."""
        killed = bool(state.get("OOMKilled"))
        if code and not killed and self.witness is not None:
            killed = self.witness.is_killed_for_memory()
        return Exit(code, wall_s(state, self.begun.at if self.begun else None), killed)

    def leave(self) -> None:
        """Who comes next may go on with it."""
        self.output.leave()
        self._close_witness()

    def close(self) -> None:
        """Nobody will ask for anything of it."""
        self.output.close()
        self._close_witness()

    def _close_witness(self) -> None:
        if self.witness is not None:
            self.witness.close()
