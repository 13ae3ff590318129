"""The feed of a repository: what RFC 4287 asks of it, who gets it, and what is known and not sent again."""

import re
from collections.abc import Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import httpx
import pytest

from tests.access_tools import browsing, open_house, secret_of
from tests.programs import shell
from tests.service import Pushed, Service

ATOM = "{http://www.w3.org/2005/Atom}"
HOSTILE = "]]> <script>alert(1)</script> & \x08\x1b[31m \u202e"
#: How often each child may stand in its parent (RFC 4287, 4.1.1 and 4.1.2); None: as often as one likes.
COUNTS: dict[str, dict[str, tuple[int, int | None]]] = {
    "feed": {
        "id": (1, 1), "title": (1, 1), "updated": (1, 1), "author": (1, None), "link": (1, None),
        "generator": (0, 1), "entry": (0, None),
    },
    "entry": {
        "id": (1, 1), "title": (1, 1), "updated": (1, 1), "published": (0, 1), "author": (1, None),
        "link": (1, None), "summary": (0, 1), "category": (0, None),
    },
    "author": {"name": (1, 1)},
}  # fmt: skip
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_RELS = {"self", "alternate"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The instance of these tests."""
    yield from open_house(tmp_path_factory.mktemp("feed"), HERMES_TRUST="all")


@pytest.fixture(scope="module")
def pushed(house: Service) -> Pushed:
    """A private repository: a good run on main, a bad one on another branch."""
    tree = house.worktree(shell("echo words"), "fed")
    tree.git("commit", "-q", "--amend", "-m", HOSTILE.replace("\x08", ""))
    first = house.push(tree, repo="alice/fed")
    assert house.run_of(first)["state"] == "succeeded"
    tree.write({"main.sh": "exit 3"}).commit("breaks")
    second = house.push(tree, repo="alice/fed", refs=("HEAD:next",))
    assert house.run_of(second)["state"] == "failed"
    return second


def feed_of(answer: httpx.Response) -> Element:
    """It is one, whole and as it should be."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/atom+xml; charset=utf-8"
    root = ElementTree.fromstring(answer.content)
    assert root.tag == f"{ATOM}feed"
    check(root)
    ids = [each.text for each in root.iter(f"{ATOM}id")]
    assert len(set(ids)) == len(ids)
    return root


def check(element: Element) -> None:
    """Its children, and the forms of their texts."""
    name = element.tag.removeprefix(ATOM)
    if name in COUNTS:
        there = [child.tag.removeprefix(ATOM) for child in element]
        assert set(there) <= set(COUNTS[name]), there
        for child, (least, most) in COUNTS[name].items():
            assert least <= there.count(child) and (most is None or there.count(child) <= most), (name, child)
        links = [(link.get("rel"), link.get("type")) for link in element.findall(f"{ATOM}link")]
        assert len(set(links)) == len(links) and {rel for rel, _ in links} <= _RELS
    if name in ("updated", "published"):
        assert _RFC_3339.fullmatch(element.text or ""), element.text
    if name == "id":
        assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", element.text or "")
    if name == "link":
        assert urlsplit(element.get("href", "")).scheme == "http"
    if name in ("title", "name"):
        assert (element.text or "").strip()
    for inner in element:
        check(inner)


def text(element: Element, name: str) -> str:
    return element.findtext(f"{ATOM}{name}") or ""


def test_it_is_a_feed_of_what_has_ended(house: Service, pushed: Pushed) -> None:
    run = house.run_of(pushed)
    with house.client() as client:
        root = feed_of(client.get("/alice/fed/atom.xml"))
        of_main = feed_of(client.get("/alice/fed/atom.xml?branch=main"))
        assert [
            text(each, "id") for each in feed_of(client.get("/alice/fed/atom.xml")).iter(f"{ATOM}entry")
        ] == [text(each, "id") for each in root.iter(f"{ATOM}entry")]
    newest, oldest = root.findall(f"{ATOM}entry")
    assert text(newest, "title") == f"Run {run['id']} failed: breaks"
    assert newest.find(f"{ATOM}author/{ATOM}name").text == "alice"  # type: ignore[union-attr]
    assert newest.find(f"{ATOM}link").get("href").endswith(f"/runs/{run['id']}")  # type: ignore[union-attr]
    assert text(newest, "updated") == run["ended"] == text(root, "updated")
    assert run["words"] in text(newest, "summary") and "pushed by alice" in text(newest, "summary")
    assert "<script>alert(1)</script>" in text(oldest, "title") and "\x1b" not in text(oldest, "title")
    assert [text(each, "id") for each in of_main.findall(f"{ATOM}entry")] == [text(oldest, "id")]
    assert text(of_main, "id") != text(root, "id")


def test_what_a_reader_has_is_not_sent_again(house: Service, pushed: Pushed) -> None:
    with house.client() as client:
        first = client.get("/alice/fed/atom.xml")
        tag, changed = first.headers["etag"], first.headers["last-modified"]
        ended = datetime.fromisoformat(house.run_of(pushed)["ended"])
        assert parsedate_to_datetime(changed) == ended
        for headers, status in (
            ({"If-None-Match": tag}, 304),
            ({"If-None-Match": f'"other", W/{tag}'}, 304),
            ({"If-None-Match": '"other"'}, 200),
            ({"If-Modified-Since": changed}, 304),
            ({"If-Modified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}, 200),
            ({"If-Modified-Since": "yesterday"}, 200),
            ({"If-None-Match": '"other"', "If-Modified-Since": changed}, 200),
        ):
            answer = client.get("/alice/fed/atom.xml", headers=headers)
            assert (answer.status_code, answer.content == b"") == (status, status == 304), headers
            assert answer.headers["etag"] == tag


def test_who_gets_a_private_one(house: Service, pushed: Pushed) -> None:
    path, bob = "/alice/fed/atom.xml", house.add_user("bob")
    with browsing(house, house.token) as owner, house.client("") as nobody:
        tokens = {
            scope: secret_of(owner.post("/settings/tokens", data={"name": scope, "scope": scope}))
            for scope in ("read", "push", "all")
        }
        settings, form = "/alice/fed/settings", {"do": "make-token", "name": "reader", "scope": "read"}
        deploy = secret_of(owner.post(settings, data=form))
        assert feed_of(owner.get(path)) is not None, "a browser is signed in"
        asked = nobody.get(path)
        assert asked.status_code == 401 and asked.headers["www-authenticate"].startswith("Basic ")
        for secret, status in ((tokens["read"], 200), (deploy, 200), (tokens["all"], 401), ("hermes_x", 401)):
            assert nobody.get(path, params={"token": secret}).status_code == status
        for secret in (*tokens.values(), deploy):
            feed_of(nobody.get(path, auth=("alice", secret)))
        assert nobody.get(path, auth=("bob", tokens["read"])).status_code == 401
        assert nobody.get(path, auth=("bob", bob)).status_code == 404
        assert nobody.get("/alice/other/atom.xml", params={"token": deploy}).status_code == 404
        assert tokens["read"] not in nobody.get(path, params={"token": tokens["read"]}).text
        page = owner.get("/alice/fed").text
    assert (
        '<link rel="alternate" type="application/atom+xml"' in page and 'href="/alice/fed/atom.xml"' in page
    )


def test_one_of_a_public_repository_is_for_everybody(house: Service) -> None:
    public = house.push(shell("true", "public = true\n"), repo="alice/open")
    house.run_of(public)
    with house.client("") as nobody:
        root = feed_of(nobody.get("/alice/open/atom.xml"))
        assert nobody.get("/alice/open/atom.xml").headers["cache-control"].startswith("public")
        assert nobody.get("/alice/nothing/atom.xml").status_code == 401, "as what is hidden"
    assert len(root.findall(f"{ATOM}entry")) == 1


def test_an_empty_one_is_one(house: Service, tmp_path: Path) -> None:
    house.push(shell("true"), "skip", repo="alice/empty")
    with house.client() as client:
        assert feed_of(client.get("/alice/empty/atom.xml")).findall(f"{ATOM}entry") == []
