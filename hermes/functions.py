"""Functions: a built repo seen as something to invoke. `owner/name`, `owner/name:1.0.0`, `owner/name@main`.

A version is what was built first under it, for good: later commits that still say 1.0.0 are built and run,
but `:1.0.0` stays what it was until its owner deletes it."""

import difflib
import re
from typing import NamedTuple

from sqlalchemy import ColumnElement, Select, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.errors import NotFound, Refused, Unavailable, UserError
from hermes.git import run_git
from hermes.paths import Paths
from hermes.plan import Plan
from hermes.pushes import BRANCHES, TAGS
from hermes.refs import PULLS
from hermes.repos import visible_to
from hermes.states import TERMINAL, State
from hermes.tables import Build, Push, Repo, User
from hermes.threads import in_thread
from hermes.words import bad_end

LATEST = "latest"
_NAME = re.compile(r"([^/:@\s]+)/([^/:@\s]+)(?:([:@])(\S+))?")
_VERSION = re.compile(r"\d+\.\d+\.\d+", re.ASCII)
_SHA = re.compile(r"[0-9a-f]{7,40}", re.ASCII)
_LIVE = (State.QUEUED, State.BUILDING)
_NAMES_LOOKED_AT = 2000
_ALIKE, _VERY_ALIKE = 0.5, 0.75  # names are short: pi and pj


class FunctionName(NamedTuple):
    """What somebody wrote; `what`: a version, branch, tag or commit, LATEST without one."""

    owner: str
    name: str
    what: str = LATEST

    def __str__(self) -> str:
        if self.what == LATEST:
            return f"{self.owner}/{self.name}"
        return f"{self.owner}/{self.name}{':' if _VERSION.fullmatch(self.what) else '@'}{self.what}"


class Function(NamedTuple):
    """What is invoked, and by which name: `build` may still be under way, `what` as in FunctionName."""

    repo: Repo
    owner: str
    build: Build
    what: str


def parse_function(text: str) -> FunctionName:
    """Raises UserError."""
    match = _NAME.fullmatch(text)
    if match is None or (match[3] == ":" and not _VERSION.fullmatch(match[4]) and match[4] != LATEST):
        raise UserError(
            f"{text[:80]!r} names no function",
            "write owner/name, owner/name:1.0.0 (a version) or owner/name@main (a branch, tag or commit)",
        )
    return FunctionName(match[1], match[2], match[4] or LATEST)


async def find_function(
    session: AsyncSession, user: User | None, name: FunctionName, paths: Paths
) -> Function:
    """Raises NotFound with the nearest names, Refused where nothing was built (yet)."""
    repo = await find_repo_of(session, user, name)
    builds = select(Build).where(Build.repo_id == repo.id, Build.deleted_at.is_(None))
    builds = builds.where(builds_named(repo, name.name))
    if name.what == LATEST:
        build = await _latest(session, repo, builds)
    elif _VERSION.fullmatch(name.what):
        build = await _version(session, name, builds)
    else:
        build = await _of_commit(session, name, builds, await _commit(session, repo, name, paths))
    return Function(repo, name.owner, build, name.what)


def builds_named(repo: Repo, name: str) -> ColumnElement[bool]:
    """A condition on Build: by the repo's name all of them, else those of the function that is called so."""
    return true() if name == repo.name else Build.name == name


async def find_repo_of(session: AsyncSession, user: User | None, name: FunctionName) -> Repo:
    """By the repo's name, else by that which its manifest gives to the function. Raises NotFound."""
    of_owner = (
        select(Repo).join(User, User.id == Repo.owner_id).where(User.name == name.owner, visible_to(user))
    )
    found = (await session.scalars(of_owner.where(Repo.name == name.name))).first()
    if found is None:
        named = select(Build.repo_id).where(Build.name == name.name, Build.deleted_at.is_(None))
        found = (await session.scalars(of_owner.where(Repo.id.in_(named)).order_by(Repo.id).limit(1))).first()
    if found is None:
        raise NotFound(
            f"there is no function {name.owner}/{name.name} that you may see",
            await _near(session, user, name),
        )
    return found


async def _near(session: AsyncSession, user: User | None, name: FunctionName) -> str:
    rows = await session.execute(
        select(User.name, Repo.name)
        .join(Repo, User.id == Repo.owner_id)
        .where(visible_to(user))
        .order_by(Repo.id.desc())
        .limit(_NAMES_LOOKED_AT)
    )
    found = [(owner, repo) for owner, repo in rows.all()]
    of_owner = [repo for owner, repo in found if owner == name.owner]
    alike = [difflib.get_close_matches(name.name, of_owner, 2, least) for least in (_VERY_ALIKE, _ALIKE)]
    near = [f"{name.owner}/{repo}" for repo in alike[0] or alike[1]]
    near += [f"{owner}/{repo}" for owner, repo in found if repo == name.name][:2]
    return (
        f"did you mean {' or '.join(near)}?" if near else "`hermes functions list` says which you may invoke"
    )


