"""Repositories: who may see and change them, and their first push makes them."""

import time
from collections.abc import Sequence

from sqlalchemy import ColumnElement, bindparam, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.accounts import find_user, get_user
from hermes.at_once import Ask, as_row
from hermes.columns import Base
from hermes.errors import NotFound, Refused, UserError
from hermes.names import check_name
from hermes.tables import Collaborator, Repo, User

ROLES = ("read", "write")
_THIS = (User.name == bindparam("owner"), Repo.name == bindparam("name"))
_BY_NAME = select(Repo).join(User, User.id == Repo.owner_id).where(*_THIS)  # put together once
_ROW_BY_NAME = select(Base.metadata.tables["repo"]).join(User, User.id == Repo.owner_id).where(*_THIS)


async def find_repo(session: AsyncSession, owner: str, name: str) -> Repo | None:
    """The repo `owner/name`, whoever asks."""
    return (await session.scalars(_BY_NAME, {"owner": owner, "name": name})).first()


def find_managed(ask: Ask, user: User, owner: str, name: str) -> Repo | None:
    """The repo `owner/name`, if it is there and this user is its owner or an admin."""
    found = ask(_ROW_BY_NAME, owner=owner, name=name)
    repo = as_row(Repo, found[0]) if found else None
    return repo if repo is not None and may_manage(user, repo) else None


def visible_to(user: User | None) -> ColumnElement[bool]:
    """A condition on Repo: what this user may see. Somebody without an account (None) sees what is public."""
    if user is None:
        return Repo.public.is_(True)
    if user.is_admin:
        return Repo.id.is_not(None)
    shared = select(Collaborator.repo_id).where(Collaborator.user_id == user.id)
    return or_(Repo.owner_id == user.id, Repo.public.is_(True), Repo.id.in_(shared))


async def get_readable(session: AsyncSession, user: User | None, owner: str, name: str) -> Repo:
    """The repo, if this user may see it. Raises NotFound, the same for missing and for hidden."""
    found = await session.scalars(
        select(Repo)
        .join(User, User.id == Repo.owner_id)
        .where(User.name == owner, Repo.name == name, visible_to(user))
    )
    repo = found.first()
    if repo is None:
        raise NotFound(f"there is no repository {owner[:80]}/{name[:80]} that you may see")
    return repo


async def get_or_make_writable(session: AsyncSession, user: User, owner: str, name: str) -> Repo:
    """The repo to push to; an owner's first push makes it. Raises NotFound, Refused or UserError."""
    repo = await find_repo(session, owner, name)
    if repo is None:
        return await _make(session, user, owner, name)
    await check_writable(session, user, repo, owner, name)
    return repo


async def check_takeable(session: AsyncSession, user: User, owner: str, name: str) -> None:
    """Raises what `get_or_make_writable` would, and makes nothing."""
    repo = await find_repo(session, owner, name)
    if repo is not None:
        await check_writable(session, user, repo, owner, name)
        return
    if owner != user.name and not (user.is_admin and await find_user(session, owner)):
        raise _not_yours(user, owner, name)
    check_name(name, "repository")


async def check_writable(session: AsyncSession, user: User, repo: Repo, owner: str, name: str) -> None:
    """Raises Refused for who may only read, NotFound for who may not know that it is there."""
    if await may_write(session, user, repo):
        return
    try:
        await get_readable(session, user, owner, name)
    except NotFound:
        raise _not_yours(user, owner, name) from None
    raise Refused(
        f"you may read {owner}/{name}, but not push to it", f"ask {owner} to make you a collaborator"
    )


async def may_write(session: AsyncSession, user: User, repo: Repo) -> bool:
    """Whether this user may push, cancel and run again."""
    return repo.id in await writable(session, user, [repo])


async def writable(session: AsyncSession, user: User, repos: Sequence[Repo]) -> set[int]:
    """The ids of those where this user may push, cancel and run again."""
    mine = {repo.id for repo in repos if may_manage(user, repo)}
    others = {repo.id for repo in repos} - mine
    if not others:
        return mine
    shared = select(Collaborator.repo_id).where(
        Collaborator.user_id == user.id, Collaborator.role == "write", Collaborator.repo_id.in_(others)
    )
    return mine | set((await session.scalars(shared)).all())


def _not_yours(user: User, owner: str, name: str) -> NotFound:
    """The same for a name that is not taken and for one that this user may not know of."""
    return NotFound(
        f"there is no repository {owner[:80]}/{name[:80]} that you may see",
        f"your own repositories are made by their first push: …/{user.name}/{name[:80]}.git",
    )


async def _make(session: AsyncSession, user: User, owner: str, name: str) -> Repo:
    if owner != user.name:
        exists = await find_user(session, owner)
        if exists is None or not user.is_admin:
            raise _not_yours(user, owner, name)
        user = exists
    check_name(name, "repository")
    repo = Repo(owner_id=user.id, name=name, created_at=time.time())
    try:
        async with session.begin_nested():
            session.add(repo)
    except IntegrityError:  # another first push at this moment
        found = select(Repo).where(Repo.owner_id == user.id, Repo.name == name)
        return (await session.scalars(found)).one()
    return repo


def may_manage(user: User, repo: Repo) -> bool:
    """Whether this user may change the repo's settings: its owner, and admins."""
    return user.is_admin or repo.owner_id == user.id


async def list_collaborators(session: AsyncSession, repo: Repo) -> list[tuple[User, str]]:
    """Users with their roles, by name."""
    found = select(User, Collaborator.role).join(Collaborator, Collaborator.user_id == User.id)
    rows = await session.execute(found.where(Collaborator.repo_id == repo.id).order_by(User.name))
    return [(user, role) for user, role in rows.all()]


async def set_collaborator(session: AsyncSession, repo: Repo, name: str, role: str) -> None:
    """Let somebody `read` or `write`. Raises UserError for a role or a user that cannot be."""
    if role not in ROLES:
        raise UserError(f"a collaborator's role is {' or '.join(ROLES)}, not {role[:80]!r}")
    user = await get_user(session, name)
    if user.id == repo.owner_id:
        raise UserError(f"{name} is the owner", "the owner may do everything already")
    await session.merge(Collaborator(repo_id=repo.id, user_id=user.id, role=role))


async def remove_collaborator(session: AsyncSession, repo: Repo, name: str) -> None:
    """Take somebody's role away. Raises NotFound."""
    user = await find_user(session, name)
    row = None if user is None else await session.get(Collaborator, (repo.id, user.id))
    if row is None:
        raise NotFound(f"{name[:80]!r} is not a collaborator")
    await session.delete(row)
