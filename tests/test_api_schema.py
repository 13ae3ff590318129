"""schemathesis asks a running service what its OpenAPI document promises, and much that it does not."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.access_tools import open_house
from tests.programs import shell
from tests.service import PATIENCE_S, Service

_LEAVES = 'echo words; echo file >"$HERMES_OUTPUT_DIR/out.txt"'
_CONFIG = """
seed = 6
continue-on-failure = true
request-timeout = 120
max-time = 40

[parameters]
"path.owner" = "alice"
"path.repo" = "pi"
"path.rank" = 0
"path.token_id" = 9000000
"path.name" = "API_TOKEN"
{known}

[generation]
max-examples = 2
deterministic = true
no-shrink = true

[phases.stateful]
enabled = false

[[operations]]
include-name = "POST /api/v1/functions/{{owner}}/{{function}}/runs"
checks = {{ positive_data_acceptance = {{ enabled = false }} }}

[[operations]]
# headers of a protocol, which a schema cannot say
include-name = "POST /api/v1/functions/{{owner}}/{{function}}/inbox"
checks = {{ positive_data_acceptance = {{ enabled = false }} }}

[[operations]]
# a name has what is printable in Unicode's sense, which no pattern of a schema says
include-name = "POST /api/v1/tokens"
checks = {{ positive_data_acceptance = {{ enabled = false }} }}

[[operations]]
include-method = "PUT"
include-path-regex = "secrets"
checks = {{ positive_data_acceptance = {{ enabled = false }} }}

[[operations]]
# an address has more rules than a pattern says, and leads out of this machine
include-path-regex = "notifications"
checks = {{ positive_data_acceptance = {{ enabled = false }} }}

[phases.examples]
enabled = false

[[operations]]
include-name = "POST /api/v1/runs/{{run}}/again"
checks = {{ positive_data_acceptance = {{ enabled = false }} }}

[[operations]]
include-name = "DELETE /api/v1/functions/{{owner}}/{{function}}"
parameters = {{ "path.function" = "gone" }}

[phases.coverage]
unexpected-methods = ["put", "query"]
"""
#: From answer to answer by the document's links: invoke, look, cancel, run again; make a token, revoke it.
_STATEFUL = """
seed = 6
continue-on-failure = true
request-timeout = 120
max-time = 15

[parameters]
"path.owner" = "alice"
"path.repo" = "pi"
"path.function" = "pi"

[generation]
max-examples = 15
deterministic = true
no-shrink = true

[checks]
positive_data_acceptance = { enabled = false }

[phases.stateful]
max-steps = 5
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance of its own: much is done to it."""
    settings = {"HERMES_TRUST": "all", "HERMES_RUNS_PER_MINUTE": "5", "HERMES_POLL": "1"}
    yield from open_house(tmp_path_factory.mktemp("schema"), **settings)


@pytest.fixture(scope="module")
def known(house: Service) -> dict[str, Any]:
    """What its addresses can be made of."""
    pushed = house.push(shell(_LEAVES, 'version = "1.0.0"\npublic = true\n'), repo="alice/pi")
    run = house.run_of(pushed)
    return {"function": "pi", "sha": pushed.sha, "run": run["id"], "build": run["build"], "path": "out.txt"}


def test_what_the_document_promises_is_so(house: Service, known: dict[str, Any], tmp_path: Path) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text(
        _CONFIG.format(known="\n".join(f'"path.{name}" = {value!r}' for name, value in known.items()))
    )
    token = house.hermes("admin", "user", "add", "--admin", "root").stdout.strip()
    asked = schemathesis(house, token, config)
    assert asked.returncode == 0, asked.stdout[-20_000:] + asked.stderr[-2000:]


def test_links_lead_from_answer_to_answer(house: Service, known: dict[str, Any], tmp_path: Path) -> None:
    token = house.hermes("admin", "user", "add", "--admin", "walker").stdout.strip()
    for limit_s in (15, 120):  # on a busy machine the first one may be over before anything was asked
        config = tmp_path / f"stateful{limit_s}.toml"
        config.write_text(_STATEFUL.replace("max-time = 15", f"max-time = {limit_s}"))
        asked = schemathesis(house, token, config, "--phases", "stateful")
        assert asked.returncode == 0, asked.stdout[-20_000:] + asked.stderr[-2000:]
        covered = re.search(r"API Links: +(\d+) covered", asked.stdout)
        if covered and int(covered[1]) > 0:
            break
    assert covered and int(covered[1]) > 0, asked.stdout


def schemathesis(house: Service, token: str, config: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Asks the service by its own document."""
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", *words]
    command += [
        f"{house.url}/api/v1/openapi.json",
        "--url",
        house.url,
        "-H",
        f"Authorization: Bearer {token}",
    ]
    return subprocess.run(
        command, cwd=config.parent, capture_output=True, text=True, timeout=4 * PATIENCE_S, check=False
    )


def test_who_starts_many_runs_waits(house: Service, known: dict[str, Any]) -> None:
    with house.client() as client:
        address = "/api/v1/functions/alice/pi/runs"
        answers = [client.post(address) for _ in range(6)]
        told = {row["name"]: row["most"] for row in client.get("/api/v1/limits").json()["limits"]}
    assert [answer.status_code for answer in answers] == [202] * 5 + [429]
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60
    assert "5 runs within a minute" in answers[-1].json()["error"]["message"]
    assert told["runs_per_minute"] == 5
