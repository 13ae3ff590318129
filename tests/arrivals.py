"""Commits that came from elsewhere, as the service takes them: a push of the trigger `webhook`, applied."""

import asyncio
from dataclasses import dataclass

from sqlalchemy import select

from hermes.arrivals import Arrival, end, put
from hermes.at_once import ask_in
from hermes.cause import Cause, Sender
from hermes.database import Database
from hermes.plan import Plan
from hermes.pushes import RefUpdate, apply, receive
from hermes.tables import Push, Repo, User
from tests.service import Pushed, Service, WorkTree

ZEROS = "0" * 40


@dataclass
class Origin:
    """A repository of an instance into which commits come; its first one was pushed, and built."""

    house: Service
    name: str
    first: Pushed

    @property
    def tree(self) -> WorkTree:
        return self.first.tree

    def commit(self, files: dict[str, str | bytes], pull: int = 0, base: str = "") -> str:
        """Another commit: its objects come by a push that starts nothing, then it arrives on main, or as that
        of a pull request."""
        if base:
            self.tree.git("checkout", "-q", base)
        sha = self.tree.write(files).commit("another")
        stored = self.house.push(self.tree, "skip", repo=self.name, refs=(f"+HEAD:refs/heads/o/{sha[:12]}",))
        assert stored.code == 0, stored.output
        asyncio.run(self._arrive(sha, pull))
        return sha

    async def _arrive(self, sha: str, pull: int) -> None:
        """As a webhook brings it."""
        ref = f"refs/pull/{pull}/head" if pull else "refs/heads/main"
        database = Database(f"sqlite+aiosqlite:///{self.house.data}/hermes.db")
        async with database.write() as session:
            found = select(Repo, User).join(User, User.id == Repo.owner_id)
            name = self.name.rpartition("/")[2]
            repo, user = (await session.execute(found.where(Repo.name == name))).one()
            planned = select(Push.plan).where(Push.repo_id == repo.id, Push.new_sha == self.first.sha)
            plan = Plan.model_validate((await session.scalars(planned)).first())
            sender = Sender(user.id, "webhook", Cause("push to octo/pi by mona"))
            change = RefUpdate(ref, ZEROS, sha)
            push = await session.run_sync(
                lambda plain: receive(ask_in(plain), repo.id, sender, change, plan, "another")
            )
            came = Arrival(repo_id=repo.id, source="webhook", ref=ref, sha=sha, pull_request=pull or None)
            put(session, came)
            end(came, "taken", "", push.id)
            assert await apply(session, push) is not None
        await database.close()
