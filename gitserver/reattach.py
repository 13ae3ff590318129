"""`git push -o follow=57 gpu HEAD:refs/follow`: shows a run again, from its first byte.

Git sends nothing, and so asks nothing, when all refs are up to date; `refs/follow` is a ref that never
exists, so that there is always something to send. `refs/follow/57` says the same without an option; without
a number it is the newest run of the repository."""

from sqlalchemy import select

from gitserver.protocol import PushHead
from hermes.errors import NotFound, UserError
from hermes.options import PushOptions
from hermes.process import Context
from hermes.repos import visible_to
from hermes.tables import Repo, Run, User

_REF = "refs/follow"


async def asked_for(context: Context, user: User, repo: Repo, head: PushHead, options: PushOptions) -> int:
    """The run to follow instead of a push; 0: this is a push. Raises UserError."""
    refs = [ref for ref in head.refs if ref == _REF or ref.startswith(_REF + "/")]
    if not refs:
        return 0
    if len(head.commands) > 1:
        raise UserError(f"{refs[0]} goes alone", "git push -o follow=N REMOTE HEAD:refs/follow")
    number = refs[0].removeprefix(_REF).removeprefix("/")
    run_id = int(number) if number.isascii() and number.isdecimal() and len(number) < 16 else 0
    if number and not run_id:
        raise UserError(f"{refs[0][:80]}: not the number of a run", "git push REMOTE HEAD:refs/follow/57")
    return await check_run(context, user, repo, options.numbers.get("follow", run_id))


async def check_run(context: Context, user: User, repo: Repo, run_id: int) -> int:
    """The run, if this user may see it; for 0 the newest of the repository. Raises NotFound."""
    found = select(Run.id).join(Repo, Repo.id == Run.repo_id).where(visible_to(user))
    found = found.where(Run.id == run_id) if run_id else found.where(Run.repo_id == repo.id)
    async with context.database.read() as session:
        known = await session.scalar(found.order_by(Run.id.desc()).limit(1))
    if known is None:
        raise NotFound(f"there is no run {run_id or ''} that you may see".replace("  ", " "))
    return known
