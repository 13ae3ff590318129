"""`PUT` and `DELETE` of `/api/v1/repos/{owner}/{repo}/upstream`: what a repository here is to follow."""

from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from hermes.errors import UserError
from hermes.upstreams import place_of
from web.connected import Connected, Found, Ours, Wish
from web.connecting import Connecting
from web.endpoint import Asked, Endpoint, Name
from web.reading import Body
from web.site import Site

_HOW = 'send {"name": "octocat/hello-world", "token": "…"} as JSON'


class FollowedAnswer(BaseModel):
    """What is followed, and how that goes; no answer has the token. `error`: of the last fetch,
    `report_error`: of the last report, "" where it went well. `ssh`: from where it is fetched with a deploy
    key, "": over HTTPS; `public_key`: that key; `host_keys`: fingerprints by which that server is known."""

    repo: str
    kind: str
    name: str
    url: str
    hook_url: str
    has_token: bool
    reports: bool
    error: str
    report_error: str
    created_at: float
    delivered_at: float | None
    polled_at: float | None
    ssh: str
    public_key: str
    host_keys: list[str]


class UpstreamList(BaseModel):
    """All that somebody may change."""

    upstreams: list[FollowedAnswer]


class ConnectedAnswer(FollowedAnswer):
    """What came of it. `webhook`: `made`, `updated`, or `by hand`: then `steps` say how and `secret` is the
    webhook's; `lacks`: what the token may not do. `deploy_key`: `made`, `there`, `by hand`, or "" without
    one; `host_key`: how it is believed: `published`, `first seen`, `known` or `confirmed`."""

    webhook: str
    lacks: list[str]
    steps: list[str]
    secret: str
    deploy_key: str
    host_key: str


class UpstreamGone(BaseModel):
    """It is followed no more; `webhook`, `deploy_key`: what became of them, in words."""

    webhook: str
    deploy_key: str


class UpstreamWish(Body):
    """What to follow. Without `token` the one that is there stays, with "" it goes."""

    name: str = Field(description="OWNER/REPO there")
    kind: str = Field("github", description="`github`, `gitea` (also Forgejo) or `gitlab`")
    url: str = Field("", description="of a forge of one's own: https://forge.example.org")
    token: str | None = Field(
        None, max_length=4096, description="what the forge has made for this; it is sealed"
    )
    by_hand: bool = Field(False, description="a person makes the webhook, the answer says how")
    deploy_key: bool | None = Field(
        None, description="fetch over SSH with a key for this alone; left out: as it was"
    )
    ssh: str = Field("", max_length=400, description="where: git@forge.example.org:2222")
    host_key: str = Field("", max_length=100, description="which it must show: SHA256:…")


def upstream_fields(found: Found, ours: Ours) -> dict[str, Any]:
    """As both answers have them."""
    row = found.upstream
    return {
        "repo": ours.whole,
        "kind": row.kind,
        "name": row.name,
        "url": f"{row.base_url}/{row.name}",
        "hook_url": found.hook_url,
        "has_token": found.has_token,
        "reports": row.reports,
        "error": row.error,
        "report_error": row.report_error,
        "created_at": row.created_at,
        "delivered_at": row.delivered_at,
        "polled_at": row.polled_at,
        "ssh": row.ssh,
        "public_key": row.public_key,
        "host_keys": found.host_keys,
    }


class ConnectApi:
    """The handlers: for who may write."""

    def __init__(self, site: Site) -> None:
        self._connecting = Connecting(site)

    async def list_upstreams(self, asked: Asked) -> UpstreamList:
        """What the repositories follow that you may push to."""
        found = await self._connecting.all_of(asked.user)
        return UpstreamList(upstreams=[FollowedAnswer(**upstream_fields(*each)) for each in found])

    async def connect_upstream(
        self, asked: Asked, owner: Name, repo: Name, body: Annotated[dict[str, Any], UpstreamWish]
    ) -> ConnectedAnswer:
        """Let a repository follow one on GitHub, Gitea, Forgejo or GitLab.

        It is made if it is not there. Asked for again, it is brought up to date."""
        ours = Ours(owner, repo)
        await self._connecting.may(asked.user, ours)  # who may not is not told how
        done = await self._connecting.connect(asked.user, asked.by, ours, _read(body))
        return _answer(done, ours)

    async def disconnect_upstream(self, asked: Asked, owner: Name, repo: Name) -> UpstreamGone:
        """Follow nothing any more; what has come of it stays.

        Its webhook and its deploy key are removed there, if the token may, and the token here."""
        left = await self._connecting.disconnect(asked.user, asked.by, Ours(owner, repo))
        return UpstreamGone(**left._asdict())


def _answer(done: Connected, ours: Ours) -> ConnectedAnswer:
    more: dict[str, Any] = {
        "webhook": done.webhook,
        "lacks": done.lacks,
        "steps": done.steps,
        "secret": done.secret,
        "deploy_key": done.deploy_key,
        "host_key": done.host_key,
    }
    return ConnectedAnswer(**upstream_fields(done.found, ours), **more)


def _read(body: dict[str, Any]) -> Wish:
    """Raises UserError, whose words never repeat the token."""
    try:
        wish = UpstreamWish.model_validate(body)
    except ValidationError as error:
        where = ", ".join(".".join(map(str, each["loc"])) or each["msg"] for each in error.errors())
        raise UserError(f"the body is not as it should be: {where[:200]}", _HOW) from None
    place, token = place_of(wish.kind, wish.name, wish.url), checked_token(wish.token)
    return Wish(place, token, wish.by_hand, wish.deploy_key, wish.ssh, wish.host_key)


def checked_token(token: str | None) -> str | None:
    """Raises UserError for what no forge makes."""
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        raise UserError("that is no token: it has blanks or characters that none has", "copy it anew")
    return token


def endpoints(site: Site) -> list[Endpoint]:
    """In the order of the documents."""
    api, address = ConnectApi(site), "/repos/{owner}/{repo}/upstream"
    return [
        Endpoint("GET", "/upstreams", api.list_upstreams),
        Endpoint("PUT", address, api.connect_upstream, errors=(403,)),
        Endpoint("DELETE", address, api.disconnect_upstream, errors=(403,)),
    ]
