"""A real Prometheus of the tests' own, set up as docs/operations.md says."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.proxies import program
from tests.service import PATIENCE_S, Service, free_port, wait_for

ROOT = Path(__file__).parent.parent
ALERTS = ROOT / "docs/prometheus/alerts.yml"
DASHBOARD = ROOT / "docs/grafana/hermes.json"


def queries() -> list[str]:
    """Of all panels of the dashboard, as Grafana asks."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    asked = [each["expr"] for panel in panels for each in panel.get("targets", [])]
    return [each.replace("$__rate_interval", "1m").replace("$instance", ".*") for each in asked]


@dataclass(frozen=True)
class Prometheus:
    """One that looks each second."""

    url: str

    def query(self, expression: str) -> list[float]:
        """The values of all series that it finds now."""
        return [float(each["value"][1]) for each in self._get("query", query=expression)["result"]]

    def firing(self) -> set[str]:
        """The names of the alerts that somebody would hear of."""
        alerts = self._get("alerts")["alerts"]
        return {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}

    def _get(self, what: str, **parameters: str) -> dict[str, Any]:
        answer = httpx.get(f"{self.url}/api/v1/{what}", params=parameters, timeout=PATIENCE_S).json()
        assert answer["status"] == "success", answer
        data: dict[str, Any] = answer["data"]
        return data


@contextmanager
def watching(service: Service, folder: Path) -> Iterator[Prometheus]:
    """One that scrapes this service. Here an alert fires at once: nothing has to last."""
    config = _documented()
    rules = re.sub(r"^ +for: .*\n", "", ALERTS.read_text(), flags=re.MULTILINE)
    (folder / config["rule_files"][0]).write_text(rules)
    (job,) = config["scrape_configs"]
    job["static_configs"][0]["targets"] = [service.url.removeprefix("http://")]
    job["authorization"]["credentials"] = service.token
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    one = Prometheus(f"http://127.0.0.1:{free_port()}")
    command = [program("prometheus"), f"--config.file={folder}/prometheus.yml", "--log.level=warn"]
    command += [
        f"--web.listen-address={one.url.removeprefix('http://')}",
        f"--storage.tsdb.path={folder}/data",
    ]
    with (folder / "words").open("wb") as words, subprocess.Popen(command, stderr=words) as process:
        try:
            wait_for(lambda: _is_ready(one.url))
            yield one
        finally:
            process.terminate()


def _documented() -> dict[str, Any]:
    """The configuration of docs/operations.md."""
    text = (ROOT / "docs/operations.md").read_text()
    found = re.search(r"```yaml\n(scrape_configs:.*?)```", text, re.DOTALL)
    assert found is not None
    config: dict[str, Any] = yaml.safe_load(found[1])
    return config


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", timeout=PATIENCE_S).is_success
    except httpx.TransportError:
        return False
