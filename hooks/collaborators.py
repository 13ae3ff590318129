"""Asks a forge whether who lets a stranger's commit run by a comment may write there; only then it runs.

A question is a message of the outbox, written with the delivery that it follows from and asked after that is
answered, until the forge has said yes or no. What came of it stands with the arrival that waits."""

import secrets
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes import arrivals, outbox
from hermes.arrivals import ARRIVALS, Arrival
from hermes.audit import Actor, write_down
from hermes.forges.base import Author
from hermes.forges.open import NAMES, open_forge
from hermes.forges.talk import Denied, Gates
from hermes.journal import log
from hermes.outward import parse_networks
from hermes.process import Context
from hermes.queue import CHANGED
from hermes.secret_keys import key_file
from hermes.sending import Lanes, keep_sending
from hermes.tables import Outbox
from hermes.upstreams import TOKEN, Upstream, sealed_of, upstream_of
from hooks.events import what_lets_run

PERMISSION = "permission"  # a topic of the outbox
_AT_ONCE = 4  # repositories; of each one question at a time
_LOOK_S = 5.0  # where no bell rings
_MOST_LOGIN = 60  # characters of a name that are shown


class Question(NamedTuple):
    """Whether `login` may write to the repository at `url`, so that the arrival runs. `address`: from where
    the comment was told."""

    repo: int
    arrival: int
    login: str
    user_id: int
    url: str
    address: str

    @property
    def author(self) -> Author:
        """Who is asked for."""
        return Author(self.login, self.user_id)

    @property
    def who(self) -> str:
        """As they are shown."""
        return self.login[:_MOST_LOGIN]


async def ask(session: AsyncSession, upstream: Upstream, question: Question) -> None:
    """With what else this transaction writes; not while the same is asked already."""
    lane = f"{PERMISSION} {question.repo}"
    same_lane = select(Outbox.payload).where(Outbox.lane == lane, *outbox.WAITING)
    waiting = (await session.scalars(same_lane)).all()
    payload = question._asdict()
    if any({**each, "address": ""} == {**payload, "address": ""} for each in waiting):
        return
    outbox.put(session, PERMISSION, f"{PERMISSION}-{secrets.token_hex(8)}", payload, lane)
    arrival = await session.get_one(Arrival, question.arrival)
    arrivals.note(arrival, f"{_whether(upstream, question)}? {NAMES[upstream.kind]} is asked")


class Collaborators:
    """The only one of an instance who asks."""

    def __init__(self, context: Context, gates: Gates) -> None:
        self._context, self._gates = context, gates
        self._bell = context.doorbell.bell(ARRIVALS)
        self._lanes = Lanes(context.database, PERMISSION, _AT_ONCE, self._ask, self._bell)
        self._answers: dict[int, bool | str] = {}  # by message; words: nobody knows

    async def keep(self) -> None:
        """For ever."""
        try:
            await keep_sending(self._context, (PERMISSION,), self._bell, self._look)
        finally:
            await self._lanes.end()

    async def _look(self) -> float:
        await self._lanes.begin()
        return _LOOK_S

    async def _ask(self, row: Outbox) -> None:
        try:
            await outbox.deliver(self._context.database, row, self._send, self._settle)
        finally:
            self._answers.pop(row.id, None)
        await self._context.doorbell.ring(ARRIVALS, CHANGED)

    async def _send(self, row: Outbox) -> None:
        """Raises Undelivered when it may help to ask again."""
        question, settings = Question(**row.payload), self._context.settings
        async with self._context.database.read() as session:
            found = await _held(session, question)
            if found is None:  # nobody needs to know any more
                return
            upstream, _ = found
            token = await sealed_of(session, key_file(settings), question.repo, TOKEN)
        if not token:
            self._answers[row.id] = "its token is gone; connect with one, then comment again"
            return
        allowed = parse_networks(settings.callback_networks)
        forge = open_forge(upstream.place, token, allowed, self._gates)
        try:
            self._answers[row.id] = await forge.may_write(question.author)
        except Denied as error:
            self._answers[row.id] = f"{error}; {error.hint}, then comment again"

    async def _settle(self, session: AsyncSession, tried: Outbox) -> None:
        """What came of a try, where people look. A commit that is none of those that wait does not run."""
        question, answer = Question(**tried.payload), self._answers.get(tried.id, False)
        await session.execute(select(Arrival.id).where(Arrival.id == question.arrival).with_for_update())
        found = await _held(session, question)
        if found is None:
            return
        upstream, arrival = found
        whether, is_over = _whether(upstream, question), outbox.is_given_up(tried)
        if tried.sent_at is None:
            how = "nobody knows" if is_over else "waits"
            arrivals.note(arrival, f"{whether}? {how}: {tried.error}")
        elif isinstance(answer, str):
            arrivals.note(arrival, f"{whether}? nobody knows: {answer}")
        elif not answer:
            ways = what_lets_run(upstream.kind, arrival.sha)
            arrivals.note(arrival, f"{question.who} may not write to {upstream.name}: ignored; {ways}")
        else:
            let_run(session, arrival, upstream, question.who, question.address)
        log.info("who commented was asked for", repo=question.repo, reason=arrival.reason)


def let_run(session: AsyncSession, arrival: Arrival, upstream: Upstream, by: str, address: str) -> None:
    """Somebody there who may has said so."""
    arrivals.release(arrival, by)
    what = f"pull request {arrival.pull_request} at {arrival.sha[:12]}, by {by}"
    write_down(session, Actor("", address), "commit let run", upstream.name, what)


async def _held(session: AsyncSession, question: Question) -> tuple[Upstream, Arrival] | None:
    """What it is about, if that waits still and comes from there still."""
    upstream = await upstream_of(session, question.repo)
    arrival = await session.get(Arrival, question.arrival)
    if upstream is None or upstream.url != question.url or arrival is None or arrival.state != "held":
        return None
    return upstream, arrival


def _whether(upstream: Upstream, question: Question) -> str:
    return f"may {question.who} write to {upstream.name}"
