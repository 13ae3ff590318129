"""One delivery of a webhook: what it asks for and that it came are written down in one transaction."""

import time
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from hermes import arrivals
from hermes.arrivals import Arrival
from hermes.audit import Actor, write_down
from hermes.cause import Cause
from hermes.database import Database
from hermes.errors import Conflict
from hermes.forges.base import Author
from hermes.forges.open import NAMES
from hermes.refs import NOTHING
from hermes.reports import tell_words
from hermes.tables import Repo, User, WebhookDelivery
from hermes.upstreams import TOKEN, Upstream, has_sealed
from hooks.collaborators import Question, ask, let_run
from hooks.events import LABEL, Approval, Ignored, Outcome, Wish

_MOST_OF_ONE = 20  # repositories here that follow the same one there


class Delivery(NamedTuple):
    """As its headers say; `digest`: of its body."""

    kind: str
    event: str
    delivery_id: str
    digest: str
    address: str


class Recorded(NamedTuple):
    """What the sender is told."""

    status: int
    words: str


async def followers(
    database: Database, kind: str, name: str, where: tuple[str, str] | None
) -> list[Upstream]:
    """The repositories here that follow this one there: all, or the one at `where` (owner, name)."""
    found = select(Upstream).where(Upstream.kind == kind, func.lower(Upstream.name) == name.lower())
    if where is not None:
        found = found.join(Repo, Repo.id == Upstream.repo_id).join(User, User.id == Repo.owner_id)
        found = found.where(User.name == where[0], Repo.name == where[1])
    async with database.read() as session:
        return list((await session.scalars(found.order_by(Upstream.repo_id).limit(_MOST_OF_ONE))).all())


async def record(
    database: Database, delivery: Delivery, followed_by: Sequence[Upstream], outcome: Outcome
) -> Recorded:
    """All of it, or nothing. Raises Conflict."""
    try:
        return await _record(database, delivery, followed_by, outcome)
    except IntegrityError:  # the same one came twice in one moment: now it is there
        return await _record(database, delivery, followed_by, outcome)


async def _record(
    database: Database, delivery: Delivery, followed_by: Sequence[Upstream], outcome: Outcome
) -> Recorded:
    said = Recorded(200, "duplicate")
    async with database.write() as session:
        for each in followed_by:
            if await _is_new(session, delivery, each.repo_id):
                upstream = await session.get_one(Upstream, each.repo_id)
                upstream.delivered_at = time.time()
                said = await _follow(session, delivery, upstream, outcome)
    return said


async def _is_new(session: AsyncSession, delivery: Delivery, repo_id: int) -> bool:
    source = (
        f"{delivery.kind} {repo_id}"  # ids are the sender's: of one repository they say nothing of another
    )
    known = await session.get(WebhookDelivery, (source, delivery.delivery_id))
    if known is not None and known.body_sha256 != delivery.digest:
        raise Conflict("a delivery of this id has come with another body", "redeliver it from the forge")
    if known is None:
        values = {"source": source, "delivery_id": delivery.delivery_id, "body_sha256": delivery.digest}
        session.add(WebhookDelivery(**values, received_at=time.time()))
        await session.flush()
    return known is None


async def _follow(
    session: AsyncSession, delivery: Delivery, upstream: Upstream, outcome: Outcome
) -> Recorded:
    if isinstance(outcome, Ignored):
        return Recorded(200, f"ignored: {outcome.why}")
    if isinstance(outcome, Approval):
        return await _approve(session, delivery, upstream, outcome)
    if outcome.pull_request is not None and outcome.ref.startswith("refs/pull/"):
        why = "the pull request was closed" if outcome.sha == NOTHING else "a newer commit came"
        for older in await arrivals.held(session, upstream.repo_id, outcome.pull_request):
            arrivals.end(older, "refused", why)
    arrivals.put(session, _arrival(delivery, upstream, outcome))
    if outcome.state == "held":
        await tell_words(session, upstream.repo_id, outcome.sha, "waiting", outcome.reason)
    if outcome.state == "refused":
        what = f"{outcome.ref}: {outcome.reason}"
        write_down(session, Actor("", delivery.address), "webhook refused", upstream.name, what)
        return Recorded(200, f"ignored: {outcome.reason}")
    return Recorded(202, "recorded" if outcome.state == "waiting" else f"recorded: {outcome.reason}")


def _arrival(delivery: Delivery, upstream: Upstream, wish: Wish) -> Arrival:
    url = f"{upstream.base_url}/{upstream.name}{wish.path}"
    return Arrival(
        repo_id=upstream.repo_id,
        source="webhook",
        event=delivery.event[:60],
        ref=wish.ref[:300],
        sha=wish.sha,
        pull_request=wish.pull_request,
        sender=wish.sender[:100],
        cause=Cause(f"{wish.words} ({upstream.name})"[:200], url).row(),
        state=wish.state,
        reason=wish.reason,
        told_at=wish.told_at,
    )


async def _approve(
    session: AsyncSession, delivery: Delivery, upstream: Upstream, approval: Approval
) -> Recorded:
    """Exactly the commit that was looked at may run: named, labelled, or the last one before the comment."""
    number, author = approval.pull_request, approval.author
    found = await arrivals.held(session, upstream.repo_id, number)
    newest = found[0] if found else None
    if newest is None:
        return Recorded(200, f"ignored: no commit of pull request {number} waits here")
    if not newest.sha.startswith(approval.sha):
        return Recorded(200, f"ignored: the commit that waits is {newest.sha[:12]}, not {approval.sha[:12]}")
    if approval.told_at is not None and approval.told_at < (newest.told_at or 0.0):
        return Recorded(
            200, f"ignored: {newest.sha[:12]} came after the comment: look at it, and comment again"
        )
    if author is not None and await has_sealed(session, upstream.repo_id, TOKEN):
        question = Question(upstream.repo_id, newest.id, *author, upstream.url, delivery.address)
        await ask(session, upstream, question)
        may = f"may {question.who} write to {upstream.name}?"
        return Recorded(202, f"recorded: {may} {NAMES[upstream.kind]} is asked")
    if author is not None and not approval.is_said:
        return Recorded(200, f"ignored: {_nobody_knows(upstream, author)}")
    let_run(session, newest, upstream, approval.sender, delivery.address)
    return Recorded(202, f"recorded: {newest.sha[:12]} of pull request {number} runs")


def _nobody_knows(upstream: Upstream, author: Author) -> str:
    forge, who = NAMES[upstream.kind], author.login[:100]
    label = "" if upstream.kind == "gitea" else f", set the label `{LABEL}` there"
    why = f"without a token {forge} cannot be asked whether {who} may write there"
    if upstream.kind == "github":
        why = f"{who} is not said to be a collaborator, and {why}"
    return f"{why}: connect with one{label}, or let it run on the page of the repository here"
