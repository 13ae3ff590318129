"""`hermes admin repo`: who may do what in a repository, and what it protects."""

import json
from typing import NamedTuple

import click
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.audit import OPERATOR, write_down
from hermes.branches import list_branches, set_default_branch
from hermes.cli.act import Row, as_json, day, fields_of, instance_paths, say, with_database
from hermes.database import Database
from hermes.errors import NotFound
from hermes.repos import ROLES, find_repo, list_collaborators, remove_collaborator, set_collaborator
from hermes.tables import Repo, User
from hermes.threads import in_thread
from hermes.tokens import list_deploy_tokens
from hermes.visibility import what_shows

_FIELDS = ("public", "protected", "default_branch", "created_at")


class Found(NamedTuple):
    """A repo and its `owner/name`."""

    repo: Repo
    name: str


async def find(session: AsyncSession, text: str) -> Found:
    """By `OWNER/NAME`. Raises NotFound."""
    owner, _, name = text.partition("/")
    repo = await find_repo(session, owner, name)
    if repo is None:
        raise NotFound(f"there is no repository {text[:160]!r}", "hermes admin repo list")
    return Found(repo, text)


@click.group()
def repo() -> None:
    """Repositories: who may do what there, what is protected."""


@repo.command("list")
@as_json
def repo_list(as_json: bool) -> None:
    """All repositories."""

    async def act(database: Database) -> list[Row]:
        async with database.read() as session:
            rows = await session.execute(
                select(Repo, User.name).join(User, User.id == Repo.owner_id).order_by(User.name, Repo.name)
            )
            return [
                {"id": repo.id, "name": f"{owner}/{repo.name}"} | fields_of(repo, *_FIELDS)
                for repo, owner in rows.all()
            ]

    def line(row: Row) -> str:
        marks = [word for word in ("public", "protected") if row[word]]
        return "  ".join(
            [f"{row['name']:30} {day(row['created_at'])}", row["default_branch"] or "(empty)", *marks]
        )

    say(with_database(act), line, as_json)


@repo.command("show")
@click.argument("name", metavar="OWNER/NAME")
@as_json
def repo_show(name: str, as_json: bool) -> None:
    """One repository: its branches, who may do what, its deploy tokens."""

    async def act(database: Database) -> Row:
        async with database.read() as session:
            repo = (await find(session, name)).repo
            users = await list_collaborators(session, repo)
            tokens = await list_deploy_tokens(session, repo)
        return {
            "id": repo.id,
            "name": name,
            **fields_of(repo, *_FIELDS),
            "path": str(instance_paths().repo(repo.id)),
            "branches": await in_thread(list_branches, instance_paths().repo(repo.id)),
            "collaborators": [{"user": user.name, "role": role} for user, role in users],
            "deploy_tokens": [
                fields_of(token, "id", "name", "scope", "expires_at", "last_used_at") | {"user": maker}
                for token, maker in tokens
            ],
        }

    found = with_database(act)
    if as_json:
        click.echo(json.dumps(found))
    else:
        _show(found)


def _until(token: Row) -> str:
    return day(token["expires_at"], "revoked")


def _show(found: Row) -> None:
    collaborators = [f"{each['user']} ({each['role']})" for each in found["collaborators"]]
    tokens = [
        f"{each['id']} {each['name']} ({each['scope']}, of {each['user']}, until {_until(each)})"
        for each in found["deploy_tokens"]
    ]
    lines = {
        "public": "yes" if found["public"] else "no",
        "protected": "default branch and tags" if found["protected"] else "no",
        "default branch": found["default_branch"] or "none: nothing was pushed yet",
        "branches": ", ".join(found["branches"]) or "none",
        "collaborators": ", ".join(collaborators) or "none",
        "deploy tokens": f"\n{'':18}".join(tokens) or "none",
        "made": day(found["created_at"]),
        "lies in": found["path"],
    }
    click.echo(found["name"])
    for label, words in lines.items():
        click.echo(f"  {label:15} {words}")


@repo.command("protect")
@click.argument("name", metavar="OWNER/NAME")
def repo_protect(name: str) -> None:
    """Protect the default branch and tags: no force, no delete."""
    _set(name, "protected", True)
    click.echo(f"{name}: the default branch and tags are protected")


@repo.command("unprotect")
@click.argument("name", metavar="OWNER/NAME")
def repo_unprotect(name: str) -> None:
    """Let people who may push also force and delete."""
    _set(name, "protected", False)
    click.echo(f"{name}: nothing is protected")


def _set(name: str, what: str, value: bool) -> None:
    async def act(database: Database) -> None:
        async with database.write() as session:
            setattr((await find(session, name)).repo, what, value)
            write_down(session, OPERATOR, "repo settings", name, f"{what}={value}".lower())

    with_database(act)


@repo.command("public")
@click.argument("name", metavar="OWNER/NAME")
@click.option("--yes", is_flag=True, help="Do not ask.")
def repo_public(name: str, yes: bool) -> None:
    """Let everybody read OWNER/NAME: its source, builds, runs, logs and artifacts."""

    async def look(database: Database) -> list[str]:
        async with database.read() as session:
            return (await what_shows(session, (await find(session, name)).repo.id)).words

    if not yes:
        click.echo(f"Of {name} everybody will see:")
        click.echo("".join(f"  {line}\n" for line in with_database(look)), nl=False)
        click.confirm("Make it public?", abort=True)
    _set(name, "public", True)
    click.echo(f"{name}: everybody may read it")


@repo.command("private")
@click.argument("name", metavar="OWNER/NAME")
def repo_private(name: str) -> None:
    """Let only the owner, collaborators and admins read OWNER/NAME."""
    _set(name, "public", False)
    click.echo(f"{name}: its owner, its collaborators and admins may read it")


@repo.command("default-branch")
@click.argument("name", metavar="OWNER/NAME")
@click.argument("branch")
def repo_default_branch(name: str, branch: str) -> None:
    """Make BRANCH the one that a clone checks out."""

    async def act(database: Database) -> None:
        async with database.read() as session:
            repo = (await find(session, name)).repo
        await set_default_branch(database, instance_paths(), repo, branch)
        async with database.write() as session:
            write_down(session, OPERATOR, "repo settings", name, f"default branch {branch}")

    with_database(act)
    click.echo(f"{name}: the default branch is {branch}")


@repo.group()
def collaborator() -> None:
    """Who else may read a repository, or push to it."""


@collaborator.command("add")
@click.argument("name", metavar="OWNER/NAME")
@click.argument("user_name", metavar="USER")
@click.option("--role", type=click.Choice(ROLES), default="read", show_default=True, help="What they may.")
def collaborator_add(name: str, user_name: str, role: str) -> None:
    """Let USER read OWNER/NAME, or push to it; a second time changes the role."""

    async def act(database: Database) -> None:
        async with database.write() as session:
            await set_collaborator(session, (await find(session, name)).repo, user_name, role)
            write_down(session, OPERATOR, "collaborator", name, f"{user_name} may {role}")

    with_database(act)
    click.echo(f"{name}: {user_name} may {role}")


@collaborator.command("remove")
@click.argument("name", metavar="OWNER/NAME")
@click.argument("user_name", metavar="USER")
def collaborator_remove(name: str, user_name: str) -> None:
    """Take the role of USER in OWNER/NAME away."""

    async def act(database: Database) -> None:
        async with database.write() as session:
            await remove_collaborator(session, (await find(session, name)).repo, user_name)
            write_down(session, OPERATOR, "collaborator", name, f"{user_name} removed")

    with_database(act)
    click.echo(f"{name}: {user_name} is no collaborator any more")
