"""Finds the function that a call means for who may call it, and queues the call: for whatever asks."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.at_once import Ask
from hermes.errors import Conflict, Refused
from hermes.functions import Function, FunctionName, find_function
from hermes.instance import Outlook
from hermes.invocations import Invocation, Queued, invoke
from hermes.process import Context
from hermes.ready import find_ready
from hermes.repos import may_write
from hermes.tables import User
from hermes.trust import NEXT_STEP, distrust

#: What belongs into the transaction of a call besides it; it may find that there is a run already.
Around = Callable[[Ask, Callable[[], Queued]], Queued]


def _alone(_ask: Ask, call: Callable[[], Queued]) -> Queued:
    return call()


@dataclass(frozen=True)
class Invoker:
    """Of one instance."""

    context: Context
    outlook: Outlook

    async def function(self, user: User, name: FunctionName) -> Function:
        """Raises NotFound, Refused. Mostly one visit to the database."""
        settings = self.context.settings
        is_unfenced = (await self.outlook.here()).is_unfenced

        def look(ask: Ask) -> tuple[Function | None, str]:
            return find_ready(ask, user, name), distrust(ask, settings, user.id) if is_unfenced else ""

        ready, why = await self.context.database.read_at_once(look)
        if why:
            raise Refused(why, NEXT_STEP)
        if ready is not None:
            return ready
        async with self.context.database.read() as session:
            function = await find_function(session, user, name, self.context.paths)
            await self._check(session, user, function)
        return function

    async def _check(self, session: AsyncSession, user: User, function: Function) -> None:
        if not (function.repo.public or await may_write(session, user, function.repo)):
            raise Refused(
                f"you may read {function.owner}/{function.repo.name}, but not run it",
                f"ask {function.owner} to make you a collaborator who may write",
            )

    async def queue(
        self, user: User, function: Function, asked: Invocation, around: Around = _alone
    ) -> Queued:
        """One transaction. Raises Wrong, Refused, Conflict."""
        settings, here = self.context.settings, (await self.outlook.here()).as_seen_by(user.name)

        def work(ask: Ask) -> Queued:
            return around(ask, lambda: invoke(ask, settings, user, function, asked, here))

        try:
            return await self.context.database.write_at_once(work)
        except IntegrityError:  # where writers are not one after another: the same key at this moment
            raise Conflict("a request with this Idempotency-Key is being taken", "ask again") from None
