"""A receiver that says when to ask again is not asked before: of notifications, and of callbacks."""

from collections.abc import Iterator

import pytest

from hermes.outbox import WAITS_S
from tests.access_tools import ask, open_house
from tests.listener import Listener, listening
from tests.service import Service, wait_for
from tests.test_notices import GOOD, Repo

HOUR_S = 3600.0
#: What is said, and for how long it holds. Dates are by the clock of who says them: this one is years behind.
SAID = {
    "seconds": ({"Retry-After": "3600"}, HOUR_S),
    "a date": (
        {"Date": "Wed, 21 Oct 2015 07:28:00 GMT", "Retry-After": "Wed, 21 Oct 2015 08:28:00 GMT"},
        HOUR_S,
    ),
    "for years": ({"Retry-After": "999999999"}, WAITS_S[-1]),
    "less than we wait anyway": ({"Retry-After": "1"}, WAITS_S[0]),
    "in the past": (
        {"Date": "Wed, 21 Oct 2015 07:28:00 GMT", "Retry-After": "Tue, 20 Oct 2015 08:28:00 GMT"},
        WAITS_S[0],
    ),
    "nonsense": ({"Retry-After": "soon, perhaps"}, WAITS_S[0]),
}
FIRST_TRY = """SELECT a.error, o.next_at - a.at FROM notice_attempt a JOIN outbox o ON o.id = a.outbox_id
    WHERE a.notification_id = ? AND o.tries = 1 ORDER BY a.id"""


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    with listening() as one:
        yield one


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings = {"HERMES_TRUST": "all", "HERMES_POLL": "1", "HERMES_CALLBACK_NETWORKS": "127.0.0.0/8,::1"}
    yield from open_house(tmp_path_factory.mktemp("asked"), **settings)


def tried(repo: Repo, number: int, count: int) -> None:
    """So often, at least."""
    wait_for(lambda: len(repo.attempts(number)) >= count)


def test_a_notification_waits_as_its_receiver_says(house: Service, listener: Listener) -> None:
    repo = Repo(house, "said")
    repo.push(GOOD)
    numbers = {}
    for at, (said, (heads, _)) in enumerate(SAID.items()):
        path = f"/said-{at}"
        listener.answers[path], listener.heads[path] = [(429, 503)[at % 2]], heads
        numbers[said] = repo.add("webhook", listener.url(path), events="all")["id"]
    repo.push(GOOD)
    for said, (_, wait_s) in SAID.items():
        number = numbers[said]
        tried(repo, number, 1)
        rows = ask(house, FIRST_TRY, number)
        if wait_s > WAITS_S[0]:
            ((error, waits_s),) = rows
            assert wait_s - HOUR_S / 2 < waits_s < wait_s + HOUR_S / 2, said
            assert "and not to ask again for" in error
        else:  # it is asked again as ever
            tried(repo, number, 2)
            assert "again for" not in repo.attempts(number)[-1]["error"] or said.startswith("less")


def test_what_comes_meanwhile_waits_too_and_others_do_not(house: Service, listener: Listener) -> None:
    repo = Repo(house, "meanwhile")
    repo.push(GOOD)
    listener.answers["/rests"], listener.heads["/rests"] = [503], {"Retry-After": "3600"}
    resting = repo.add("webhook", listener.url("/rests"), events="all")["id"]
    other = repo.add("webhook", listener.url("/other"), events="all")["id"]
    repo.push(GOOD)
    wait_for(lambda: repo.attempts(resting) and repo.attempts(other))
    for count in (2, 3):
        repo.push(GOOD)
        tried(repo, other, count)
    assert len(listener.at("/rests")) == 1
    house.stop()
    house.start()  # a restart asks once too early at most
    wait_for(lambda: len(repo.attempts(resting)) == 2)
    repo.push(GOOD)
    wait_for(lambda: len(repo.attempts(other)) == 4)
    assert len(listener.at("/rests")) == 2


def test_after_the_rest_it_is_asked_again(house: Service, listener: Listener) -> None:
    repo = Repo(house, "rested")
    repo.push(GOOD)
    listener.answers["/soon"], listener.heads["/soon"] = [429, 204], {"Retry-After": "4"}
    number = repo.add("webhook", listener.url("/soon"), events="all")["id"]
    repo.push(GOOD)
    wait_for(lambda: [each["status"] for each in repo.attempts(number)] == [204, 429])
    first, later = (each.at for each in listener.at("/soon"))
    assert later - first >= 4


def call(house: Service, url: str) -> int:
    """A call of told whose caller wants to hear of its end."""
    with house.client() as client:
        answer = client.post("/api/v1/functions/alice/called/runs", headers={"X-Callback-Url": url})
    assert answer.status_code == 202, answer.text
    return int(answer.json()["id"])


def test_callbacks_wait_as_their_receiver_says(house: Service, listener: Listener) -> None:
    Repo(house, "called").push(GOOD)
    listener.answers["/full"], listener.heads["/full"] = [503], {"Retry-After": "3600"}
    first = call(house, listener.url("/full"))
    with house.client() as client:
        wait_for(lambda: "not to ask again for 1 h 00 m" in client.get(f"/runs/{first}").text)
        second, third = call(house, listener.url("/full")), call(house, listener.url("/empty"))
        wait_for(lambda: "callback taken" in client.get(f"/runs/{third}").text)
        waiting = "SELECT error FROM outbox WHERE key = ? AND next_at > created_at + 1800"
        wait_for(lambda: ask(house, waiting, f"run-{second}") == [("its receiver has asked for a rest",)])
        assert "callback not taken" not in client.get(f"/runs/{second}").text
    assert len(listener.at("/full")) == 1
