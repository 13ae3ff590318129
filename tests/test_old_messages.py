"""What was said to others is forgotten by age: never what waits, nor what can be sent again from a log."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.listener import Listener, listening
from tests.service import living, wait_for
from tests.test_retention import DAY_S, House

KEPT = "SELECT topic, sent_at IS NOT NULL FROM outbox ORDER BY id"
LOST = "SELECT * FROM notice_attempt WHERE outbox_id NOT IN (SELECT id FROM outbox)"
GIVEN_UP = """UPDATE outbox SET tries = 9 WHERE topic = 'callback'
    AND payload ->> 'run' = (SELECT id FROM run WHERE callback_url LIKE '%/never')"""
BACK = "UPDATE outbox SET created_at = created_at - ?, next_at = next_at - ?, sent_at = sent_at - ?"


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    with listening() as one:
        yield one


@pytest.fixture
def house(listener: Listener, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    env = {"HERMES_EXECUTOR": "local", "HERMES_TRUST": "all", "HERMES_REDIS_URL": "none", "HERMES_POLL": "1"}
    env |= {"HERMES_FREE_LOW": "0", "HERMES_CALLBACK_NETWORKS": "127.0.0.0/8,::1"}
    with living(House(tmp_path_factory.mktemp("messages"), env)) as one:
        yield one


def add(house: House, target: str) -> int:
    """A notification of every run of told."""
    with house.client() as client:
        wish = {"kind": "webhook", "target": target, "events": "all"}
        answer = client.post("/api/v1/repos/alice/told/notifications", json=wish)
    assert answer.is_success, answer.text
    return int(answer.json()["id"])


def attempts(house: House, number: int) -> list[dict[str, Any]]:
    """The newest first."""
    found = house.api(f"/repos/alice/told/notifications/{number}/attempts")["attempts"]
    return list(found)


def call_back(house: House, url: str) -> None:
    """A call of told whose caller wants to hear of its end."""
    with house.client() as client:
        address = f"/api/v1/functions/{house.user}/told/runs"
        assert client.post(address, headers={"X-Callback-Url": url}).status_code == 202


def test_what_is_over_goes_and_what_waits_or_is_shown_stays(house: House, listener: Listener) -> None:
    listener.answers = {path: [503] for path in ("/away", "/never", "/waits")}
    first = house.pushed("told", "one")
    told, away = add(house, listener.url("/told")), add(house, listener.url("/away"))
    house.pushed("told", "two", tree=first.tree)
    wait_for(lambda: attempts(house, told) and attempts(house, away))
    for path in ("/taken", "/never", "/waits"):
        call_back(house, listener.url(path))
    wait_for(lambda: listener.at("/taken") and listener.at("/never") and listener.at("/waits"))
    wait_for(lambda: len(attempts(house, told)) == 4)
    wait_for(lambda: not house.execute("SELECT 1 FROM outbox WHERE tries = 0 AND topic = 'callback'"))
    assert house.stop() == 0
    house.execute(GIVEN_UP)
    assert house.sweep()["messages"] == 0  # all of it is young
    house.execute(BACK, *[31 * DAY_S] * 3)
    row = house.retention()["kinds"][-1]
    assert (row["kind"], row["why"]) == ("messages", {"after 30 d (HERMES_KEEP_MESSAGES)": 2})
    assert house.sweep()["messages"] == 2  # the callback that was taken, and the one that never was
    assert sorted(house.execute(KEPT)) == [("callback", 0)] + [("notice", 0)] * 4 + [("notice", 1)] * 4
    assert house.execute(LOST) == []
    ((first_try,),) = house.execute("SELECT min(id) FROM notice_attempt WHERE notification_id = ?", told)
    count = len(listener.at("/told"))
    listener.answers = {}
    house.start()
    wait_for(lambda: not house.execute("SELECT 1 FROM outbox WHERE sent_at IS NULL"))
    assert listener.at("/waits")[-1:] and attempts(house, away)[0]["error"] == ""
    with house.client() as client:
        base = f"/api/v1/repos/alice/told/notifications/{told}"
        assert client.post(f"{base}/attempts/{first_try}/again").is_success
    wait_for(lambda: len(listener.at("/told")) == count + 1)
    assert listener.at("/told")[-1].body == listener.at("/told")[0].body
