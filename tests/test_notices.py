"""Others are told how runs ended: webhooks, mail and chats that fail, are slow, lead astray or are gone."""

import hmac
import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.access_tools import browsing, execute, open_house
from tests.listener import Listener, Taken, listening
from tests.mailbox import Mailbox, mailbox
from tests.programs import shell
from tests.service import PATIENCE_S, Pushed, Service, free_port, wait_for

GOOD, BAD = "echo all is well", "echo first line; printf 'it \\033[31mbroke\\033[0m\\n'; exit 3"
HOSTILE = "<!channel> @all [x](http://evil.example) *b* `c`"


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    with listening() as one:
        yield one


@pytest.fixture(scope="module")
def post() -> Iterator[Mailbox]:
    with mailbox() as one:
        yield one


@pytest.fixture(scope="module")
def house(post: Mailbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance that may reach this machine, with a server for mail."""
    settings = {
        "HERMES_TRUST": "all",
        "HERMES_POLL": "1",
        "HERMES_CALLBACK_NETWORKS": "127.0.0.0/8,::1",
        "HERMES_SMTP_URL": f"smtp://127.0.0.1:{post.port}",
        "HERMES_MAIL_FROM": "Lab <lab@gpu.example>",
    }
    yield from open_house(tmp_path_factory.mktemp("told"), **settings)


class Repo:
    """A repository that breaks and is fixed."""

    def __init__(self, house: Service, name: str) -> None:
        self.house, self.name = house, name
        self.base = f"/api/v1/repos/alice/{name}/notifications"
        self.pushed: Pushed | None = None

    def push(self, program: str, subject: str = "more") -> dict[str, Any]:
        """A commit to main, and its run when it has ended."""
        if self.pushed is None:
            tree = self.house.worktree(shell(program), self.name)
            tree.git("commit", "-q", "--amend", "-m", subject)
        else:
            tree = self.pushed.tree.write({"main.sh": program})
            tree.commit(subject)
        self.pushed = self.house.push(tree, repo=f"alice/{self.name}")
        return self.house.run_of(self.pushed)

    def add(self, kind: str, target: str, **more: Any) -> dict[str, Any]:
        """Somebody who is told."""
        made: dict[str, Any] = asked(self.house, "POST", self.base, {"kind": kind, "target": target, **more})
        return made

    def one(self, number: int) -> dict[str, Any]:
        """How it is now."""
        found: dict[str, Any] = asked(self.house, "GET", f"{self.base}/{number}")
        return found

    def attempts(self, number: int) -> list[dict[str, Any]]:
        """The newest first."""
        found: list[dict[str, Any]] = asked(self.house, "GET", f"{self.base}/{number}/attempts")["attempts"]
        return found


def asked(house: Service, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """The answer, which is good."""
    with house.client() as client:
        answer = client.request(method, path, json=body)
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


@pytest.fixture(scope="module")
def repo(house: Service) -> Repo:
    """One that most tests share."""
    one = Repo(house, "told")
    one.push(GOOD)
    return one


def is_signed(taken: Taken, secret: str) -> bool:
    at, _, sent = taken.headers["X-Hermes-Signature"].removeprefix("t=").partition(",v1=")
    right = hmac.digest(secret.encode(), f"{at}.".encode() + taken.body, "sha256").hex()
    return hmac.compare_digest(sent, right) and abs(time.time() - int(at)) < 10 * PATIENCE_S


def test_a_webhook_hears_that_it_broke_and_that_it_is_fixed(repo: Repo, listener: Listener) -> None:
    made = repo.add("webhook", listener.url("/quiet?key=1"))
    assert made["shown"] == f"http://localhost:{listener.port}/…" and len(made["secret"]) > 40
    every = repo.add("webhook", listener.url("/all"), events="all", secret="a secret of our own choice")
    assert every["secret"] == "a secret of our own choice"
    runs = [repo.push(program, HOSTILE) for program in (GOOD, BAD, BAD, GOOD)]
    wait_for(lambda: len(listener.at("/all")) == 4 and len(listener.at("/quiet?key=1")) == 2)
    bodies = [json.loads(each.body) for each in listener.at("/all")]
    assert [body["event"] for body in bodies] == ["run.succeeded", "run.broke", "run.failed", "run.fixed"]
    assert [body["id"] for body in bodies] == [run["id"] for run in runs]
    quiet = listener.at("/quiet?key=1")
    assert [each.headers["X-Hermes-Event"] for each in quiet] == ["run.broke", "run.fixed"]
    assert all(is_signed(each, made["secret"]) for each in quiet)
    assert all(is_signed(each, every["secret"]) for each in listener.at("/all"))
    told = json.loads(quiet[0].body)
    record = repo.house.api(f"/runs/{runs[1]['id']}")
    assert {name: told[name] for name in record} == record
    assert (told["branch"], told["previous"]) == ("main", runs[0]["id"])
    assert quiet[0].headers["X-Hermes-Delivery"] == f"notice-{made['id']}-run-{runs[1]['id']}"
    assert "secret" not in asked(repo.house, "GET", f"{repo.base}/{made['id']}")


def test_who_fails_is_asked_again_and_who_leads_astray_is_not_followed(
    repo: Repo, listener: Listener
) -> None:
    listener.answers |= {"/fails": [500, 204], "/astray": [302, 204]}
    numbers = [repo.add("webhook", listener.url(path))["id"] for path in ("/fails", "/astray")]
    repo.push(BAD)
    for number, status in zip(numbers, (500, 302), strict=True):
        tries = wait_for(lambda number=number: _two(repo, number))  # type: ignore[misc]
        assert [(each["status"], each["error"]) for each in tries] == [
            (204, ""),
            (status, f"the answer was {status}"),
        ]
        one = repo.one(number)
        assert one["error"] == "" and one["taken_at"] == tries[0]["at"] and one["paused_at"] is None
    assert listener.at("/led-astray") == []
    assert len({each.headers["X-Hermes-Delivery"] for each in listener.at("/fails")}) == 1
    repo.push(GOOD)
    wait_for(lambda: len(listener.at("/fails")) == 3)


def _two(repo: Repo, number: int) -> list[dict[str, Any]]:
    found = repo.attempts(number)
    return found if len(found) == 2 else []


def test_who_is_slow_holds_up_nobody_else_and_gets_one_at_a_time(house: Service, listener: Listener) -> None:
    slow = Repo(house, "slow")
    slow.push(GOOD)
    listener.held.add("/slow")
    slow.add("webhook", listener.url("/slow"), events="all")
    slow.add("webhook", listener.url("/swift"), events="all")
    runs = [slow.push(program) for program in (GOOD, BAD)]  # neither waits for who is told
    wait_for(lambda: len(listener.at("/swift")) == 2 and listener.at("/slow"))
    assert _told_of(listener, "/slow") == [runs[0]["id"]]
    listener.released.set()
    wait_for(lambda: len(_told_of(listener, "/slow")) == 2)
    assert _told_of(listener, "/slow") == [run["id"] for run in runs]


def _told_of(listener: Listener, path: str) -> list[int]:
    """Of which runs, in this order; who is held for long is told once more."""
    return list(dict.fromkeys(json.loads(each.body)["id"] for each in listener.at(path)))


def test_who_is_gone_is_paused_until_somebody_resumes_it(repo: Repo, listener: Listener) -> None:
    listener.answers["/gone"] = [410]
    number = repo.add("webhook", listener.url("/gone"), events="all")["id"]
    repo.push(GOOD)
    wait_for(lambda: repo.one(number)["paused_at"])
    assert "gone for good (410)" in repo.one(number)["paused_why"]
    with browsing(repo.house, repo.house.token) as person:
        page = person.get("/alice/told/settings/notifications").text
        assert "gone for good (410)" in page and "Resume" in page
        attempt = repo.attempts(number)[0]["id"]
        form = {"do": "again", "notification": str(number), "attempt": str(attempt)}
        refused = person.post("/alice/told/settings/notifications", data=form)
        assert refused.status_code == 403 and "it is paused" in refused.text
    repo.push(GOOD)
    listener.answers["/gone"] = [204]
    asked(repo.house, "PATCH", f"{repo.base}/{number}", {"paused": False})
    last = repo.push(GOOD)
    wait_for(lambda: len(listener.at("/gone")) == 2)
    assert json.loads(listener.at("/gone")[1].body)["id"] == last["id"], "what ended meanwhile is not kept"


def test_a_message_is_sent_again_when_somebody_asks(repo: Repo, listener: Listener) -> None:
    number = repo.add("webhook", listener.url("/again"), events="all")["id"]
    repo.push(GOOD)
    first = wait_for(lambda: repo.attempts(number))[0]
    assert asked(repo.house, "POST", f"{repo.base}/{number}/attempts/{first['id']}/again") is None
    wait_for(lambda: len(repo.attempts(number)) == 2)
    one, other = (json.loads(each.body) for each in listener.at("/again"))
    assert one == other
    with browsing(repo.house, repo.house.token) as person:
        here = "/alice/told/settings/notifications"
        form = {"do": "again", "notification": str(number), "attempt": str(first["id"])}
        page = person.post(here, data=form, follow_redirects=True).text
        assert "on its way once more" in page
    wait_for(lambda: len(listener.at("/again")) == 3)


def test_a_test_message_says_what_came_of_it(repo: Repo, listener: Listener) -> None:
    listener.answers["/refuses"] = [403]
    good = repo.add("webhook", listener.url("/tested"))
    bad, away = (
        repo.add("webhook", url)["id"]
        for url in (listener.url("/refuses"), f"http://localhost:{free_port()}/")
    )
    tried = asked(repo.house, "POST", f"{repo.base}/{good['id']}/test")
    assert (tried["event"], tried["status"], tried["error"], tried["run"]) == ("test", 204, "", None)
    taken = listener.at("/tested")[0]
    assert json.loads(taken.body)["event"] == "test" and is_signed(taken, good["secret"])
    assert asked(repo.house, "POST", f"{repo.base}/{bad}/test")["error"] == "the answer was 403"
    tried = asked(repo.house, "POST", f"{repo.base}/{away}/test")
    assert tried["status"] is None and "connect" in tried["error"].lower()
    assert [each["event"] for each in repo.attempts(away)] == ["test"]


def test_chats_get_their_own_forms_and_nobody_is_called(repo: Repo, listener: Listener) -> None:
    chats = ("slack", "mattermost", "discord", "ntfy")
    for chat in chats:
        repo.add(chat, listener.url(f"/{chat}"))
    run = repo.push(BAD, HOSTILE)
    repo.push(GOOD, HOSTILE)
    wait_for(lambda: all(len(listener.at(f"/{chat}")) == 2 for chat in chats))
    first = {chat: listener.at(f"/{chat}")[0] for chat in chats}
    url = f"{repo.house.environment().get('HERMES_URL') or f'http://localhost:{repo.house.port}'}/runs/{run['id']}"
    slack = json.loads(first["slack"].body)["text"]
    assert slack.startswith(f"❌ *<{url}|alice/told main broke>*\nrun {run['id']} failed: ")
    assert "<!channel>" not in slack and "&lt;!channel&gt;" in slack
    mattermost, discord = (json.loads(first[chat].body) for chat in ("mattermost", "discord"))
    assert "@all" not in mattermost["text"] and "](http://evil" not in mattermost["text"]
    assert f"[alice/told main broke]({url})" in mattermost["text"] == discord["content"]
    assert discord["allowed_mentions"] == {"parse": []} and len(discord["content"]) < 2000
    ntfy = first["ntfy"]
    assert (ntfy.headers["Title"], ntfy.headers["Click"]) == ("alice/told main broke", url)
    assert HOSTILE in ntfy.body.decode() and ntfy.headers["Tags"] == "x"
    assert listener.at("/ntfy")[1].headers["Tags"] == "white_check_mark"


def test_mail_threads_and_says_why_and_how_to_end_it(house: Service, post: Mailbox) -> None:
    mailed = Repo(house, "mailed")
    mailed.push(GOOD)
    number = mailed.add("mail", "ada@example.org", events="failures")["id"]
    run = mailed.push(BAD, "Ünïcode & <b>")
    mailed.push(GOOD)
    wait_for(lambda: len(_mails(post, "ada@example.org")) == 2)
    first, second = _mails(post, "ada@example.org")
    assert first["Subject"] == "alice/mailed main broke" and second["Subject"] == "alice/mailed main is fixed"
    assert first["From"] == "Lab <lab@gpu.example>" and "mail FROM:<lab@gpu.example>" in post.said
    assert first["Message-ID"] != second["Message-ID"] and first["In-Reply-To"] == second["In-Reply-To"]
    plain, html = (first.get_body((kind,)) for kind in ("plain", "html"))
    assert plain is not None and html is not None
    text = plain.get_content()
    for words in (
        f"run {run['id']} failed",
        "Ünïcode & <b>",
        f"/runs/{run['id']}",
        "    first line",
        "    it broke",
    ):
        assert words in text, text
    assert "You get this because" in text and "Ünïcode &amp; &lt;b&gt;" in html.get_content()
    assert first["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    stop = first["List-Unsubscribe"].strip("<>").partition(str(house.port))[2]
    with httpx.Client(base_url=house.url) as stranger:
        assert stranger.get(stop).status_code == 200 and mailed.one(number)["paused_at"] is None
        assert stranger.post(f"{stop}0").status_code == 404
        ended = stranger.post(stop, data={"List-Unsubscribe": "One-Click"})
    assert ended.status_code == 200 and "ada@example.org gets no more" in ended.text
    assert "no more mail" in mailed.one(number)["paused_why"]
    with house.client() as client:
        assert client.patch(f"{mailed.base}/{number}", json={"paused": False}).status_code == 403
        assert client.post(f"{mailed.base}/{number}/test").status_code == 403
    assert len(_mails(post, "ada@example.org")) == 2


def _mails(post: Mailbox, receiver: str) -> list[EmailMessage]:
    return [mail for to, mail in post.taken if to == receiver]


def test_mail_that_is_refused(house: Service, post: Mailbox) -> None:
    """For a while: it is tried again; for good: it is paused."""
    refused = Repo(house, "refused")
    refused.push(GOOD)
    post.answers |= {"busy@example.org": "451 later", "none@example.org": "550 no such user"}
    busy, none = (refused.add("mail", f"{name}@example.org")["id"] for name in ("busy", "none"))
    refused.push(BAD)
    wait_for(lambda: refused.one(none)["paused_at"])
    assert "550 no such user" in refused.one(none)["paused_why"]
    wait_for(lambda: refused.attempts(busy))
    del post.answers["busy@example.org"]
    wait_for(lambda: refused.attempts(busy)[0]["error"] == "")
    assert "451 later" in refused.attempts(busy)[-1]["error"] and refused.one(busy)["paused_at"] is None


def test_what_cannot_be_added(house: Service, repo: Repo) -> None:
    refused = {
        ("webhook", "file:///etc/passwd"): 400,
        ("slack", "ftp://example.org/"): 400,
        ("webhook", "http://10.0.0.1/"): 400,
        ("webhook", "http://169.254.169.254/latest/meta-data/"): 400,
        ("ntfy", "https://ntfy.sh/"): 400,
        ("mail", "ada"): 400,
        ("mail", "ada@example.org\nBcc: all@example.org"): 400,
        ("telegram", "https://example.org/"): 400,
    }
    with house.client() as client:
        for (kind, target), status in refused.items():
            answer = client.post(repo.base, json={"kind": kind, "target": target})
            assert answer.status_code == status and answer.json()["error"]["hint"], (
                kind,
                target,
                answer.text,
            )
        for more in ({"events": "some"}, {"branches": ["a b"]}, {"secret": "short"}):
            body = {"kind": "webhook", "target": "https://example.org/", **more}
            assert client.post(repo.base, json=body).status_code == 400, more
        mine, mail = "/api/v1/notifications", {"kind": "mail", "target": "alice@example.org"}
        assert client.post(mine, json=mail).status_code == 201
        second = client.post(mine, json=mail | {"target": "bob@example.org"})
        assert second.status_code == 403 and "has an address already" in second.text


def test_who_may_and_what_the_audit_log_says(house: Service, repo: Repo) -> None:
    bob, root = (
        house.hermes("admin", "user", "add", *words).stdout.strip() for words in (["bob"], ["--admin", "r"])
    )
    number = repo.add("webhook", "https://hermes.invalid/")["id"]
    with house.client(bob) as other, browsing(house, house.token) as owner:
        assert other.get(repo.base).status_code == 404
        for role, status in (("read", 403), ("write", 200)):
            form = {"do": "set-collaborator", "user": "bob", "role": role}
            assert owner.post("/alice/told/settings", data=form).status_code == 303
            assert other.get(repo.base).status_code == status
        assert other.get(f"/api/v1/notifications/{number}").status_code == 404, "it is of the repository"
        body = {"kind": "webhook", "target": "https://hermes.invalid/", "events": "all"}
        theirs = other.post(repo.base, json=body).json()["id"]
        owner.post("/alice/told/settings", data={"do": "remove-collaborator", "user": "bob"})
        repo.push(GOOD)
        wait_for(lambda: repo.one(theirs)["paused_at"])
        assert "may not push there any more" in repo.one(theirs)["paused_why"]
        for each in (number, theirs):
            assert owner.post(
                "/alice/told/settings/notifications", data={"do": "remove", "notification": str(each)}
            ).is_redirect
        assert owner.get("/alice/told/settings/notifications").text.count("hermes.invalid") == 0
    with browsing(house, root) as admin:
        page = admin.get("/admin/audit?subject=alice/told").text
        for act in ("notification added", "notification removed"):
            assert act in page


def test_by_the_command_line(house: Service, repo: Repo, listener: Listener, tmp_path: Path) -> None:
    house.env |= {"HERMES_TOKEN": house.token, "HERMES_SERVER": house.url, "XDG_CONFIG_HOME": str(tmp_path)}
    of_repo = ("--repo", "alice/told")
    made = house.hermes("notify", "add", "webhook", listener.url("/cli"), *of_repo, "--on", "all").stdout
    found = re.search(r"^notification (\d+): webhook to ", made)
    assert found and "shown this once: " in made
    number = found[1]
    assert house.hermes("notify", "test", number, *of_repo).stdout.startswith("taken after")
    tries = json.loads(house.hermes("notify", "attempts", number, *of_repo, "--json").stdout)
    assert [each["event"] for each in tries] == ["test"]
    house.hermes("notify", "change", number, *of_repo, "--on", "failures", "--branch", "release/*")
    rows = json.loads(house.hermes("notify", "list", *of_repo, "--json").stdout)
    mine = next(each for each in rows if each["id"] == int(number))
    assert (mine["events"], mine["branches"]) == ("failures", ["release/*"])
    assert "paused" in house.hermes("notify", "pause", number, *of_repo).stdout
    assert "paused: by alice" in house.hermes("notify", "list", *of_repo).stdout
    assert "told on failures" in house.hermes("notify", "resume", number, *of_repo).stdout
    listener.answers["/cli"] = [500]
    failed = house.hermes("notify", "test", number, *of_repo, check=False)
    assert failed.returncode == 1 and "it was not taken: the answer was 500" in failed.stderr
    assert "is removed" in house.hermes("notify", "remove", number, *of_repo).stdout
    assert house.hermes("notify", "test", number, *of_repo, check=False).returncode == 1
    for name in ("HERMES_TOKEN", "HERMES_SERVER", "XDG_CONFIG_HOME"):
        del house.env[name]


def test_the_log_is_bounded_and_no_address_lies_open(house: Service, repo: Repo, listener: Listener) -> None:
    number = repo.add("webhook", listener.url("/path-that-is-secret"))["id"]
    with house.client() as client, ThreadPoolExecutor(31) as at_once:  # all of them within a minute
        ask = partial(client.post, f"{repo.base}/{number}/test")
        tests = [each.result().status_code for each in [at_once.submit(ask) for _ in range(31)]]
    assert set(tests) == {200, 429}
    row = "(notification_id, event, error, duration_s, at) VALUES (?, 'test', '', 0, 0)"
    for _ in range(60):
        execute(house, f"INSERT INTO notice_attempt {row}", number)
    repo.push(BAD)
    wait_for(lambda: len(repo.attempts(number)) == 50 and repo.attempts(number)[0]["event"] == "broke")
    repo.push(GOOD)
    wait_for(lambda: listener.at("/path-that-is-secret")[-1].headers["X-Hermes-Event"] == "run.fixed")
    for path in (house.data / "hermes.db", house.data / "hermes.db-wal", house.data / "service.log"):
        assert b"path-that-is-secret" not in path.read_bytes(), path


def test_a_restart_in_between_loses_nothing(house: Service, listener: Listener) -> None:
    """Its receiver is away; so is the service for a while."""
    port, again = free_port(), Repo(house, "restarted")
    again.push(GOOD)
    number = again.add("webhook", f"http://localhost:{port}/away")["id"]
    run = again.push(BAD)
    wait_for(lambda: again.attempts(number))
    assert house.stop() == 0
    house.start()
    with listening(port) as late:
        wait_for(lambda: late.at("/away"))
        wait_for(lambda: again.attempts(number)[0]["error"] == "")
        assert [json.loads(each.body)["id"] for each in late.at("/away")] == [run["id"]]
