"""At each step of a delivery the process is killed: what was acknowledged runs, once."""

from collections.abc import Iterator

import httpx
import pytest

from hermes.faultpoint import POINTS
from tests.access_tools import ask, open_house
from tests.forge import Delivery, Forge, at_rest, deliver, follow, open_forge
from tests.programs import shell
from tests.service import Service, wait_for
from tests.test_faultpoints import strike
from tests.test_webhooks import head, push_of

PROGRAM = shell("echo hello")
#: Of the receiver, which tests of pushes know well, those between which something is written.
STEPS = [point for point in POINTS if point.startswith("webhook")]
STEPS += ["push.recorded", "push.moved", "push.applied"]


@pytest.fixture(scope="module")
def frail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    env = {"HERMES_TRUST": "all", "HERMES_CALLBACK_NETWORKS": "127.0.0.0/8", "HERMES_UPSTREAM_POLL": "0"}
    more = {"HERMES_FAULTPOINT": "file", "HERMES_POLL": "1s"}
    for one in open_house(tmp_path_factory.mktemp("frail"), **env, **more):
        yield one
        at_rest(one)


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    with open_forge(tmp_path_factory.mktemp("forge")) as one:
        yield one


@pytest.mark.fault(44)
@pytest.mark.parametrize("point", STEPS)
def test_who_is_killed_at_any_step_of_a_delivery_loses_nothing(
    frail: Service, forge: Forge, point: str
) -> None:
    one = follow(frail, forge, point.replace(".", "-"), PROGRAM)
    sha = one.tree.git("rev-parse", "HEAD")
    delivery = Delivery("github", "push", push_of(one), one.secret)
    has_struck = strike(frail, point)
    if point == "webhook.recorded":
        with pytest.raises(httpx.TransportError):
            deliver(frail, delivery)
    else:
        assert deliver(frail, delivery).status_code == 202
    wait_for(has_struck)
    wait_for(frail.answers)
    assert deliver(frail, delivery).json() == {"message": "duplicate"}
    wait_for(lambda: head(one, "refs/heads/main") == sha)
    page = wait_for(lambda: (found := frail.api(f"/repos/{one.here}/commits/{sha}"))["runs"] and found)
    wait_for(lambda: frail.api(f"/runs/{page['runs'][0]['id']}")["state"] == "succeeded")
    arrival = one.settled()[0]
    assert arrival["state"] == "taken" and arrival["push"]
    page = frail.api(f"/repos/{one.here}/commits/{sha}")
    assert len(page["runs"]) == 1 and len(page["builds"]) == 1
    pushes = ask(frail, "SELECT state FROM push WHERE new_sha = ?", sha)
    assert [state for (state,) in pushes].count("applied") == 1
    wait_for(lambda: not list((frail.data / "spool" / "fetches").glob("*")))
