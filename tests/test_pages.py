"""Pages by real HTTP: who may see what, what holds for every answer, and strangers' words shown literally."""

import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest

from tests.programs import shell
from tests.service import Pushed, Service

HOSTILE = "<script>alert(1)</script> {{7*7}} & \"quotes\" 'n' ‮evil"
PNG = bytes.fromhex("89504e470d0a1a0a0000000d4948445200000001000000010806000000001f15c489")
LEAVES_FILES = shell(
    "printf 'one\\n\\033[31mred\\033[0m <b>bold</b> \\033]8;;javascript:alert(1)\\007link\\n'\n"
    "cp picture.png fake.png '<img src=x onerror=alert(1)>.html' \"$HERMES_OUTPUT_DIR\"\n"
)
LEAVES_FILES |= {
    "picture.png": PNG,
    "fake.png": "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>.html": "<script>alert(1)</script>",
}
NO_ROW = ("0", "-1", "abc", "99999999999999999999999999", "1e3", "%00")


@pytest.fixture(scope="module")
def pushed(service: Service) -> Pushed:
    """A private repo whose run has ended and left files; its commit has a hostile subject."""
    tree = service.worktree(LEAVES_FILES, "pages")
    tree.commit(HOSTILE)
    done = service.push(tree, repo="pages")
    assert done.code == 0, done.output
    return done


@pytest.fixture(scope="module")
def run(service: Service, pushed: Pushed) -> dict[str, Any]:
    """Its run."""
    found = service.run_of(pushed)
    assert found["state"] == "succeeded", found
    return found


@pytest.fixture(scope="module")
def addresses(pushed: Pushed, run: dict[str, Any]) -> dict[str, str]:
    """Everything that only who may see the repo may see."""
    repo = f"/{pushed.owner}/{pushed.repo}"
    return {
        "repo": repo,
        "commit": f"{repo}/commit/{pushed.sha}",
        "run": f"/runs/{run['id']}",
        "build": f"/builds/{run['build']}",
        "run log": f"/runs/{run['id']}/log",
        "build log": f"/builds/{run['build']}/log",
        "run events": f"/runs/{run['id']}/events",
        "build events": f"/builds/{run['build']}/events",
        "zip": f"/runs/{run['id']}/artifacts.zip",
        "artifact": httpx.URL(run["artifacts"][0]["url"]).path,
    }


