"""Pages for admins by real HTTP: nobody else sees them; accounts, quarantine, settings, the audit log."""

import asyncio
import re
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from hermes.audit import Actor, Search, read_audit, write_down
from hermes.database import Database
from hermes.failed_signins import FailedSignIns
from hermes.quarantine import put_away
from hermes.schema import migrate
from hermes.settings import Settings, settings_in_force
from tests.programs import git, shell
from tests.service import Service, wait_for
from tests.test_pages import signed_in

PAGES = ("/admin", "/admin/runners", "/admin/images", "/admin/settings", "/admin/audit")
FORMS = ("/admin", "/admin/runners")


@pytest.fixture(scope="module")
def root(service: Service) -> str:
    """The token of an admin."""
    return service.admin("user", "add", "root", "--admin").stdout.strip()


@pytest.fixture
def admin(service: Service, root: str) -> Iterator[httpx.Client]:
    """A browser of theirs, without scripts."""
    with signed_in(service, root) as client:
        yield client


def lines(client: httpx.Client, query: str = "") -> list[list[str]]:
    """The rows of the audit log, as words."""
    page = client.get(f"/admin/audit{query}").text
    body = page.partition("<tbody>")[2].partition("</tbody>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in rows]
    return [[re.sub(r"<[^>]+>", "", cell).strip() for cell in row] for row in cells]


@pytest.mark.parametrize("path", PAGES)
def test_only_admins_know_of_the_page(service: Service, root: str, bob: str, path: str) -> None:
    with signed_in(service, root) as client:
        assert client.get(path).status_code == 200
    for token in (service.token, bob):
        with signed_in(service, token) as client:
            answer = client.get(path)
            assert answer.status_code == 404 and "there is no such page" in answer.text
            assert "/admin" not in client.get("/gpus").text
    with service.client("") as nobody:
        assert nobody.get(path).headers["location"] == f"/signin?next={path}"


@pytest.mark.parametrize("path", FORMS)
def test_only_admins_use_the_forms(service: Service, bob: str, path: str) -> None:
    forms: list[dict[str, str]] = [
        {"do": "make-user", "name": "mallory", "admin": "on"},
        {"do": "make-token", "user": "root", "name": "mine"},
        {"do": "disable", "user": "alice"},
        {"gpu": "GPU", "why": "x"},
    ]
    with signed_in(service, bob) as client:
        for form in forms:
            assert client.post(path, data=form).status_code == 404
    with service.client("") as nobody:
        assert nobody.post(path, data=forms[0]).status_code == 303
    listed = service.admin("user", "list").stdout
    assert "mallory" not in listed and "disabled" not in listed


def test_an_account_is_made_and_its_token_shown_once(service: Service, admin: httpx.Client) -> None:
    made = admin.post("/admin", data={"do": "make-user", "name": "doris"})
    assert made.status_code == 201
    secret = re.findall(r"hermes_[\w-]{40,}", made.text)[0]
    assert secret not in admin.get("/admin").text
    with service.client(secret) as doris:
        assert doris.get("/api/v1/gpus").status_code == 200
    again = admin.post("/admin", data={"do": "make-user", "name": "doris"})
    assert again.status_code == 400 and "user &#39;doris&#39; exists" in again.text
    bad = admin.post("/admin", data={"do": "make-user", "name": "<i>"})
    assert bad.status_code == 400 and 'value="&lt;i&gt;"' in bad.text
    more = admin.post("/admin", data={"do": "make-token", "user": "doris", "name": "lost hers", "life": "30"})
    assert more.status_code == 201 and "hermes_" in more.text
    assert admin.post("/admin", data={"do": "make-token", "user": "x", "name": "y"}).status_code == 404
    assert admin.post("/admin", data={"do": "nonsense"}).status_code == 400
    acts = [(row[3], row[4]) for row in lines(admin, "?who=root")]
    assert ("user made", "doris") in acts and ("token made", "doris: lost hers") in acts


def test_nothing_signs_a_disabled_account_in(service: Service, admin: httpx.Client) -> None:
    secret = service.add_user("dora")
    address = f"{service.url}/dora/mine.git"
    with signed_in(service, secret) as browser, service.client(secret) as program:
        assert admin.post("/admin", data={"do": "disable", "user": "dora"}).status_code == 303
        assert program.get("/api/v1/gpus").status_code == 401
        assert browser.get("/").headers["location"] == "/signin"
        assert browser.post("/signin", data={"token": secret}).status_code == 401
        refused = git(service, "ls-remote", address, token=secret, user="dora")
        assert refused.returncode != 0
        assert "disabled" in service.admin("user", "list").stdout
        assert admin.post("/admin", data={"do": "enable", "user": "dora"}).status_code == 303
        assert program.get("/api/v1/gpus").status_code == 200
        assert browser.get("/").status_code == 200
    assert admin.post("/admin", data={"do": "disable", "user": "root"}).status_code == 403
    service.admin("user", "disable", "dora")
    with service.client(secret) as program:
        assert program.get("/api/v1/gpus").status_code == 401
    done = [row[1:5] for row in lines(admin, "?subject=dora")][:4]
    assert done[0] == ["operator", "hermes admin", "user disabled", "dora"]
    assert [row[2] for row in done] == ["user disabled", "user enabled", "user disabled", "user made"]


def test_a_gpu_is_released_with_a_reason(service: Service, admin: httpx.Client) -> None:
    async def put() -> None:
        database = Database(f"sqlite+aiosqlite:///{service.data / 'hermes.db'}")
        async with database.write() as session:
            assert await put_away(session, socket.gethostname(), "GPU-of-a-test", "Xid 79 <b>")
        await database.close()

    asyncio.run(put())
    page = admin.get("/admin/runners").text
    assert "GPU-of-a-test" in page and "Xid 79 &lt;b&gt;" in page
    silent = admin.post("/admin/runners", data={"gpu": "GPU-of-a-test", "why": " "})
    assert silent.status_code == 400 and "say why this GPU is well again" in silent.text
    wrong = admin.post("/admin/runners", data={"gpu": "GPU-of-yesterday", "why": "reset"})
    assert wrong.status_code == 404 and "no GPU in quarantine is called" in wrong.text
    right = admin.post("/admin/runners", data={"gpu": "GPU-of-a-test", "why": "reset"})
    assert right.headers["location"] == "/admin/runners?done=release"
    assert "GPU-of-a-test" not in admin.get("/admin/runners").text
    assert lines(admin, "?act=GPU+released")[0][5] == "reset; it was in quarantine: Xid 79 &lt;b&gt;"


def test_images_and_settings_are_shown(service: Service, admin: httpx.Client) -> None:
    images = admin.get("/admin/images").text
    assert all(name in images for name in ("cpp", "cuda-13.0")) and "there" in images
    page = admin.get("/admin/settings").text
    row = page.partition("HERMES_CPUS")[2].partition("</tr>")[0]
    assert "<code>8</code>" in row and "environment" in row
    assert "default" in page.partition("HERMES_LEASE")[2].partition("</tr>")[0]


def test_passwords_in_settings_are_masked() -> None:
    secret = Settings(database_url="postgresql://hermes:s3cret@db/hermes", redis_url="redis://:pa55@r:6379")
    shown = {each.variable: each for each in settings_in_force(secret)}
    assert shown["HERMES_DATABASE_URL"].value == "postgresql://hermes:••••@db/hermes"
    assert shown["HERMES_REDIS_URL"].value == "redis://:••••@r:6379"
    assert shown["HERMES_DATABASE_URL"].is_set and not shown["HERMES_PORT"].is_set
    assert (shown["HERMES_DISK"].value, shown["HERMES_RANKS"].value) == ("2G", "0")


def test_the_audit_log_says_who_did_what_from_where(service: Service, admin: httpx.Client) -> None:
    pushed = service.push(shell("sleep 600"), "detach", repo="audited")
    run: dict[str, Any] = wait_for(lambda: service.commit_page(pushed)["runs"])[0]
    with signed_in(service, service.token) as client:
        assert client.post(f"/runs/{run['id']}/cancel").status_code == 303
        client.post("/settings/tokens", data={"name": "audited token"})
        settings = {"do": "protect", "protected": "on"}
        assert client.post("/alice/audited/settings", data=settings).status_code == 303
    with service.client("") as nobody:
        for _ in range(5):
            assert nobody.post("/signin", data={"token": "hermes_wrong"}).status_code == 401
    found = [row[1:5] for row in lines(admin, "?who=alice")]
    assert ["alice", "127.0.0.1", "run cancelled", f"run {run['id']}"] in found
    assert ["alice", "127.0.0.1", "token made", "audited token"] in found
    assert ["alice", "127.0.0.1", "repo settings", "alice/audited"] in found
    assert any(row[2] == "sign-in" for row in found)
    failed = wait_for(lambda: lines(admin, "?act=sign-in+failed"))
    assert failed[0][1:4] == ["nobody", "127.0.0.1", "sign-in failed"]
    assert re.match(r"once|\d+ times", failed[0][5])  # an earlier test may have failed to sign in, too
    assert lines(admin, "?subject=no+such+thing") == []


async def test_the_audit_log_is_read_a_page_at_a_time(tmp_path: Any) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'hermes.db'}")
    await migrate(database)
    async with database.write() as session:
        for number in range(7):
            write_down(session, Actor("alice", "10.0.0.7"), "key added", f"key_{number}", "x" * 9999)
    async with database.read() as session:
        newest = await read_audit(session, Search("10.0."), 0, 5)
        older = await read_audit(session, Search("alice", "key added"), newest[-1].id, 5)
        assert [row.subject for row in newest + older] == [f"key_{number}" for number in range(6, -1, -1)]
        assert await read_audit(session, Search(subject="key%"), 0, 5) == []  # no pattern of SQL
        assert len(newest[0].detail) == 500
    await database.close()


async def test_failed_sign_ins_are_a_row_now_and_then(tmp_path: Any) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'hermes.db'}")
    await migrate(database)
    now = [0.0]
    failed = FailedSignIns(lambda: now[0])

    async def written() -> list[str]:
        await failed.write(database)
        async with database.read() as session:
            return [row.detail for row in await read_audit(session, Search(), 0, 100)]

    for _ in range(40):
        failed.count("10.0.0.7", "alice")
    assert await written() == []
    now[0] = 10.0
    assert await written() == ["40 times, as alice"]
    failed.count("10.0.0.7", "bob")
    now[0] = 3000.0
    assert await written() == ["40 times, as alice"]
    now[0] = 4000.0
    assert await written() == ["once, as bob", "40 times, as alice"]
    await database.close()
