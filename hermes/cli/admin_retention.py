"""`hermes admin retention`: what is old and would go, why, and what it takes of the disk; or it goes now."""

import asyncio
import json
import time
from itertools import groupby
from typing import Any

import click

from hermes.audit import OPERATOR
from hermes.old import folder_of, size_bytes
from hermes.process import Context, open_context
from hermes.removals import Data
from hermes.retention import Item, Levels, Swept, count_old_messages, last_sweep, look_at_room, plan, sweep
from hermes.settings import load_settings
from hermes.units import show_size

Row = dict[str, Any]


@click.command()
@click.option("--now", is_flag=True, help="Remove it; else it is only shown.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of lines.")
def retention(now: bool, as_json: bool) -> None:
    """Show what would be removed by age (HERMES_KEEP_…) and to make room (HERMES_FREE_LOW), and why.

    The service does the same by itself, once an hour and whenever its disk is nearly full. What is at work or
    waits, the newest of each branch and tag, and images of versions are never removed."""
    asyncio.run(_retention(now, as_json))


async def _retention(now: bool, as_json: bool) -> None:
    async with open_context(load_settings()) as context:
        room, items = look_at_room(context), await plan(context)
        messages = await count_old_messages(context)
        kinds = [_row(context, kind, items) for kind in Data] + [_row_of_messages(*messages)]
        swept = await sweep(context, OPERATOR) if now else None
        say = _say_json if as_json else _say
        say(room, kinds, items, swept, await _more(context))


async def _more(context: Context) -> Row:
    """Of the disk, besides what can go."""
    async with context.database.read() as session:
        last = await last_sweep(session)
    by_whom = last and {
        "at": last.at,
        "what": last.subject,
        "freed": last.detail,
        "by": last.user or last.address,
    }
    return {"repositories_bytes": size_bytes([context.paths.repo(0).parent]), "last": by_whom}


def _row(context: Context, kind: Data, items: list[Item]) -> Row:
    mine = [each for each in items if each.kind is kind]
    reasons = [(why, list(same)) for why, same in groupby(mine, key=lambda each: each.why)]
    return {
        "kind": kind,
        "on_disk_bytes": size_bytes([folder_of(context.paths, kind)]),
        "count": len(mine),
        "size_bytes": sum(each.size_bytes for each in mine),
        "why": {why: len(same) for why, same in reasons},
    }


def _row_of_messages(count: int, why: str) -> Row:
    """Rows of the database, not files."""
    whys = {why: count} if count else {}
    return {"kind": "messages", "on_disk_bytes": None, "count": count, "size_bytes": None, "why": whys}


def _say_json(room: Levels, kinds: list[Row], items: list[Item], swept: Swept | None, more: Row) -> None:
    removed: Row | None = None
    if swept is not None:
        removed = {kind: swept.count[kind] for kind in swept.count} | {"messages": swept.messages}
    told: Row = {
        "disk_bytes": room.size,
        "free_bytes": room.free,
        "low_bytes": room.low,
        "high_bytes": room.high,
        "kinds": kinds,
        "items": [
            {"kind": each.kind, "id": each.subject_id, "at": each.at, "size_bytes": each.size_bytes}
            | {"why": each.why}
            for each in items
        ],
        "removed": removed,
    }
    click.echo(json.dumps(told | more))


def _say(room: Levels, kinds: list[Row], items: list[Item], swept: Swept | None, more: Row) -> None:
    line = "{:<11} {:>9} {:>8} {:>9}  {}"
    click.echo(line.format("KIND", "ON DISK", "OLD", "SIZE", "WHY"))
    for row in kinds:
        why = "; ".join(f"{count} {words}" for words, count in row["why"].items())
        sizes = ["-" if row[key] is None else show_size(row[key]) for key in ("on_disk_bytes", "size_bytes")]
        click.echo(line.format(row["kind"], sizes[0], row["count"], sizes[1], why).rstrip())
    free = f"{show_size(room.free)} of {show_size(room.size)} free; below {show_size(room.low)} the oldest go"
    click.echo(f"{free}; repositories take {show_size(more['repositories_bytes'])}", err=True)
    if last := more["last"]:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(last["at"]))
        click.echo(f"removed last, {at}, by {last['by']}: {last['what']}", err=True)
    if swept is not None:
        click.echo(f"removed: {swept}" if str(swept) else "nothing was removed", err=True)
    elif items or kinds[-1]["count"]:
        click.echo("hermes admin retention --now removes it", err=True)
