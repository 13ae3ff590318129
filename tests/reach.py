"""Every address and who gets what there: test_reach.py walks this table, and a new route needs a row."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

#: In the order in which they try; the owner last, who really does what the others may not.
ROLES = ("nobody", "other", "reader", "writer", "admin", "owner")
SIGN_IN = 0  # a browser is led to the form (303), a program gets 401


class Rule(NamedTuple):
    """The status for each role: of what is private, of what is public, of what does not exist."""

    private: tuple[int, ...]
    public: tuple[int, ...] = ()  # empty: no such object is public
    missing: tuple[int, ...] = ()  # empty: the address names no object
    form: Mapping[str, str] = MappingProxyType({})
    body: bytes = b""
    json: Mapping[str, str] = MappingProxyType({})
    parts: Mapping[str, str] = MappingProxyType({})  # of multipart/form-data


_GONE = (SIGN_IN, 404, 404, 404, 404, 404)


def everybody(status: int, **form: str) -> Rule:
    """Whoever asks."""
    return Rule((status,) * 6, form=form)


def account(status: int, **form: str) -> Rule:
    """Whoever has an account, of their own things."""
    return Rule((SIGN_IN,) + (status,) * 5, form=form)


def shown(status: int) -> Rule:
    """Who may read the repository, and everybody if it is public."""
    return Rule((SIGN_IN, 404) + (status,) * 4, (status,) * 6, _GONE)


def of_members(status: int) -> Rule:
    """As `shown`, to people with an account only."""
    return Rule((SIGN_IN, 404) + (status,) * 4, (SIGN_IN,) + (status,) * 5, _GONE)


def changed(status: int) -> Rule:
    """Who may write."""
    return Rule((SIGN_IN, 404, 403) + (status,) * 3, (SIGN_IN, 403, 403) + (status,) * 3, _GONE)


def written(status: int, **form: str) -> Rule:
    """Who may write; to everybody else there is no such page."""
    row = (SIGN_IN, 404, 404) + (status,) * 3
    return Rule(row, row, _GONE, form)


def again(status: int) -> Rule:
    """Who may write, and everybody with an account if it is public."""
    return changed(status)._replace(public=(SIGN_IN,) + (status,) * 5)


def managed(status: int, **form: str) -> Rule:
    """The owner and admins."""
    row = (SIGN_IN, 404, 404, 404, status, status)
    return Rule(row, row, _GONE, form)


def of_admins(status: int, **form: str) -> Rule:
    """Admins; to everybody else there is no such page."""
    return Rule((SIGN_IN, 404, 404, 404, status, 404), form=form)


def mine(status: int) -> Rule:
    """The owner of a row that is nobody else's business, not even an admin's."""
    return Rule((SIGN_IN, 404, 404, 404, 404, status), (), _GONE)


_BADGE = Rule((404, 404, 200, 200, 200, 200), (200,) * 6, (404,) * 6)  # a picture, so nobody is led to a form
_FETCH = Rule((401, 404, 200, 200, 200, 200), (200,) * 6, (401, 404, 404, 404, 404, 404), body=b"0000")
_PUSH = Rule(  # the first push makes a repository, whose name only its owner and admins may take
    private=(401, 404, 403, 200, 200, 200),
    public=(401, 403, 403, 200, 200, 200),
    missing=(401, 404, 404, 404, 200, 200),
    body=b"0000",
)
_MANAGED = Rule((SIGN_IN, 404, 403, 403, 200, 200), (SIGN_IN, 403, 403, 403, 200, 200), _GONE)
_DELETED = _MANAGED._replace(  # of a version that there is not, or the next one would find nothing
    private=(SIGN_IN, 404, 403, 403, 404, 404), public=(SIGN_IN, 403, 403, 403, 404, 404)
)
_VISIBILITY = Rule(  # nothing is asked for: whoever may ask is told how
    private=(SIGN_IN, 404, 403, 403, 400, 400),
    public=(SIGN_IN, 403, 403, 403, 400, 400),
    missing=_GONE,
)

_CONNECTED = Rule(  # nothing is asked for; who connects one makes the repository here
    private=(SIGN_IN, 404, 403, 400, 400, 400),
    public=(SIGN_IN, 403, 403, 400, 400, 400),
    missing=(SIGN_IN, 404, 404, 404, 400, 400),
)

_TELL = {"kind": "webhook", "target": "https://hermes.invalid/"}
_FEED = Rule(
    (401, 404, 200, 200, 200, 200), (200,) * 6, (401, 404, 404, 404, 404, 404)
)  # readers ask by Basic
_VALUE = b'{"value": "long enough"}'

TABLE = {
    "GET /healthz": everybody(200),
    "GET /readyz": everybody(200),
    "GET /metrics": everybody(200),  # from this machine
    "GET /signin": everybody(200),
    "POST /signin": everybody(401),
    "GET /api": everybody(200),
    "GET /api/v1/manifest.schema.json": everybody(200),
    "GET /api/v1/openapi.json": everybody(200),
    "GET /api/v1/version": everybody(200),
    "GET /": account(200),
    "GET /gpus": account(200),
    "GET /queue": account(200),
    "GET /functions": account(200),
    "GET /functions/{owner}/{function}": shown(200),
    "GET /functions/{owner}/{function}/uploads": shown(200),
    "POST /functions/{owner}/{function}/uploads": again(400)._replace(parts={"text": "no file"}),
    "POST /functions/{owner}/{function}/uploads/parts": account(412),  # without the name of the protocol
    "PATCH /functions/{owner}/{function}/uploads/parts/{upload}": mine(412),
    "GET /admin": of_admins(200),
    "POST /admin": of_admins(303, do="enable", user="alice"),
    "GET /admin/audit": of_admins(200),
    "GET /admin/images": of_admins(200),
    "GET /admin/runners": of_admins(200),
    "POST /admin/runners": of_admins(404, gpu="GPU-of-nobody", why="it is well"),
    "GET /admin/settings": of_admins(200),
    "GET /settings/tokens": account(200),
    "POST /settings/tokens": account(201, name="mine"),
    "POST /settings/tokens/{token}/revoke": mine(303),
    "GET /settings/keys": account(200),
    "POST /settings/keys": account(400, key="no key"),
    "POST /settings/keys/{key}/remove": mine(303),
    "GET /settings/secrets": account(200),
    "POST /settings/secrets": account(303, do="set-secret", name="OWN_KEY", value="long enough"),
    "GET /settings/notifications": account(200),
    "POST /settings/notifications": account(201, do="add", **_TELL),
    "GET /settings/notifications/{notification}/stop": everybody(200),
    "POST /settings/notifications/{notification}/stop": everybody(404),  # without the key of its mail
    "GET /{owner}/{repo}/settings/notifications": changed(200),
    "POST /{owner}/{repo}/settings/notifications": changed(201)._replace(form={"do": "add"} | _TELL),
    "GET /{owner}/{repo}/atom.xml": _FEED,
    "GET /{owner}/{repo}": shown(200),
    "GET /{owner}/{repo}/latest": shown(302),
    "GET /{owner}/{repo}/latest/log": shown(302),
    "GET /{owner}/{repo}/latest/artifacts/{path:path}": shown(302),
    "GET /{owner}/{repo}/badge.svg": _BADGE,
    "GET /{owner}/{repo}/commit/{sha}": shown(200),
    "GET /{owner}/{repo}/source/{sha}": shown(200),
    "GET /{owner}/{repo}/source/{sha}/{path:path}": shown(200),
    "GET /{owner}/{repo}/settings": managed(200),
    "POST /{owner}/{repo}/settings": managed(303, do="protect"),
    "GET /{owner}/{repo}/settings/upstream": written(200),
    "POST /{owner}/{repo}/settings/upstream": written(404, do="disconnect"),  # there is none
    "POST /{owner}/{repo}/schedules/{number}/{act}": changed(303),
    "GET /runs/{run}": shown(200),
    "GET /runs/{run}/events": shown(200),
    "GET /runs/{run}/log": shown(200),
    "GET /runs/{run}/log/lines": shown(200),
    "GET /runs/{run}/log/search?q=words": shown(200),
    "GET /runs/{run}/log/outline": shown(200),
    "GET /runs/{run}/logs": shown(200),
    "GET /runs/{run}/result": of_members(404),  # it was not invoked
    "GET /runs/{run}/logs/lines": shown(200),
    "GET /runs/{run}/logs/search?q=words": shown(200),
    "GET /runs/{run}/logs/outline": shown(200),
    "GET /runs/{run}/logs/where?rank=0&line=1": shown(200),
    "GET /runs/{run}/charts": shown(200),
    "GET /runs/{run}/artifacts": shown(200),
    "GET /runs/{run}/artifacts.zip": shown(200),
    "POST /runs/{run}/cancel": changed(303),
    "POST /runs/{run}/keep": changed(303),
    "POST /runs/{run}/unkeep": changed(303),
    "GET /runs/{run}/again": again(200),
    "POST /runs/{run}/again": again(303),
    "POST /functions/{owner}/{function}": again(303)._replace(parts={"text": "words"}),
    "GET /artifacts/{artifact}/{name:path}": shown(200),
    "GET /builds/{build}": shown(200),
    "GET /builds/{build}/events": shown(200),
    "GET /builds/{build}/log": shown(200),
    "GET /builds/{build}/log/lines": shown(200),
    "GET /builds/{build}/log/search?q=words": shown(200),
    "GET /builds/{build}/log/outline": shown(200),
    "POST /builds/{build}/cancel": changed(303),
    "GET /api/v1/user": account(200),
    "GET /api/v1/users": of_admins(200),
    "GET /api/v1/tokens": account(200),
    "POST /api/v1/tokens": account(201)._replace(json={"name": "mine"}),
    "DELETE /api/v1/tokens/{token_id}": mine(204),
    "GET /api/v1/limits": account(200),
    "GET /api/v1/images": account(200),
    "GET /api/v1/repos": account(200),
    "GET /api/v1/repos/{owner}/{repo}": of_members(200),
    "PATCH /api/v1/repos/{owner}/{repo}": _MANAGED,
    "GET /api/v1/functions": account(200),
    "GET /api/v1/functions/{owner}/{function}": of_members(200),
    "DELETE /api/v1/functions/{owner}/{function}": _DELETED,
    "GET /api/v1/runs": account(200),
    "GET /api/v1/gpus": account(200),
    "GET /api/v1/callback-secret": account(200),
    "GET /api/v1/runs/{run}": of_members(200),
    "GET /api/v1/runs/{run}/log": of_members(200),
    "GET /api/v1/runs/{run}/events": of_members(200),
    "GET /api/v1/runs/{run}/artifacts": of_members(200),
    "GET /api/v1/runs/{run}/artifacts/{rank}/{path:path}": of_members(200),
    "POST /api/v1/runs/{run}/cancel": changed(202),
    "POST /api/v1/runs/{run}/keep": changed(200),
    "POST /api/v1/runs/{run}/unkeep": changed(200),
    "POST /api/v1/runs/{run}/again": again(201),
    "GET /api/v1/runs/{run}/output": of_members(404),  # it was not invoked
    "GET /api/v1/runs/{run}/result": of_members(404),
    "POST /api/v1/functions/{owner}/{function:path}/runs": again(202),
    "PUT /api/v1/functions/{owner}/{function}/inbox/{path:path}": again(201)._replace(body=b"words"),
    "POST /api/v1/functions/{owner}/{function}/inbox": account(412),  # without the name of the protocol
    "GET /api/v1/functions/{owner}/{function}/uploads": of_members(200),
    "GET /api/v1/functions/{owner}/{function}/outbox": of_members(200),
    "GET /api/v1/functions/{owner}/{function}/outbox/{path:path}": of_members(200),
    "GET /api/v1/uploads/{upload}": of_members(200),
    "PATCH /api/v1/uploads/{upload}": mine(412),
    "DELETE /api/v1/uploads/{upload}": mine(409),  # it is whole
    "GET /api/v1/builds/{build}": of_members(200),
    "GET /api/v1/builds/{build}/log": of_members(200),
    "GET /api/v1/builds/{build}/events": of_members(200),
    "POST /api/v1/builds/{build}/cancel": changed(202),
    "GET /api/v1/repos/{owner}/{repo}/commits/{sha}": of_members(200),
    "GET /api/v1/schedules": account(200),
    "GET /api/v1/repos/{owner}/{repo}/schedules": of_members(200),
    "POST /api/v1/repos/{owner}/{repo}/schedules/{number}/pause": changed(200),
    "POST /api/v1/repos/{owner}/{repo}/schedules/{number}/resume": changed(200),
    "POST /api/v1/repos/{owner}/{repo}/schedules/{number}/run": changed(201),
    "PUT /api/v1/repos/{owner}/{repo}/secrets/{name}": managed(201)._replace(body=_VALUE),  # deleted below
    "GET /api/v1/repos/{owner}/{repo}/secrets": managed(200),
    "GET /api/v1/repos/{owner}/{repo}/secrets/{name}": managed(200),
    "DELETE /api/v1/repos/{owner}/{repo}/secrets/{name}": managed(204),
    "PUT /api/v1/user/secrets/{name}": account(201)._replace(body=_VALUE),
    "GET /api/v1/user/secrets": account(200),
    "GET /api/v1/user/secrets/{name}": account(200),
    "DELETE /api/v1/user/secrets/{name}": account(204),
    "GET /api/v1/upstreams": account(200),
    "GET /api/v1/repos/{owner}/{repo}/upstream": changed(404),  # there is none
    "PUT /api/v1/repos/{owner}/{repo}/upstream": _CONNECTED,
    "POST /api/v1/repos/{owner}/{repo}/upstream/fetch": changed(404)._replace(json={"branch": "main"}),
    "POST /api/v1/repos/{owner}/{repo}/upstream/arrivals/{arrival}/run": changed(404),
    "DELETE /api/v1/repos/{owner}/{repo}/upstream": changed(404),
    "GET /api/v1/notifications": account(200),
    "POST /api/v1/notifications": account(201)._replace(json=_TELL),
    "GET /api/v1/notifications/{notification}": mine(200),
    "PATCH /api/v1/notifications/{notification}": mine(200),
    "GET /api/v1/notifications/{notification}/attempts": mine(200),
    "POST /api/v1/notifications/{notification}/test": mine(200),
    "POST /api/v1/notifications/{notification}/attempts/{attempt}/again": mine(404),
    "DELETE /api/v1/notifications/{notification}": mine(204),
    "GET /api/v1/repos/{owner}/{repo}/notifications": changed(200),
    "POST /api/v1/repos/{owner}/{repo}/notifications": changed(201)._replace(json=_TELL),
    "GET /api/v1/repos/{owner}/{repo}/notifications/{notification}": changed(200),
    "PATCH /api/v1/repos/{owner}/{repo}/notifications/{notification}": changed(200),
    "GET /api/v1/repos/{owner}/{repo}/notifications/{notification}/attempts": changed(200),
    "POST /api/v1/repos/{owner}/{repo}/notifications/{notification}/test": changed(200),
    "POST /api/v1/repos/{owner}/{repo}/notifications/{notification}/attempts/{attempt}/again": changed(404),
    "DELETE /api/v1/repos/{owner}/{repo}/notifications/{notification}": changed(404),  # of one that is gone
    "GET /api/v1/repos/{owner}/{repo}/visibility": of_members(200),
    "PUT /api/v1/repos/{owner}/{repo}/visibility": _VISIBILITY,
    "GET /{owner}/{name}.git/info/refs": _FETCH,
    "GET /{owner}/{name}.git/info/refs?service=git-receive-pack": _PUSH,
    "POST /{owner}/{name}.git/git-upload-pack": _FETCH,
    "POST /{owner}/{name}.git/git-receive-pack": _PUSH,
    "GET /{owner}/{name}.git/info/lfs/{path:path}": everybody(501),  # the same words for all: there is no LFS
    "POST /{owner}/{name}.git/info/lfs/{path:path}": everybody(501),
    "GET /{owner}/{name}/info/refs": everybody(301),  # to the address that asks
    "POST /webhooks/github": everybody(415),
    "POST /webhooks/github/{owner}/{name}": everybody(415),
    "POST /webhooks/gitea": everybody(415),
    "POST /webhooks/gitea/{owner}/{name}": everybody(415),
    "POST /webhooks/gitlab": everybody(415),
    "POST /webhooks/gitlab/{owner}/{name}": everybody(415),
    "POST /signout": everybody(303),
}