async def _latest(session: AsyncSession, repo: Repo, builds: "Select[Build]") -> Build:
    """The newest built commit of the default branch; before there is one, what is on its way to it."""
    pushed = builds.join(Push, (Push.repo_id == Build.repo_id) & (Push.new_sha == Build.commit_sha)).where(
        Push.ref == BRANCHES + repo.default_branch, Push.state == "applied"
    )
    theirs = select(Push.new_sha).where(Push.repo_id == repo.id, Push.ref.not_like(f"{PULLS}%"))
    builds = builds.where(Build.commit_sha.in_(theirs))
    for query in (
        pushed.where(Build.state == State.BUILT).order_by(Push.id.desc(), Build.id.desc()),
        builds.where(Build.state == State.BUILT).order_by(Build.id.desc()),
        pushed.where(Build.state.in_(_LIVE)).order_by(Push.id.desc(), Build.id.desc()),
        builds.order_by(Build.id.desc()),
    ):
        if (build := (await session.scalars(query.limit(1))).first()) is not None:
            return _usable(build)
    raise Refused("nothing was built in this repository yet", "git push gpu main")


async def _version(session: AsyncSession, name: FunctionName, builds: "Select[Build]") -> Build:
    of_it = builds.where(Build.version == name.what).order_by(Build.id)
    for query in (of_it.where(Build.state == State.BUILT), of_it.where(Build.state.in_(_LIVE))):
        if (build := (await session.scalars(query.limit(1))).first()) is not None:
            return build
    rows = await session.scalars(
        builds.with_only_columns(Build.version)
        .where(Build.version != "", Build.state == State.BUILT)
        .distinct()
    )
    there = sorted(rows.all(), key=lambda text: [int(part) for part in text.split(".")])[-5:]
    hint = (
        f"there are {', '.join(there)}"
        if there
        else "no version was built yet: `version` in hermes.toml gives one"
    )
    raise NotFound(f"{name.owner}/{name.name} has no version {name.what}", hint)


async def taken_version(session: AsyncSession, repo: Repo, plan: Plan, sha: str) -> str:
    """The other commit that has the version of this plan, "" if none has."""
    if not plan.version:
        return ""
    named = (Build.repo_id == repo.id, Build.name == plan.name, Build.version == plan.version)
    first = select(Build.commit_sha).where(*named, Build.state == State.BUILT, Build.deleted_at.is_(None))
    found = await session.scalar(first.order_by(Build.id).limit(1))
    return "" if found in (None, sha) else str(found)


async def _commit(session: AsyncSession, repo: Repo, name: FunctionName, paths: Paths) -> str:
    """Branch, then tag, then commit."""
    for ref in (BRANCHES + name.what, TAGS + name.what):
        if sha := await in_thread(_peel, paths, repo.id, ref):
            return sha
    what = name.what.lower()
    if _SHA.fullmatch(what):
        found = (
            await session.scalars(
                select(Build.commit_sha)
                .where(Build.repo_id == repo.id, Build.commit_sha >= what, Build.commit_sha < f"{what}g")
                .distinct()
                .limit(2)
            )
        ).all()
        if len(found) > 1:
            raise UserError(f"{name.what} begins several commits", "use more of its id")
        if found:
            return found[0]
    raise NotFound(
        f"{name.owner}/{name.name} has no branch, tag or built commit {name.what[:80]!r}",
        f"`hermes functions show {name.owner}/{name.name}` lists what was built",
    )


def _peel(paths: Paths, repo_id: int, ref: str) -> str:
    try:
        words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
        return run_git(paths.repo(repo_id), *words).decode().strip()
    except (Unavailable, OSError):  # there is no such ref
        return ""


async def _of_commit(session: AsyncSession, name: FunctionName, builds: "Select[Build]", sha: str) -> Build:
    of_it = builds.where(Build.commit_sha == sha).order_by(Build.id.desc())
    good = of_it.where(or_(Build.state == State.BUILT, Build.state.in_(_LIVE)))
    for query in (good.order_by(None).order_by(Build.state != State.BUILT, Build.id.desc()), of_it):
        if (build := (await session.scalars(query.limit(1))).first()) is not None:
            return _usable(build)
    raise Refused(
        f"commit {sha[:12]} of {name.owner}/{name.name} was not built",
        "push it to a branch that is built (on.push)",
    )


def _usable(build: Build) -> Build:
    if build.state in TERMINAL and build.state is not State.BUILT:
        raise Refused(
            f"build {build.id} {bad_end(build)}", "there is nothing to run: push a commit that builds"
        )
    return build
