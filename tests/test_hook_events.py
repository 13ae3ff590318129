"""What the published payloads of each forge ask for, and how each is signed; nothing runs here."""

import base64
import hmac
import time
from typing import Any

import pytest

from hermes.forges.base import Author
from hooks import github, gitlab
from hooks.events import Approval, BadEvent, Ignored, Outcome, Payload, Wish
from hooks.signatures import is_signed
from tests.forge import NOTHING, ONE, Delivery, shape

SECRET = "s" * 32
_READERS = {"github": github, "gitea": github, "gitlab": gitlab}


def read(kind: str, event: str, payload: dict[str, Any]) -> Outcome:
    reader = gitlab.read if kind == "gitlab" else github.read
    return reader(kind, event, Payload(payload))


#: A payload, its event, and the ref, commit, pull request, state and page that follow from it.
ASKS: dict[str, tuple[str, tuple[str, str, int | None, str, str]]] = {
    "github.push": ("push", ("refs/heads/main", ONE, None, "waiting", f"/commit/{ONE}")),
    "github.push.minimal": ("push", ("refs/heads/main", ONE, None, "waiting", f"/commit/{ONE}")),
    "github.pull_request.opened": ("pull_request", ("refs/pull/7/head", ONE, 7, "held", "/pull/7")),
    "github.pull_request.minimal": ("pull_request", ("refs/heads/faster", ONE, 7, "waiting", "/pull/7")),
    "github.release.published": ("release", ("refs/release/v1.0", "", None, "waiting", "/releases/tag/v1.0")),
    "gitea.push": ("push", ("refs/heads/main", ONE, None, "waiting", f"/commit/{ONE}")),
    "gitea.pull_request.opened": ("pull_request", ("refs/pull/7/head", ONE, 7, "held", "/pulls/7")),
    "gitlab.push": ("Push Hook", ("refs/heads/main", ONE, None, "waiting", f"/-/commit/{ONE}")),
    "gitlab.tag_push": ("Tag Push Hook", ("refs/tags/v1.0", ONE, None, "waiting", f"/-/commit/{ONE}")),
    "gitlab.merge_request.open": (
        "Merge Request Hook",
        ("refs/pull/7/head", ONE, 7, "held", "/-/merge_requests/7"),
    ),
}


@pytest.mark.parametrize("name", ASKS)
def test_published_payloads_ask_for_what_they_say(name: str) -> None:
    event, (ref, sha, number, state, page) = ASKS[name]
    kind = name.partition(".")[0]
    payload = shape(name)
    assert _READERS[kind].full_name(Payload(payload)) == "octo/pi"
    wish = read(kind, event, payload)
    assert isinstance(wish, Wish)
    assert (wish.ref, wish.sha, wish.pull_request, wish.state, wish.path) == (ref, sha, number, state, page)
    assert wish.sender in ("mona", "octo") and wish.sender in wish.words


def test_approvals_name_the_commit_or_the_moment() -> None:
    assert read("github", "pull_request", shape("github.pull_request.labeled")) == Approval(7, ONE, "octo")
    said = read("github", "issue_comment", shape("github.issue_comment.created"))
    assert isinstance(said, Approval) and said[:3] == (7, "", "octo") and said.told_at
    assert (said.author, said.is_said) == (Author("octo", 1047), True)
    named = shape("github.issue_comment.minimal", comment__body=f"/hermes run {ONE[:7].upper()}\nplease")
    assert read("github", "issue_comment", named)[:2] == (7, ONE[:7])
    of_gitea = read("gitea", "issue_comment", shape("gitea.issue_comment.created"))
    assert of_gitea == Approval(7, "", "octo", said.told_at, Author("octo", 11))
    note = read("gitlab", "Note Hook", shape("gitlab.note"))
    assert note == Approval(7, ONE, "octo", said.told_at, Author("octo", 5))  # if nothing came after it
    undated = shape("gitlab.note", object_attributes__created_at="soon")
    unknown = read("gitlab", "Note Hook", undated)
    assert isinstance(unknown, Approval) and unknown.told_at == 0.0  # before every commit
    noted = shape("gitlab.note", object_attributes__note=f"/hermes run {ONE[:7]}")
    assert read("gitlab", "Note Hook", noted) == Approval(7, ONE[:7], "octo", None, Author("octo", 5))
    labelled = shape("gitlab.merge_request.open", object_attributes__action="update")
    labelled["changes"] = {"labels": {"previous": [], "current": [{"title": "hermes"}]}}
    assert read("gitlab", "Merge Request Hook", labelled) == Approval(7, ONE, "mona")


