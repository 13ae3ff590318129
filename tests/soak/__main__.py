"""`make soak SECONDS=600 SEED=1`: the seed, a line every few seconds, the verdict of the oracle."""

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.soak.scene import Scene


def main() -> None:
    """Ends with 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long faults strike")
    parser.add_argument("--seed", type=int, default=0, help="of all dice; 0: a new one, which is printed")
    parser.add_argument("--executor", choices=("docker", "local"), default="docker")
    asked = parser.parse_args()
    seed = asked.seed or random.SystemRandom().randrange(1, 10**6)
    with tempfile.TemporaryDirectory(prefix="hermes-soak-", ignore_cleanup_errors=True) as folder:
        scene = Scene(Path(folder) / "var", seed, asked.executor)
        found = scene.play(asked.seconds, lambda line: print(line, flush=True))
        for words in found:
            print(f"BROKEN  {words}")
        if found:
            kept = Path(tempfile.gettempdir()) / f"hermes-soak-{seed}.log"
            kept.write_text(scene.service.log)
            sys.exit(f"{len(found)} promises were broken with SEED={seed}; the service's log: {kept}")
    print(f"every promise holds (SEED={seed})")


if __name__ == "__main__":
    main()