@contextmanager
def signed_in(service: Service, token: str) -> Iterator[httpx.Client]:
    """A browser without scripts."""
    with service.client("") as client:
        client.headers["Accept"] = "text/html"
        answer = client.post("/signin", data={"token": token, "next": "/gpus"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/gpus")
        yield client


def test_health_is_open_and_says_what_works(service: Service) -> None:
    with service.client("") as nobody:
        answer = nobody.get("/healthz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    assert answer.json()["runner"] is True


def test_signed_out_pages_lead_to_the_sign_in_form(service: Service, addresses: dict[str, str]) -> None:
    with service.client("") as nobody:
        for path in ("/gpus", "/settings/tokens", addresses["commit"], addresses["run"]):
            answer = nobody.get(path)
            assert (answer.status_code, answer.headers["location"]) == (303, f"/signin?next={path}")
        for name in ("run log", "build log", "run events", "artifact", "zip"):
            assert nobody.get(addresses[name]).status_code == 401, name


def test_the_owner_sees_everything(service: Service, addresses: dict[str, str]) -> None:
    with signed_in(service, service.token) as owner:
        for name, path in addresses.items():
            assert owner.get(path).status_code == 200, name
        for path in ("/", "/gpus", "/settings/tokens"):
            assert owner.get(path).status_code == 200, path


def test_hidden_and_missing_are_the_same_to_another_user(
    service: Service, bob: str, addresses: dict[str, str]
) -> None:
    with signed_in(service, bob) as other:
        for name, path in addresses.items():
            hidden = other.get(path)
            missing = other.get(re.sub(r"/\d+", "/999999999", path).replace("/pages", "/nothing"))
            assert hidden.status_code == missing.status_code == 404, name
            assert hidden.text.replace("pages", "nothing") == missing.text, name
        assert "pages" not in other.get("/").text
        assert "alice/pages" not in other.get("/gpus").text


def test_another_user_cannot_change_anything(service: Service, bob: str, run: dict[str, Any]) -> None:
    with service.client(bob) as other:
        for action in (f"/runs/{run['id']}/cancel", f"/runs/{run['id']}/again"):
            assert other.post(action).status_code == 404
            assert other.post(f"/api/v1{action}").status_code == 404
        assert other.post(f"/builds/{run['build']}/cancel").status_code == 404


@pytest.mark.parametrize("word", NO_ROW)
def test_what_cannot_be_an_id_is_not_found(service: Service, word: str) -> None:
    with service.client() as client:
        for path in ("/runs/{}", "/builds/{}", "/runs/{}/log", "/runs/{}/events", "/artifacts/{}/x"):
            assert client.get(path.format(word)).status_code == 404, path
        for path in ("/runs/{}/cancel", "/runs/{}/again", "/settings/tokens/{}/revoke"):
            assert client.post(path.format(word)).status_code == 404, path


def test_every_answer_carries_the_headers(service: Service, addresses: dict[str, str]) -> None:
    with service.client() as client:
        for name, path in (addresses | {"none": "/no/such/page/at/all", "form": "/signin"}).items():
            headers = client.get(path).headers
            assert headers["x-content-type-options"] == "nosniff", name
            policy = headers["content-security-policy"]
            assert "default-src 'self'" in policy or "sandbox" in policy, name
            assert "unsafe" not in policy, name


def attributes(page: str) -> set[str]:
    """The names of all attributes, as a browser reads them."""
    found: set[str] = set()

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.update(key for key, _ in attrs)

    Reader().feed(page)
    return found


def test_strangers_words_are_shown_literally(service: Service, addresses: dict[str, str]) -> None:
    with signed_in(service, service.token) as owner:
        pages = {name: owner.get(addresses[name]).text for name in ("repo", "commit", "run", "build")}
        pages["dashboard"] = owner.get("/").text
    for name, text in pages.items():
        assert "<script>alert" not in text and "<img src=x" not in text, name
        assert "<b>bold" not in text and "javascript:alert" not in text, name
        assert not {key for key in attributes(text) if key == "style" or key.startswith("on")}, name
    assert "&lt;script&gt;alert(1)&lt;/script&gt; {{7*7}}" in pages["commit"]
    assert '<span class="c31">red</span>' in pages["run"]


def test_artifacts_never_act_in_our_name(service: Service, run: dict[str, Any]) -> None:
    found = {each["path"]: httpx.URL(each["url"]).raw_path.decode() for each in run["artifacts"]}
    assert set(found) == {"picture.png", "fake.png", "<img src=x onerror=alert(1)>.html"}
    with service.client() as client:
        for path in found.values():
            plain = client.get(path)
            assert plain.headers["content-disposition"].startswith("attachment;")
            assert plain.headers["content-type"] == "application/octet-stream"
            assert plain.headers["content-security-policy"] == "default-src 'none'; sandbox"
        inline = {name: client.get(path, params={"inline": "1"}) for name, path in found.items()}
    assert inline["picture.png"].headers["content-type"] == "image/png"
    for name in ("fake.png", "<img src=x onerror=alert(1)>.html"):
        assert inline[name].headers["content-type"] == "text/plain; charset=utf-8"
    assert (
        "filename*=UTF-8''%3Cimg%20src%3Dx"
        in inline["<img src=x onerror=alert(1)>.html"].headers["content-disposition"]
    )


def test_the_zip_holds_all_artifacts(service: Service, addresses: dict[str, str]) -> None:
    with service.client() as client:
        archive = zipfile.ZipFile(io.BytesIO(client.get(addresses["zip"]).content))
    assert archive.testzip() is None
    assert sorted(archive.namelist()) == ["_img src=x onerror=alert(1)_.html", "fake.png", "picture.png"]
    assert archive.read("picture.png") == PNG


def test_short_ids_and_latest_lead_to_the_commit(service: Service, pushed: Pushed) -> None:
    base = f"/{pushed.owner}/{pushed.repo}"
    with service.client() as client:
        for path in (f"{base}/commit/{pushed.sha[:7]}", f"{base}/latest"):
            answer = client.get(path)
            assert (answer.status_code, answer.headers["location"]) == (302, f"{base}/commit/{pushed.sha}")
        assert client.get(f"{base}.git").headers["location"] == base
        for word in ("abcdef", "zzzzzzz", "0" * 40, "0" * 41):
            assert client.get(f"{base}/commit/{word}").status_code == 404, word


def test_a_wrong_token_is_refused_in_words(service: Service) -> None:
    with service.client("") as nobody:
        for secret in ("", "wrong", "hermes_" + "x" * 40, "ÿ" * 1000):
            answer = nobody.post("/signin", data={"token": secret})
            assert answer.status_code == 401
            assert "not valid" in answer.text
            assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:1", "/\tx", "/signout", ""],
)
def test_after_signing_in_nobody_is_sent_elsewhere(service: Service, target: str) -> None:
    with service.client("") as client:
        answer = client.post("/signin", data={"token": service.token, "next": target})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_signing_out_ends_the_session(service: Service) -> None:
    with signed_in(service, service.token) as client:
        cookie = client.cookies["hermes_session"]
        assert client.get("/").status_code == 200
        assert client.post("/signout").status_code == 303
        client.cookies.set("hermes_session", cookie)
        assert client.get("/").status_code == 303


def test_the_cookie_is_closed_to_scripts_and_other_sites(service: Service) -> None:
    with service.client("") as client:
        header = client.post("/signin", data={"token": service.token}).headers["set-cookie"].lower()
        assert "httponly" in header and "samesite=lax" in header and "path=/" in header
        assert client.get("/api/v1/gpus").status_code == 401  # the API takes no cookie


def test_a_token_is_shown_once_and_ends_when_revoked(service: Service) -> None:
    with signed_in(service, service.token) as client:
        made = client.post("/settings/tokens", data={"name": "<i>ci</i>"})
        assert made.status_code == 201
        secret = re.findall(r"hermes_[\w-]{40,}", made.text)[0]
        page = client.get("/settings/tokens").text
        assert secret not in page and "&lt;i&gt;ci&lt;/i&gt;" in page
        with service.client(secret) as other:
            assert other.get("/api/v1/gpus").status_code == 200
            number = max(
                int(n) for n in re.findall(r"/settings/tokens/(\d+)/revoke", page.split("Browser")[0])
            )
            assert client.post(f"/settings/tokens/{number}/revoke").status_code == 303
            assert other.get("/api/v1/gpus").status_code == 401
        for name in ("", " ", "x" * 101, "a\nb"):
            assert client.post("/settings/tokens", data={"name": name}).status_code == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "null"},
    ],
)
def test_forms_of_other_sites_are_refused(
    service: Service, run: dict[str, Any], headers: dict[str, str]
) -> None:
    with signed_in(service, service.token) as client:
        for path in (f"/runs/{run['id']}/again", "/settings/tokens", "/signout"):
            assert client.post(path, headers=headers, data={"name": "x"}).status_code == 403
        own = {"Origin": service.url}
        assert client.post("/settings/tokens", headers=own, data={"name": "own form"}).status_code == 201


