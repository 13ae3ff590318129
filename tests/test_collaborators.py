"""Who may let a stranger's commit run by a comment: the forge is asked, until it has answered."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from hermes.outbox import WAITS_S
from hermes.upstreams import KINDS
from tests.access_tools import ask, browsing, execute, open_house
from tests.forge import Delivery, Followed, at_rest, deliver, follow, now, open_forge, shape
from tests.forge import Forge as GitForge
from tests.programs import shell
from tests.service import Service, wait_for
from tests.stand_in_forge import Answer, Forge, There, forging
from tests.test_faultpoints import strike
from tests.test_webhooks import head, runs_of

PROGRAM = shell("echo hello")
NAMES = {"github": "GitHub", "gitea": "Gitea", "gitlab": "GitLab"}
_NUMBERS = itertools.count(1)
QUESTIONS = r"/collaborators/|/members/"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    env = {"HERMES_TRUST": "all", "HERMES_CALLBACK_NETWORKS": "127.0.0.0/8,::1", "HERMES_UPSTREAM_POLL": "0"}
    more = {"HERMES_FAULTPOINT": "file", "HERMES_POLL": "1s"}
    for one in open_house(tmp_path_factory.mktemp("house"), **env, **more):
        yield one
        at_rest(one)


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitForge]:
    """What answers to git."""
    with open_forge(tmp_path_factory.mktemp("forge")) as one:
        yield one


@pytest.fixture
def forge() -> Iterator[Forge]:
    """What answers to questions."""
    with forging() as one:
        yield one
        one.is_answering.set()


@dataclass
class Pull:
    """Pull request 7 of a stranger, whose commit waits."""

    one: Followed
    there: There
    sha: str = ""

    def propose(self) -> str:
        """Another commit of it, and it is told."""
        self.move()
        self.tell()
        return self.sha

    def move(self) -> str:
        """Nobody tells."""
        self.sha = self.one.commit(
            "of a stranger", "HEAD:refs/pull/7/head", "HEAD:refs/merge-requests/7/head"
        )
        return self.sha

    def tell(self) -> None:
        """As its forge does."""
        if self.one.kind == "gitlab":
            event, payload = "Merge Request Hook", shape("gitlab.merge_request.open")
            payload["project"]["path_with_namespace"] = self.one.name
            payload["object_attributes"] |= {"last_commit": {"id": self.sha}, "updated_at": now()}
        else:
            event, payload = "pull_request", shape(f"{self.one.kind}.pull_request.opened")
            payload["repository"]["full_name"] = self.one.name
            payload["pull_request"]["head"]["sha"] = self.sha
            payload["pull_request"]["updated_at"] = now()
        assert self.one.deliver(event, payload).status_code == 202

    def comment(self, login: str, body: str = "/hermes run", **changes: Any) -> Delivery:
        """Somebody's, as it is told."""
        user = {"id": self.there.people.get(login, (9, ""))[0], "login": login, "username": login}
        if self.one.kind == "gitlab":
            event, payload = "Note Hook", shape("gitlab.note", user=user)
            payload["project"]["path_with_namespace"] = self.one.name
            of_note = {"note": body, "author_id": user["id"], "created_at": now()}
            payload["object_attributes"] |= of_note | changes
            payload["merge_request"]["last_commit"]["id"] = self.sha
        else:
            event = "issue_comment"
            payload = shape(f"{self.one.kind}.issue_comment.created", sender=user)
            payload["repository"]["full_name"] = self.one.name
            payload["comment"] |= {"user": user, "body": body, "created_at": now()} | changes
        return Delivery(self.one.kind, event, payload, self.one.secret)

    def say(self, login: str, body: str = "/hermes run", **changes: Any) -> httpx.Response:
        """They comment."""
        return deliver(self.one.service, self.comment(login, body, **changes))

    @property
    def newest(self) -> Json:
        """Of the arrivals."""
        return self.one.arrivals()[0]

    def reads(self, words: str) -> Json:
        """Waits until the newest one says so."""
        wait_for(lambda: words in self.newest["reason"])
        return self.newest

    def runs_once(self) -> None:
        """What was looked at, and nothing else."""
        arrival = wait_for(lambda: (found := self.newest)["state"] == "taken" and found)
        assert arrival["sha"] == self.sha == head(self.one, "refs/pull/7/head")
        assert len(wait_for(lambda: runs_of(self.one, self.sha))) == 1


Opened = Callable[..., Pull]


