"""`/api/v1/…/secrets`: what secrets there are, and new values for them. No answer has a value in it."""

from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError
from starlette.responses import Response

from hermes.audit import write_down
from hermes.errors import NotFound, UserError
from hermes.repos import get_readable, may_manage
from hermes.secret_keys import key_file
from hermes.secret_store import (
    Keeping,
    NewSecret,
    Secret,
    find_secret,
    list_secrets,
    remove_secret,
    set_secret,
)
from web.endpoint import Also, Asked, Endpoint, Name
from web.reading import Body
from web.site import Site

_HOW = 'send {"value": "…", "branches": ["main"]} as JSON; branches may be left out'


class SecretAnswer(BaseModel):
    """One secret; `branches` empty: the default branch."""

    name: str
    branches: list[str]
    user: str  # who set it
    created_at: float
    updated_at: float
    last_used_at: float | None


class SecretList(BaseModel):
    """All of one repository, or of a user."""

    secrets: list[SecretAnswer]


class SecretValue(Body):
    """A new value, and for which branches."""

    value: str
    branches: list[str] = Field(default_factory=list)


_Value = Annotated[dict[str, Any], SecretValue]


class SecretApi:
    """The handlers: of repositories, for who may change their settings; of users, for themselves."""

    def __init__(self, site: Site) -> None:
        self._database = site.context.database
        self._key = key_file(site.context.settings)

    async def list_repo_secrets(self, asked: Asked, owner: Name, repo: Name) -> SecretList:
        """The secrets of a repository, without their values."""
        return await self._list(await self._of_repo(asked, owner, repo))

    async def get_repo_secret(self, asked: Asked, owner: Name, repo: Name, name: str) -> SecretAnswer:
        """A secret of a repository, without its value."""
        return await self._show(await self._of_repo(asked, owner, repo), name)

    async def set_repo_secret(
        self, asked: Asked, owner: Name, repo: Name, name: str, body: _Value
    ) -> Response:
        """Make or replace a secret of a repository."""
        return await self._set(asked, await self._of_repo(asked, owner, repo), f"{owner}/{repo}", name, body)

    async def delete_repo_secret(self, asked: Asked, owner: Name, repo: Name, name: str) -> None:
        """Remove a secret of a repository."""
        await self._delete(asked, await self._of_repo(asked, owner, repo), f"{owner}/{repo}", name)

    async def list_user_secrets(self, asked: Asked) -> SecretList:
        """Your own secrets, without their values."""
        return await self._list(Keeping(asked.user))

    async def get_user_secret(self, asked: Asked, name: str) -> SecretAnswer:
        """A secret of yours, without its value."""
        return await self._show(Keeping(asked.user), name)

    async def set_user_secret(self, asked: Asked, name: str, body: _Value) -> Response:
        """Make or replace a secret of yours."""
        return await self._set(asked, Keeping(asked.user), asked.user.name, name, body)

    async def delete_user_secret(self, asked: Asked, name: str) -> None:
        """Remove a secret of yours."""
        await self._delete(asked, Keeping(asked.user), asked.user.name, name)

    async def _of_repo(self, asked: Asked, owner: str, name: str) -> Keeping:
        async with self._database.read() as session:
            repo = await get_readable(session, asked.user, owner, name)
        if not may_manage(asked.user, repo):
            raise NotFound("there are no secrets for you", f"ask {owner} for what is to be changed")
        return Keeping(asked.user, repo)

    async def _list(self, keeping: Keeping) -> SecretList:
        async with self._database.read() as session:
            found = await list_secrets(session, keeping)
        return SecretList(secrets=[_answer(*each) for each in found])

    async def _show(self, keeping: Keeping, name: str) -> SecretAnswer:
        async with self._database.read() as session:
            return _answer(*await find_secret(session, keeping, name))

    async def _set(
        self, asked: Asked, keeping: Keeping, whose: str, name: str, body: dict[str, Any]
    ) -> Response:
        value = _checked(body)
        new = NewSecret(name, value.value, tuple(value.branches))
        async with self._database.write() as session:
            is_new = await set_secret(session, self._key, keeping, new)
            write_down(session, asked.by, "secret set", whose, " ".join((name, *value.branches)))
            found = await find_secret(session, keeping, name)
        answer = _answer(*found).model_dump_json()
        return Response(answer, 201 if is_new else 200, media_type="application/json")

    async def _delete(self, asked: Asked, keeping: Keeping, whose: str, name: str) -> None:
        async with self._database.write() as session:
            row = await remove_secret(session, keeping, name)
            write_down(session, asked.by, "secret removed", whose, row.name)


def _checked(body: dict[str, Any]) -> SecretValue:
    """Raises UserError, whose words never repeat what was sent."""
    try:
        return SecretValue.model_validate(body)
    except ValidationError as error:
        where = ", ".join(".".join(map(str, each["loc"])) or each["msg"] for each in error.errors())
        raise UserError(f"the body is not as it should be: {where[:200]}", _HOW) from None


def _answer(secret: Secret, user: str) -> SecretAnswer:
    return SecretAnswer(
        name=secret.name,
        branches=secret.branches,
        user=user,
        created_at=secret.created_at,
        updated_at=secret.updated_at,
        last_used_at=secret.last_used_at,
    )


def endpoints(site: Site) -> list[Endpoint]:
    """In the order of the documents."""
    api, of_repo, of_user = SecretApi(site), "/repos/{owner}/{repo}/secrets", "/user/secrets"
    replaced = {200: Also("it is replaced", SecretAnswer)}
    return [
        Endpoint("GET", of_repo, api.list_repo_secrets),
        Endpoint("GET", f"{of_repo}/{{name}}", api.get_repo_secret),
        Endpoint("PUT", f"{of_repo}/{{name}}", api.set_repo_secret, 201, model=SecretAnswer, others=replaced),
        Endpoint("DELETE", f"{of_repo}/{{name}}", api.delete_repo_secret, 204),
        Endpoint("GET", of_user, api.list_user_secrets),
        Endpoint("GET", f"{of_user}/{{name}}", api.get_user_secret),
        Endpoint("PUT", f"{of_user}/{{name}}", api.set_user_secret, 201, model=SecretAnswer, others=replaced),
        Endpoint("DELETE", f"{of_user}/{{name}}", api.delete_user_secret, 204),
    ]