def test_large_bodies_are_refused(service: Service) -> None:
    def chunks() -> Any:
        for _ in range(40):
            yield b"x" * (1 << 15)

    with service.client() as client:
        assert client.post("/settings/tokens", content=b"x" * ((1 << 20) + 1)).status_code == 413
        assert client.post("/settings/tokens", content=chunks()).status_code == 413


def test_static_files_are_kept_by_browsers(service: Service) -> None:
    with service.client("") as nobody:
        found = re.findall(r'(?:href|src)="(/static/[^"]+)"', nobody.get("/signin").text)
        assert found
        for path in found:
            answer = nobody.get(path)
            assert answer.status_code == 200
            assert "immutable" in answer.headers["cache-control"]
        assert nobody.get("/static/../hermes.db").status_code in (401, 404, 303)


def test_everybody_may_see_and_rerun_what_is_public_and_not_cancel_it(service: Service, bob: str) -> None:
    run = service.run_of(service.push(shell("echo for all\n", "public = true\n")))
    with signed_in(service, bob) as other:
        page = other.get(f"/runs/{run['id']}")
        assert page.status_code == 200 and "Run again" in page.text
        assert other.post(f"/runs/{run['id']}/cancel").status_code == 403
        again = other.post(f"/runs/{run['id']}/again")
    assert again.status_code == 303
    fresh = service.api(again.headers["location"])
    assert (fresh["user"], fresh["trigger"]) == ("bob", "retry")
