"""`hermes gpus`: this instance's GPUs now, who holds them and for how long, and who waits."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress

import click
from rich.console import Console
from rich.live import Live

from hermes.accounts import operator
from hermes.cli import elsewhere
from hermes.cli.act import as_json, with_database
from hermes.cli.gpus_table import View, lay_out
from hermes.database import Database
from hermes.driver import ANSWER_S, Driver, DriverState
from hermes.errors import Unavailable
from hermes.machine_answers import gpus_answer
from hermes.machines import machines, queue
from hermes.waiting import times_left

_EVERY_S = 1.0
_ENDLESS = 10_000  # columns, where nobody looks: a line is a line


@click.command()
@click.option("--watch", is_flag=True, help="Look again each second, until Ctrl-C.")
@as_json
@elsewhere.option
def gpus(watch: bool, as_json: bool, server: str) -> None:
    """Each GPU of this instance: how it is used, who holds it, who waits for it.

    On another machine than the service's it asks the server where you are signed in."""
    if elsewhere.asked(server, lambda client: client.gpus(), as_json, elsewhere.show_gpus):
        return

    async def act(database: Database) -> None:
        views = _views(database)
        if not watch:
            _say(await anext(views), as_json)
        elif as_json or not Console().is_terminal:
            async for view in views:
                _say(view, as_json)
        else:
            with Live(auto_refresh=False) as live:
                async for view in views:
                    live.update(lay_out(view), refresh=True)

    with suppress(KeyboardInterrupt):
        with_database(act)


async def _views(database: Database) -> AsyncIterator[View]:
    """Once a second. A driver that hangs is not asked again: each who asks would hang with it."""
    driver = Driver()
    hangs = ""
    try:
        while True:
            began = asyncio.get_running_loop().time()
            state = DriverState(words=hangs)
            if not hangs:
                try:
                    async with asyncio.timeout(ANSWER_S):
                        state = await driver.look()
                except (TimeoutError, Unavailable):
                    hangs = "the NVIDIA driver does not answer: hermes doctor"
                    state = DriverState(words=hangs)
            yield await _view(database, state)
            await asyncio.sleep(began + _EVERY_S - asyncio.get_running_loop().time())
    finally:
        driver.close()


async def _view(database: Database, driver: DriverState) -> View:
    async with database.read() as session:
        waiting, total = await queue(session, operator())
        return View(await machines(session, operator()), waiting, total, await times_left(session), driver)


def _say(view: View, in_json: bool) -> None:
    if in_json:
        click.echo(json.dumps(_as_json(view), ensure_ascii=False))
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_ENDLESS)
    with console.capture() as captured:
        console.print(lay_out(view))
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _as_json(view: View) -> dict[str, object]:
    """As `/api/v1/gpus` says it; besides, what the driver says now and how long holders will take."""
    answer = gpus_answer(view.machines, view.waiting, view.total).model_dump()
    states = {state.uuid: state.model_dump(exclude={"uuid", "index", "error"}) for state in view.driver.gpus}
    for machine in answer["runners"]:
        for gpu in machine["gpus"]:
            gpu["now"] = states.get(gpu["uuid"])
            for holder in filter(None, (gpu["held_by"], *gpu["shared_by"])):
                left_s, how = view.left.get((holder["run"], holder["rank"]), (None, ""))
                holder |= {"left_s": left_s, "left_is": how}
    return {"driver": view.driver.model_dump(), **answer}