@pytest.mark.parametrize(
    ("kind", "event", "name", "changes"),
    [
        ("github", "ping", "github.ping", {}),
        ("github", "pull_request", "github.pull_request.opened", {"action": "edited"}),
        ("github", "pull_request", "github.pull_request.minimal", {"action": "closed"}),
        ("github", "pull_request", "github.pull_request.labeled", {"label__name": "bug"}),
        ("github", "issue_comment", "github.issue_comment.created", {"action": "edited"}),
        ("github", "issue_comment", "github.issue_comment.created", {"issue__pull_request": None}),
        ("github", "issue_comment", "github.issue_comment.created", {"sender__id": 1}),
        ("gitea", "issue_comment", "gitea.issue_comment.created", {"action": "edited"}),
        (
            "gitea",
            "issue_comment",
            "gitea.issue_comment.created",
            {"is_pull": False, "issue__pull_request": None},
        ),
        ("gitlab", "Note Hook", "gitlab.note", {"object_attributes__action": "update"}),
        ("gitlab", "Note Hook", "gitlab.note", {"object_attributes__action": None}),  # GitLab before 16.11
        ("gitlab", "Note Hook", "gitlab.note", {"object_attributes__noteable_type": "Issue"}),
        ("gitlab", "Note Hook", "gitlab.note", {"object_attributes__author_id": 4}),
        ("gitlab", "Confidential Note Hook", "gitlab.note", {}),
        ("github", "issue_comment", "github.issue_comment.created", {"comment__body": "/hermes running"}),
        ("github", "release", "github.release.published", {"action": "created"}),
        ("github", "release", "github.release.published", {"release__draft": True}),
        (
            "gitlab",
            "Merge Request Hook",
            "gitlab.merge_request.open",
            {"object_attributes__action": "update"},
        ),
        ("gitlab", "Job Hook", "gitlab.push", {}),
    ],
)
def test_what_is_not_for_us_is_ignored(kind: str, event: str, name: str, changes: dict[str, Any]) -> None:
    assert isinstance(read(kind, event, shape(name, **changes)), Ignored)


def test_a_fork_that_is_gone_is_a_stranger_s() -> None:
    wish = read("github", "pull_request", shape("github.pull_request.opened", pull_request__head__repo=None))
    assert isinstance(wish, Wish) and wish.state == "held"


def test_a_closed_one_takes_its_ref_away() -> None:
    wish = read("github", "pull_request", shape("github.pull_request.opened", action="closed"))
    assert isinstance(wish, Wish) and (wish.ref, wish.sha) == ("refs/pull/7/head", NOTHING)


@pytest.mark.parametrize("payload", [None, [], "x", {}, {"ref": 1}, {"ref": "refs/heads/x", "after": {}}])
def test_what_cannot_be_is_said(payload: Any) -> None:
    for kind, event in (("github", "push"), ("gitlab", "Push Hook"), ("github", "pull_request")):
        with pytest.raises(BadEvent):
            _READERS[kind].read(kind, event, Payload(payload))


@pytest.mark.parametrize("kind", _READERS)
def test_only_the_right_secret_signs(kind: str) -> None:
    def signed(secret: str, known: str, body: bytes = b"{}") -> bool:
        sent = Delivery(kind, "push", {}, secret).headers(b"{}")
        return is_signed(kind, known, {name.lower(): value for name, value in sent.items()}, body)

    assert signed(SECRET, SECRET)
    assert not signed("t" * 32, SECRET)
    assert not signed("short", "short") and not signed("", "")
    assert kind == "gitlab" or not signed(SECRET, SECRET, b"{ }")
    assert not is_signed(kind, SECRET, {}, b"{}")


def test_signatures_of_newer_gitlabs_count_and_expire() -> None:
    key = b"k" * 32
    secret = "whsec_" + base64.b64encode(key).decode()

    def headers(at: float, token: str = secret) -> dict[str, str]:
        stamp = str(int(at))
        digest = hmac.digest(key, f"id.{stamp}.".encode() + b"{}", "sha256")
        signature = "v1," + base64.b64encode(digest).decode()
        own = {"webhook-id": "id", "webhook-timestamp": stamp, "webhook-signature": f"v1,AAAA {signature}"}
        return own | {"x-gitlab-token": token}

    now = time.time()
    assert is_signed("gitlab", secret, headers(now), b"{}")
    assert not is_signed("gitlab", secret, headers(now), b"{ }")  # the token alone is not enough then
    assert not is_signed("gitlab", secret, headers(now - 3600), b"{}")
    assert not is_signed("gitlab", secret, headers(now + 3600), b"{}")
