"""The comment on a pull request: how its newest run went, beside its base's."""

import re
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.forges.base import Base
from hermes.pushes import BRANCHES
from hermes.tables import Push, Run
from hermes.threads import in_thread
from web.comparison import Comparison, Row, compare
from web.lookup import Place
from web.message import read_message
from web.runs import run_details
from web.site import Site

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#!~&$^\"'+=/;?-])")
_NEWEST_OF_BASE = 20


@dataclass(frozen=True)
class Pull:
    """Whose comment it is: the newest run of a pull request's commit, in a repository of ours."""

    place: Place
    run: Run
    sha: str
    base: Base


def mark_of(site: Site, place: Place) -> str:
    """By which our comment is found again; nobody sees it. Another instance has another one."""
    return f"<!-- hermes {site.context.settings.public_url}/{place.name} -->"


async def comment_on(site: Site, session: AsyncSession, pull: Pull) -> str:
    """Its text, in Markdown."""
    here = await run_details(session, None, pull.run, pull.place)
    url, place = site.context.settings.public_url, pull.place
    lines = [
        mark_of(site, place),
        f"**[hermes]({url}/{place.name}/commit/{pull.sha})** · [run {here.run.id}]({url}/runs/{here.run.id}) "
        f"of {pull.sha[:7]}: {plain(here.words)}",
        "",
    ]
    found = await _compared(site, session, pull)
    ref = plain(pull.base.ref)
    if found is None:
        return "\n".join([*lines, f"Nothing of its base ({ref}) has run here yet to compare it with."])
    run = found.there.run
    lines += [
        f"| | {pull.sha[:7]} | {found.sha[:7]} on {ref} | change |",
        "| :-- | --: | --: | :-- |",
        *map(_line, found.rows),
        "",
        f"Compared with [run {run.id}]({url}/runs/{run.id}) of {found.sha[:7]}: {plain(found.there.words)}",
    ]
    return "\n".join(lines)


def _line(row: Row) -> str:
    change = f"{plain(row.change)} {row.verdict}".strip()
    return f"| {plain(row.name)} | {plain(row.here)} | {plain(row.there)} | {change} |"


async def _compared(site: Site, session: AsyncSession, pull: Pull) -> Comparison | None:
    """With the base itself, or the nearest commit before it that has run; without it, with its branch."""
    repo = pull.place.repo
    here = await run_details(session, None, pull.run, pull.place)
    path = site.context.paths.repo(repo.id)
    message = await in_thread(read_message, path, pull.base.sha) if pull.base.sha else None
    shas = [pull.base.sha, *message.ancestors] if message else []
    if shas and (found := await compare(session, None, here, repo, shas)):
        return found
    pushed = select(Push.new_sha).where(Push.repo_id == repo.id, Push.ref == BRANCHES + pull.base.ref)
    newest = await session.scalars(pushed.order_by(Push.id.desc()).limit(_NEWEST_OF_BASE))
    others = [sha for sha in newest.all() if sha != pull.sha]
    return await compare(session, None, here, repo, others) if others else None


def plain(words: str) -> str:
    """Words of programs as they are: no markup, and nobody is called by their name."""
    return _SPECIAL.sub(r"\\\1", " ".join(words.split())).replace("@", "@\u200b")
