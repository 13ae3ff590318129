"""What is asked of GitHub, Gitea and GitLab, by real HTTP: the same wishes in the words of each of them."""

from collections.abc import Callable, Iterator
from ipaddress import ip_network

import pytest

from hermes.forges.base import EVENTS, Author, Hook, Outcome, Seen, Status
from hermes.forges.base import Forge as Asked
from hermes.forges.open import hook_steps, open_forge, token_steps
from hermes.forges.talk import Denied, Gates, Limited, Rejected
from hermes.outward import Undelivered
from hermes.upstreams import KINDS, place_of
from tests.stand_in_forge import Answer, Forge, There, forging, retry_after, used_up

SHA = "3f2c1aa" + "0" * 33
LOCAL = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
MARK = "<!-- hermes of us -->"
STATES = {
    "github": ["pending", "pending", "success", "failure", "error", "error"],
    "gitea": ["pending", "pending", "success", "failure", "error", "error"],
    "gitlab": ["pending", "running", "success", "failed", "canceled", "failed"],
}


@pytest.fixture
def forge() -> Iterator[Forge]:
    with forging() as one:
        yield one


@pytest.fixture
def there(forge: Forge) -> There:
    return forge.add("octo/pi")


def asked_by(forge: Forge, kind: str = "github", token: str = "good", gates: Gates | None = None) -> Asked:
    return open_forge(place_of(kind, "octo/pi", forge.url), token, LOCAL, gates or Gates())


@pytest.mark.parametrize("kind", KINDS)
async def test_states_of_commits(forge: Forge, there: There, kind: str) -> None:
    asked = asked_by(forge, kind)
    for outcome in Outcome:
        await asked.put_status(Status(SHA, outcome, "words " * 60, "http://us/commit"))
    assert there.states(SHA) == STATES[kind]
    last = there.last(SHA)
    assert last["target_url"] == "http://us/commit" and last.get("context", last.get("name")) == "hermes"
    assert len(last["description"]) == (255 if kind == "gitlab" else 140) and last["description"][-1] == "…"
    heads = forge.calls[-1].heads
    shown = heads.get("PRIVATE-TOKEN") if kind == "gitlab" else heads["Authorization"].split()[-1]
    assert shown == "good" and heads["User-Agent"].startswith("hermes/")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_webhook_is_made_once_and_then_brought_up_to_date(
    forge: Forge, there: There, kind: str
) -> None:
    asked, hook = asked_by(forge, kind), Hook("http://us/webhooks/alice/pi", "s" * 32)
    there.hooks += [
        {"id": number, "config": {"url": f"http://them/{number}"}, "url": ""} for number in range(65)
    ]
    assert await asked.put_hook(hook)
    assert not await asked.put_hook(Hook(hook.url, "t" * 32))
    assert len(there.hooks) == 66  # it is on the third page of the list
    mine = there.hooks[-1]
    if kind == "gitlab":
        assert (mine["url"], mine["token"]) == (hook.url, "t" * 32) and mine["merge_requests_events"] is True
    else:
        config = {"url": hook.url, "content_type": "json", "secret": "t" * 32, "insecure_ssl": "0"}
        assert mine["config"] == config and mine["events"] == list(EVENTS) and mine["active"] is True
    assert mine.get("type") == ("gitea" if kind == "gitea" else None)
    assert await asked.remove_hook(hook.url)
    assert not await asked.remove_hook(hook.url) and len(there.hooks) == 65


@pytest.mark.parametrize("kind", KINDS)
async def test_a_comment_is_found_by_its_mark(forge: Forge, there: There, kind: str) -> None:
    asked = asked_by(forge, kind)
    stranger = {"login": "mallory"}, {"username": "mallory"}
    there.comments = [
        {"id": number, "of": "7", "user": stranger[0], "author": stranger[1], "body": f"{MARK}\ncopied"}
        for number in range(40)
    ]
    assert await asked.find_comment(7, MARK) == ""
    made = await asked.put_comment(7, f"{MARK}\nfirst")
    assert await asked.find_comment(7, MARK) == made
    assert await asked.find_comment(8, MARK) == ""
    assert await asked.put_comment(7, f"{MARK}\nsecond", made) == made
    assert [each["body"] for each in there.comments[40:]] == [f"{MARK}\nsecond"]


async def test_the_base_of_a_pull_request(forge: Forge, there: There) -> None:
    there.pulls[7] = {
        "base": {"ref": "main", "sha": SHA},
        "target_branch": "main",
        "diff_refs": {"base_sha": SHA},
    }
    for kind in KINDS:
        base = await asked_by(forge, kind).base_of(7)
        assert (base.ref, base.sha) == ("main", SHA)


@pytest.mark.parametrize("kind", KINDS)
async def test_who_may_write_is_who_may_push(forge: Forge, there: There, kind: str) -> None:
    mays = ("owner", "admin", "maintain", "write", "read", "none")
    there.people = {may: (number, may) for number, may in enumerate(mays, 5)}
    there.people["dependabot[bot]"] = (20, "none")
    asked = asked_by(forge, kind)
    yes = [each for each, (number, _) in there.people.items() if await asked.may_write(Author(each, number))]
    words = {"github": mays[1:4], "gitea": ("owner", "admin", "write"), "gitlab": mays[:4]}
    assert yes == list(words[kind])
    assert not await asked.may_write(Author("nobody", 99))  # 404
    assert not await asked.may_write(Author("write", 6 if kind != "gitlab" else 10))  # the name of another


