"""`git push` to the last line of the result, against the same steps by hand on the same machine.

Hermes: a hello-world in C++, one new commit a push (one line of the source differs, so that it compiles
anew), from the start of `git push` to its end, with everything warm. The floor (bench/_by_hand.py): a bare
`git push` to `git http-backend`, `make` in a container of the base image, and a container of the result;
with `--executor local` the same without containers. Both take turns, so that both see the same machine.

    make bench NAME=push_to_result [ARGS="--runs 10 --executor docker"]
"""

import argparse
import subprocess
import time
from collections import defaultdict
from statistics import median

from bench import _tools
from bench._by_hand import ByHand, Hand, hand
from bench._stages import Client, read_trace, stages
from bench._tools import Figures, instance, say, scratch
from tests.service import Service, WorkTree

_MOST_RATIO, _MOST_OVER_S = 1.5, 0.7
_MOST_FIRST_LINE_S, _MOST_START_OVER_S = 0.3, 0.3
_WARM_UP = 2
_MAKEFILE = "hello: hello.cpp\n\tg++ -O2 -o hello hello.cpp\n"
_SOURCE = '#include <iostream>\nint main() {{ std::cout << "hello {}" << std::endl; }}\n'


def hermes_push(service: Service, work: WorkTree) -> Client:
    """One `git push`, by the client's clock."""
    command, env = service.push_command("hello")
    began = time.time()
    with subprocess.Popen(command, cwd=work.folder, env=env, stderr=subprocess.PIPE) as child:
        assert child.stderr is not None
        first, said = 0.0, b""
        for line in child.stderr:
            first = first or (time.time() if line.startswith(b"remote:") else 0.0)
            said += line
    ended = time.time()
    assert child.returncode == 0 and b"succeeded" in said, said.decode(errors="replace")
    return Client(began, first, ended)


def _change(work: WorkTree, number: int) -> str:
    return work.write({"hello.cpp": _SOURCE.format(number)}).commit(f"hello {number}")


def _measure(service: Service, by_hand: Hand, runs: int) -> Figures:
    files: dict[str, str | bytes] = {"Makefile": _MAKEFILE, "hermes.toml": 'handler = "./hello"\n'}
    work = service.worktree(files, "hello")
    pushes: list[tuple[str, Client]] = []
    floors: list[ByHand] = []
    bare_runs: list[float] = []
    for number in range(-_WARM_UP, runs):
        sha = _change(work, number)
        client, floor, bare = hermes_push(service, work), by_hand.do(work), by_hand.bare_run()
        if number < 0:
            continue
        pushes.append((sha, client))
        floors.append(floor)
        bare_runs.append(bare)
        say(f"{number + 1:3}/{runs}  hermes {client.ended - client.began:.3f} s  by hand {floor.total:.3f} s")
    return _figures(_samples(service, pushes), pushes, floors, bare_runs)


def _samples(service: Service, pushes: list[tuple[str, Client]]) -> dict[str, list[float]]:
    """Each stage's seconds in every push."""
    samples: dict[str, list[float]] = defaultdict(list)
    for sha, client in pushes:
        for name, seconds in stages(client, read_trace(service.data, sha)):
            samples[name].append(seconds)
    return samples


def _figures(
    samples: dict[str, list[float]],
    pushes: list[tuple[str, Client]],
    floors: list[ByHand],
    bare_runs: list[float],
) -> Figures:
    figures = Figures()
    for name in [each for each in samples if not each.startswith("to_")]:
        figures.median(f"stage_{name}", samples[name])
    figures.median("stage_of_which_program", samples["to_program"])
    for name in ("push", "checkout", "make", "run", "run_first_byte"):
        figures.median(f"hand_{name}", [getattr(each, name) for each in floors])
    whole = median([client.ended - client.began for _, client in pushes])
    floor, bare = median([each.total for each in floors]), median(bare_runs)
    figures.add("bare_run_first_byte", bare, "s")
    figures.median("first_line_after_push_start", samples["to_first_line"], most=_MOST_FIRST_LINE_S)
    figures.median("first_line_after_accepted", samples["to_first_line_from_applied"])
    for name in ("running", "first_byte"):
        over = median(samples[f"to_{name}_from_built"]) - bare
        figures.add(f"run_{name}_over_bare_run", over, "s", _MOST_START_OVER_S)
    figures.median("verdict_to_client_exit", samples["verdict_to_exit"])
    figures.add("push", whole, "s")
    figures.add("floor", floor, "s")
    figures.add("push_over_floor", whole - floor, "s", _MOST_OVER_S)
    figures.add("push_ratio_to_floor", whole / floor, "x", _MOST_RATIO)
    return figures


def measure() -> Figures:
    """The whole measurement, as the command line asks for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=10, help="pushes that count (after two that warm up)")
    parser.add_argument("--executor", choices=("docker", "local"), default="docker")
    args = parser.parse_args()
    with (
        scratch() as folder,
        hand(folder, args.executor == "docker") as by_hand,
        instance(args.executor) as service,
    ):
        return _measure(service, by_hand, args.runs)


if __name__ == "__main__":
    _tools.main(measure)
