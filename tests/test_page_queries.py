"""What pages ask of the database: always through an index, and not more often for more rows."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from sqlalchemy import event, text
from starlette.applications import Starlette

from bench._pages_rows import Filled, fill
from hermes.images import load_images
from hermes.instance import Outlook
from hermes.invoker import Invoker
from hermes.pools import load_pools
from hermes.process import Context, open_context
from hermes.settings import Settings, load_settings
from web.app import Pages

_GROWING = ("push", "build", "run", "rank", "event", "artifact", "metric", "gpu_sample", "upload")
_WHOLE_TABLE = re.compile(rf"SCAN ({'|'.join(_GROWING)})\b")
_MOST_STATEMENTS = 25
_PAGES = {
    "repo": "/{repo}",
    "branch": "/{repo}?branch=side&before=100",
    "commit": "/{repo}/commit/{sha}",
    "short commit": "/{repo}/commit/{short}",
    "run": "/runs/{run_id}",
    "wide run": "/runs/{wide_run_id}?rank=5000",
    "badge": "/{repo}/badge.svg",
    "badge of a metric": "/{repo}/badge.svg?metric=loss",
    "latest": "/{repo}/latest?branch=main",
    "latest artifact": "/{repo}/latest/artifacts/result.csv",
    "uploads": "/functions/{repo}/uploads",
    "uploads of a name": "/functions/{repo}/uploads?name=a.png",
    "api uploads": "/api/v1/functions/{repo}/uploads",
    "outbox": "/api/v1/functions/{repo}/outbox/img?after=img/a.png",
    "a file of the outbox": "/api/v1/functions/{repo}/outbox",
    "api run": "/api/v1/runs/{wide_run_id}",
    "api commit": "/api/v1/repos/{repo}/commits/{sha}",
}
_LISTS_OF_WAITING = {
    "dashboard": "/",
    "gpus": "/gpus",
    "api runs": "/api/v1/runs?limit=100",
    "api before": "/api/v1/runs?before=200",
}


class World(NamedTuple):
    """The pages of a database with a few hundred runs, and the statements that were made."""

    context: Context
    filled: Filled
    client: httpx.AsyncClient
    statements: list[tuple[str, Any]]

    async def get(self, path: str) -> httpx.Response:
        """Ask; `statements` are those of this request."""
        values = self.filled._asdict() | {"short": self.filled.sha[:9]}
        await self.client.get(path.format(**values))  # what is remembered from now on
        self.statements.clear()
        answer = await self.client.get(path.format(**values))
        assert answer.status_code in (200, 302), answer.text
        return answer

    async def plans(self) -> list[str]:
        """How SQLite does each, one line a step."""
        steps = []
        made = [each for each in self.statements if each[0].startswith("SELECT")]
        async with self.context.database.read() as session:
            connection = await session.connection()
            for statement, parameters in made:
                rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                steps += [f"{row.detail}: {statement}" for row in rows]
        return steps


def settings_of(data: Path) -> Settings:
    return load_settings({"HERMES_DATA": str(data), "HERMES_REDIS_URL": "none"})


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Filled]:
    """A data directory, and what is in it."""
    data = tmp_path_factory.mktemp("pages")

    async def make() -> Filled:
        async with open_context(settings_of(data)) as context:
            return await fill(context, 400)

    return data, asyncio.run(make())


@pytest.fixture
async def world(lab: tuple[Path, Filled]) -> AsyncIterator[World]:
    data, filled = lab
    settings = settings_of(data)
    statements: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        statements.append((statement, parameters))

    async with open_context(settings) as context:
        images, pools = load_images(settings.images), load_pools(settings.pools)
        outlook = Outlook(context.database, settings, images, pools)
        pages = Pages(Invoker(context, outlook), asyncio.Event())
        handlers, middleware = pages.exception_handlers(), pages.middleware()
        app = Starlette(routes=pages.routes(), exception_handlers=handlers, middleware=middleware)
        event.listen(context.database.engine.sync_engine, "before_cursor_execute", note)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app),
            base_url=settings.public_url,
            headers={"Authorization": f"Bearer {filled.token}"},
        ) as client:
            yield World(context, filled, client, statements)


@pytest.mark.parametrize("name", [*_PAGES, *_LISTS_OF_WAITING])
async def test_no_page_reads_a_whole_table_or_asks_once_for_each_row(world: World, name: str) -> None:
    """Of each run that waits it is asked why; of everything else, of all rows at once."""
    await world.get((_PAGES | _LISTS_OF_WAITING)[name])
    made = [statement for statement, _ in world.statements if statement.startswith("SELECT")]
    assert made
    assert len(made) <= _MOST_STATEMENTS or name in _LISTS_OF_WAITING, made
    assert not [step for step in await world.plans() if _WHOLE_TABLE.match(step)]


async def test_a_run_of_10_000_ranks_is_shown_by_its_first(world: World) -> None:
    page = await world.get("/runs/{wide_run_id}?rank=5000")
    assert "10000 ranks" in page.text
    assert page.text.count(">rank ") < 210
    assert len(page.content) < 150 << 10
    run = (await world.get("/api/v1/runs/{wide_run_id}")).json()
    assert (run["rank_count"], len(run["ranks"])) == (10_000, 10_000)
    sums = {"wall_s": 20.0, "cpu_s": 190_000.0, "peak_memory_bytes": 3 << 28, "artifacts": 0}
    assert run["summary"] == sums
    listed = (await world.get("/api/v1/runs")).json()["runs"][0]
    assert (listed["id"], listed["rank_count"], len(listed["ranks"])) == (run["id"], 10_000, 200)
    assert listed["summary"] == sums


async def test_pages_of_runs_follow_each_other(world: World) -> None:
    """All that is visible, once, the newest first: what one query over everything says, too."""
    seen: list[int] = []
    path = "/api/v1/runs?limit=60"
    while path:
        page = (await world.get(path)).json()
        seen += [run["id"] for run in page["runs"]]
        path = page["next"] or ""
    async with world.context.database.read() as session:
        shared = "SELECT repo_id FROM collaborator WHERE user_id = 1"
        visible = f"SELECT id FROM repo WHERE public OR owner_id = 1 OR id IN ({shared})"
        rows = await session.scalars(
            text(f"SELECT id FROM run WHERE repo_id IN ({visible}) ORDER BY id DESC")
        )
        assert seen == list(rows.all())
