"""bench.triggers: how soon webhooks are acknowledged at a steady rate, and how long a push elsewhere takes to
become a run here."""

import asyncio
import json
import time

import httpx

from bench._tools import Figures, instance, percentile, say, scratch
from tests.forge import Delivery, Followed, follow, open_forge, shape
from tests.programs import shell
from tests.service import Service, wait_for

_EACH_SECOND = 50
_PUSHES = 10


def measure_webhooks(seconds: int, figures: Figures) -> None:
    """Fifty deliveries a second for so long; then pushes one by one."""
    env = {"HERMES_TRUST": "all", "HERMES_GPUS": "none", "HERMES_CALLBACK_NETWORKS": "127.0.0.0/8"}
    with scratch() as folder, open_forge(folder) as forge, instance("local", env) as service:
        one = follow(service, forge, "pi", shell("true"))
        one.deliver("push", _push(one))
        one.settled()
        say(f"{_EACH_SECOND} deliveries a second for {seconds} s")
        took_ms = asyncio.run(_flood(service, one, seconds))
        figures.add("webhook_accepted_p95", percentile(took_ms, 95), "ms", most=100.0)
        figures.add("webhook_accepted_median", percentile(took_ms, 50), "ms")
        one.settled()
        say(f"{_PUSHES} pushes, each from its delivery to its queued run")
        figures.add(
            "webhook_to_queued_median", percentile([_until_queued(one) for _ in range(_PUSHES)], 50), "s"
        )


def _push(one: Followed) -> dict[str, object]:
    sha = one.tree.git("rev-parse", "HEAD")
    return shape("github.push", ref="refs/heads/main", after=sha, repository__full_name=one.name)


async def _flood(service: Service, one: Followed, seconds: int) -> list[float]:
    body = json.dumps(_push(one)).encode()
    took_ms: list[float] = []

    async def send(client: httpx.AsyncClient) -> None:
        headers = Delivery("github", "push", {}, one.secret).headers(body)
        began = time.monotonic()
        answer = await client.post("/webhooks/github", content=body, headers=headers)
        took_ms.append((time.monotonic() - began) * 1000)
        assert answer.status_code == 202, answer.text

    async with httpx.AsyncClient(base_url=service.url, timeout=60) as client:
        begin = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number in range(_EACH_SECOND * seconds):
                await asyncio.sleep(max(begin + number / _EACH_SECOND - time.monotonic(), 0))
                tasks.create_task(send(client))
    return took_ms


def _until_queued(one: Followed) -> float:
    sha = one.commit("one more")
    began = time.time()
    one.deliver("push", _push(one))

    def queued() -> float | None:
        with one.service.client() as client:
            answer = client.get(f"/api/v1/repos/{one.here}/commits/{sha}")
        runs = answer.json()["runs"] if answer.status_code == 200 else []
        return float(runs[0]["created_at"]) if runs else None

    return wait_for(queued) - began
