"""The function that most calls mean, found by one fixed statement: the newest build of the default branch."""

from sqlalchemy import bindparam, select

from hermes.at_once import Ask, as_row
from hermes.functions import LATEST, Function, FunctionName
from hermes.pushes import BRANCHES
from hermes.repos import may_manage
from hermes.states import State
from hermes.tables import Build, Push, Repo, User

_REPO, _BUILD = Repo.__table__, Build.__table__
_NEWEST = (
    select(*_REPO.c, *_BUILD.c)
    .join(_BUILD, _BUILD.c.repo_id == _REPO.c.id)
    .join(User, User.id == _REPO.c.owner_id)
    .join(Push, (Push.repo_id == _REPO.c.id) & (Push.new_sha == _BUILD.c.commit_sha))
    .where(User.name == bindparam("owner"), _REPO.c.name == bindparam("name"))
    .where(_BUILD.c.state == State.BUILT, _BUILD.c.deleted_at.is_(None))
    .where(Push.ref == BRANCHES + _REPO.c.default_branch, Push.state == "applied")
    .order_by(Push.id.desc(), _BUILD.c.id.desc())
    .limit(1)
)


def find_ready(ask: Ask, user: User, name: FunctionName) -> Function | None:
    """None: it is not that simple, and `find_function` finds it or says why not."""
    if name.what != LATEST:
        return None
    found = ask(_NEWEST, owner=name.owner, name=name.name)
    if not found:
        return None
    repo = as_row(Repo, found[0][: len(_REPO.c)])
    if not (repo.public or may_manage(user, repo)):
        return None
    return Function(repo, name.owner, as_row(Build, found[0][len(_REPO.c) :]), name.what)