@pytest.fixture
def opened(house: Service, code: GitForge, forge: Forge) -> Opened:
    """Of each test its own repository there."""

    def make(kind: str = "github", token: str = "good") -> Pull:
        api_url, name = f"{forge.url}{KINDS[kind][1]}", f"pi{next(_NUMBERS)}"
        one = follow(house, code, name, PROGRAM, kind=kind, token=token, api_url=api_url)
        there = forge.add(one.name)
        there.people = {"octo": (5, "write"), "reader": (6, "read")}
        pull = Pull(one, there)
        pull.propose()
        return pull

    return make


def all_answered(house: Service) -> None:
    """No question is on its way."""
    query = "SELECT count(*) FROM outbox WHERE topic = 'permission' AND sent_at IS NULL AND tries <= ?"
    wait_for(lambda: ask(house, query, len(WAITS_S))[0][0] == 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_comment_of_who_may_write_there_counts_and_no_other(
    house: Service, forge: Forge, opened: Opened, kind: str
) -> None:
    pull, forge_name = opened(kind), NAMES[kind]
    for login in ("reader", "mallory"):
        forge.is_answering.clear()
        for _ in range(3):  # while that is asked, it is not asked once more
            answer = pull.say(login, author_association="OWNER")  # whatever the message says of them
            assert answer.status_code == 202, answer.text
        forge.is_answering.set()
        all_answered(house)
        assert pull.reads(f"{login} may not write to {pull.one.name}: ignored")["state"] == "held"
    assert [each.status for each in forge.asked("GET", QUESTIONS)] == [200, 404]
    forge.is_answering.clear()
    answer = pull.say("octo", author_association="NONE")
    asked = f"may octo write to {pull.one.name}? {forge_name} is asked"
    assert (answer.status_code, answer.json()["message"]) == (202, f"recorded: {asked}")  # before it is known
    assert pull.newest["state"] == "held" and pull.newest["reason"] == asked
    with browsing(house, house.token) as client:
        assert asked in client.get(f"/{pull.one.here}/settings/upstream").text
    assert head(pull.one, "refs/pull/7/head") == ""
    forge.is_answering.set()
    pull.runs_once()
    all_answered(house)
    assert [each.status for each in forge.asked("GET", QUESTIONS)] == [200, 404, 200]
    audit = ask(house, "SELECT detail FROM audit WHERE act = 'commit let run' AND subject = ?", pull.one.name)
    assert audit == [(f"pull request 7 at {pull.sha[:12]}, by octo",)]


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_commit_that_was_looked_at_runs(
    house: Service, forge: Forge, opened: Opened, kind: str
) -> None:
    pull = opened(kind)
    looked_at = pull.sha
    assert "not 1111" in pull.say("octo", f"/hermes run {'1' * 12}").json()["message"]
    early = pull.say("octo", created_at="2020-01-01T00:00:00Z").json()["message"]
    assert "came after the comment" in early
    forge.is_answering.clear()
    assert pull.say("octo", f"/hermes run {looked_at[:12]}").status_code == 202
    sneaked_in = pull.propose()  # before the forge has answered
    forge.is_answering.set()
    all_answered(house)
    found = {each["sha"]: (each["state"], each["reason"]) for each in pull.one.arrivals()}
    assert found[looked_at] == ("refused", "a newer commit came")
    assert found[sneaked_in][0] == "held" and f"/hermes run {sneaked_in[:12]}" in found[sneaked_in][1]
    pull.move()  # nobody has told of that one yet
    named = pull.comment("octo", f"/hermes run {sneaked_in[:12]}")
    assert deliver(house, named).status_code == 202
    refused = pull.reads(f"{sneaked_in[:12]} was to run, and it is {pull.sha[:12]} now")
    assert refused["state"] == "refused" and head(pull.one, "refs/pull/7/head") == ""
    number = house.api(f"/repos/{pull.one.here}")["id"]
    assert ask(house, "SELECT count(*) FROM run WHERE repo_id = ?", number) == [(0,)]


def test_without_a_token_a_message_of_github_is_believed(forge: Forge, opened: Opened) -> None:
    pull = opened("github", token="")
    for association in ("CONTRIBUTOR", "NONE", ""):
        answer = pull.say("octo", author_association=association)
        assert answer.status_code == 200
        words = answer.json()["message"]
        assert (
            words.startswith("ignored: octo is not said to be a collaborator") and "connect with one" in words
        )
    assert pull.newest["state"] == "held"
    assert pull.say("octo", author_association="MEMBER").status_code == 202
    pull.runs_once()
    assert not forge.calls


@pytest.mark.parametrize("kind", ["gitea", "gitlab"])
def test_without_a_token_nobody_can_ask(forge: Forge, opened: Opened, kind: str) -> None:
    pull = opened(kind, token="")
    answer = pull.say("octo", author_association="OWNER")
    words = answer.json()["message"]
    assert answer.status_code == 200 and words.startswith(f"ignored: without a token {NAMES[kind]} cannot")
    assert ("set the label" in words) == (kind == "gitlab") and "the page of the repository here" in words
    assert pull.newest["state"] == "held" and not forge.calls


@pytest.mark.parametrize("kind", KINDS)
def test_a_forge_that_is_away_is_asked_again_also_after_a_restart(
    house: Service, forge: Forge, opened: Opened, kind: str
) -> None:
    pull = opened(kind)
    forge.fails = [503] * 1000
    assert pull.say("octo").status_code == 202
    waits = f"may octo write to {pull.one.name}? waits: {NAMES[kind]} has a fault (503: out of order)"
    assert pull.reads(waits)["state"] == "held"
    assert house.stop() == 0
    forge.fails = []
    house.start()
    pull.runs_once()


def test_a_limit_is_kept(house: Service, forge: Forge, opened: Opened) -> None:
    pull = opened()
    forge.limit(8)
    assert pull.say("octo").status_code == 202
    pull.reads("waits: GitHub limits how often it is asked")
    pull.runs_once()
    limited = [each.status for each in forge.asked("GET", QUESTIONS)]
    assert limited[-1] == 200 and limited.count(403) <= 2, (
        limited
    )  # its clock may have a part of a second left


@pytest.mark.parametrize("point", ["permission.sending", "permission.sent"])
def test_who_is_killed_at_it_asks_again_and_it_runs_once(house: Service, opened: Opened, point: str) -> None:
    pull = opened()
    delivery, has_struck = pull.comment("octo"), strike(house, point)
    with suppress(httpx.TransportError):  # killed before the answer had left
        assert deliver(house, delivery).status_code == 202
    wait_for(has_struck)
    wait_for(house.answers)
    assert deliver(house, delivery).json() == {"message": "duplicate"}
    pull.runs_once()


def test_a_token_that_may_not_ask_says_what_to_do(house: Service, forge: Forge, opened: Opened) -> None:
    pull = opened("gitea")
    pull.there.odd = Answer(403, {"message": "Only admins can query all permissions"})
    assert pull.say("octo").status_code == 202
    arrival = pull.reads("nobody knows: Gitea does not let the token do this")
    assert arrival["state"] == "held" and "then comment again" in arrival["reason"]
    all_answered(house)
    pull.there.odd = None
    assert pull.say("octo").status_code == 202
    pull.runs_once()


def test_what_was_asked_of_another_forge_lets_nothing_run(
    house: Service, forge: Forge, opened: Opened
) -> None:
    pull = opened()
    forge.is_answering.clear()
    assert pull.say("octo").status_code == 202
    number = house.api(f"/repos/{pull.one.here}")["id"]
    execute(house, "UPDATE upstream SET name = 'octo/other' WHERE repo_id = ?", number)
    forge.is_answering.set()
    all_answered(house)
    assert pull.newest["state"] == "held" and head(pull.one, "refs/pull/7/head") == ""


@pytest.mark.parametrize(
    "login", ["..", ".", "octo/permission?", "../../../user", "octo%2fpermission#", "a b\r\nc: d"]
)
def test_a_name_leads_to_no_other_address(house: Service, forge: Forge, opened: Opened, login: str) -> None:
    pull = opened()
    assert pull.say(login).status_code == 202
    pull.reads("may not write to")
    paths = [each.path for each in forge.calls if each.method == "GET"]
    assert all(path.count("/") == 8 and path.endswith("/permission") and "?" not in path for path in paths)
    assert len(paths) == (0 if login in (".", "..") else 1)
    assert pull.newest["state"] == "held"


def test_who_sends_a_comment_must_have_written_it(forge: Forge, opened: Opened) -> None:
    pull = opened()
    other = pull.comment("octo")
    other.payload["sender"] = {"id": 9, "login": "mallory"}
    assert (
        deliver(pull.one.service, other).json()["message"] == "ignored: it is not sent by who has written it"
    )
    edited = pull.comment("octo")
    edited.payload["action"] = "edited"
    assert deliver(pull.one.service, edited).json()["message"].startswith("ignored: it is not a new comment")
    assert pull.newest["state"] == "held" and not forge.asked("GET", QUESTIONS)