#: What is no yes, whatever else it may mean.
NONSENSE: list[object] = [
    [],
    "admin",
    True,
    {},
    {"permission": True, "user": {"id": 5}, "id": 5, "access_level": True, "state": "active"},
    {"permission": ["write"], "user": {"id": 5}, "id": 5, "access_level": "40", "state": "active"},
    {"permission": "WRITE", "user": {"id": 5}, "id": 5, "access_level": [40], "state": "active"},
    {"permission": "write", "user": None, "id": None, "access_level": 40, "state": "active"},
    {"permission": "write", "user": {"id": "5"}, "id": "5", "access_level": 40, "state": "active"},
    {"permission": "write", "user": {"id": 6}, "id": 6, "access_level": 40, "state": "active"},
    {"permission": "none", "user": {"id": 5}, "id": 5, "access_level": 40, "state": "blocked"},
    {"permission": "read", "user": {"id": 5}, "id": 5, "access_level": 40},
    {
        "permission": "read",
        "role_name": "write",
        "user": {"id": 5},
        "id": 5,
        "access_level": 40,
        "state": "active",
        "membership_state": "awaiting",
    },
]


@pytest.mark.parametrize("kind", KINDS)
async def test_nonsense_allows_nothing(forge: Forge, there: There, kind: str) -> None:
    there.people = {"octo": (5, "write")}
    asked = asked_by(forge, kind)
    assert await asked.may_write(Author("octo", 5))
    for odd in NONSENSE:
        there.odd = Answer(200, odd)
        assert not await asked.may_write(Author("octo", 5)), odd
    for status in (404, 422):
        forge.fails = [status]
        assert not await asked.may_write(Author("octo", 5))
    for status in (401, 403):
        forge.fails = [status]
        with pytest.raises(Denied):
            await asked.may_write(Author("octo", 5))


async def test_what_a_token_lacks_is_said(forge: Forge, there: There) -> None:
    assert await asked_by(forge).look() == Seen("octo/pi", False, ())
    forge.tokens["classic"] = "read:user, repo:status"
    lacks = (await asked_by(forge, token="classic").look()).lacks
    assert [each.partition(":")[0] for each in lacks] == ["webhooks", "comments on pull requests"]
    there.permissions = {"admin": False, "push": False, "pull": True}
    for kind in KINDS:
        lacks = (await asked_by(forge, kind).look()).lacks
        assert len(lacks) == 2 and "commit statuses" in lacks[0] and "webhooks" in lacks[1], lacks


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, Denied, "does not take the token (401: out of order)"),
        (403, Denied, "does not let the token do this in octo/pi"),
        (404, Denied, "shows this token no such thing in octo/pi"),
        (301, Denied, "octo/pi has moved (301)"),
        (422, Rejected, "does not take it (422: out of order)"),
        (503, Undelivered, "GitHub has a fault (503: out of order)"),
    ],
)
async def test_refusals_are_said_in_words(
    forge: Forge, there: There, status: int, kind: type[Undelivered], words: str
) -> None:
    forge.fails = [status]
    with pytest.raises(Undelivered) as caught:
        await asked_by(forge).look()
    assert type(caught.value) is kind and words in str(caught.value)
    assert len(forge.calls) == 1  # a redirect is not followed


@pytest.mark.parametrize("heads", [retry_after, used_up])
async def test_while_a_limit_lasts_nothing_is_asked(
    forge: Forge, there: There, heads: Callable[[float], dict[str, str]]
) -> None:
    gates = Gates()
    forge.limit(1000, heads)
    for _ in range(3):
        with pytest.raises(Limited) as caught:
            await asked_by(forge, gates=gates).look()
        assert 900 < (caught.value.wait_s or 0) <= 1002
    assert len(forge.calls) == 1
    with pytest.raises(Limited):
        await asked_by(forge, token="another", gates=gates).look()
    assert len(forge.calls) == 2  # another token may have room


async def test_after_the_last_request_that_is_allowed_nothing_is_asked(forge: Forge, there: There) -> None:
    gates = Gates()
    forge.more_heads = used_up(1000)
    await asked_by(forge, gates=gates).look()
    with pytest.raises(Limited, match="limits how often it is asked"):
        await asked_by(forge, gates=gates).look()
    assert len(forge.calls) == 1


async def test_a_forge_that_does_not_work_is_left_alone_for_a_moment(forge: Forge, there: There) -> None:
    gates = Gates()
    forge.fails = [500]
    with pytest.raises(Undelivered):
        await asked_by(forge, gates=gates).look()
    with pytest.raises(Limited, match="has a fault"):
        await asked_by(forge, gates=gates).look()
    assert len(forge.calls) == 1


async def test_what_is_not_on_the_internet_is_not_asked(forge: Forge, there: There) -> None:
    asked = open_forge(place_of("github", "octo/pi", forge.url), "good", (), Gates())
    with pytest.raises(Undelivered, match="not on the public internet"):
        await asked.look()
    assert not forge.calls


def test_steps_by_hand_name_everything_that_is_to_be_typed() -> None:
    for kind, url in (("github", ""), ("gitea", "https://forge.example.org"), ("gitlab", "")):
        place = place_of(kind, "octo/pi", url)
        steps = "\n".join(hook_steps(place, "http://us/webhooks", "s" * 32) + token_steps(place))
        assert place.base_url in steps and "http://us/webhooks" in steps and "s" * 32 in steps
