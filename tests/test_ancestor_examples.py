"""What the first Hermes' documents show, typed as they show it: command and result, one row each."""

import json
import re
from pathlib import Path

import pytest

from tests.person import Person, signed_in
from tests.service import Service, wait_for

SOURCE = r"""
#include <cstdio>
int main() {
    double n = 0;
    if (scanf("%lf", &n) != 1) { fprintf(stderr, "no number\n"); return 2; }
    printf("%.0f\n", n * 2);
}
"""
CONFIG = {
    "functionName": "doubled",
    "language": "cpp",
    "gpuCapable": False,
    "scope": "public",
    "functionVersion": "1.0.0",
    "handler": "./a.out",
}
FILES: dict[str, str | bytes] = {
    "hermes.config.json": json.dumps(CONFIG),
    "Makefile": "main: main.cpp\n\tg++ main.cpp -o a.out\nclean:\n\t-rm a.out\n",
    "main.cpp": SOURCE,
}


@pytest.fixture(scope="module")
def ada(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Person:
    """Signed in, with the function pushed and one run of each kind."""
    person = signed_in(service, tmp_path_factory.mktemp("ancestor"))
    service.settled(service.push(FILES, repo="doubled"))
    (person.home / "input").write_text("21\n")
    number = person.ok("function:run", "alice/doubled:1.0.0", "-a", "-f", "input").strip()
    person.ok("run", "-q", "alice/doubled:1.0.0", "--wait", "100s", "-f", "input")
    wait_for(lambda: service.api(f"/runs/{number}")["ended_at"])
    person.env["RUN"] = number
    return person


EXAMPLES = [
    ("function:run alice/doubled:1.0.0 --file input", 0, r"42\n"),
    ("function:run alice/doubled:1.0.0 --sync -f input", 0, r"42\n"),
    ("function:run alice/doubled:1.0.0 --async --file input", 0, r"\d+\n"),
    ("function:run alice/doubled:1.0.0", 2, ""),  # nothing on its stdin: its own exit code
    ("function:list", 0, r"FUNCTION .*\nalice/doubled .*"),
    ("function:list -j", 0, r"\[.*\"alice/doubled\".*\]\n"),
    ("execution:list", 0, r"DATETIME +RUN .*alice/doubled.*"),
    ("execution:inspect $RUN", 0, r"run \d+  succeeded.*"),
    ("execution:inspect $RUN -r", 0, r"42\n"),
    ("execution inspect $RUN --result", 0, r"42\n"),
    ("remote:whoami", 0, r"alice at http.*"),
]
GONE = [
    "function:build -j 4",
    "function:deploy --update",
    "remote:register",
    "config hermes.url http://x",
    "config",
]


@pytest.mark.parametrize(("command", "code", "result"), EXAMPLES, ids=[row[0] for row in EXAMPLES])
def test_examples_do_what_they_show(ada: Person, command: str, code: int, result: str) -> None:
    done = ada.hermes(*command.replace("$RUN", ada.env["RUN"]).split())
    assert done.returncode == code, done.stderr
    assert re.fullmatch(result, done.stdout.decode(), re.DOTALL), done.stdout


@pytest.mark.parametrize("command", GONE)
def test_what_nobody_needs_any_more_says_what_to_do(tmp_path: Path, command: str) -> None:
    done = Person(tmp_path).hermes(*command.split())
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 1 and lines[0] == f"hermes: there is no {command.split()[0]} here" and lines[1]
