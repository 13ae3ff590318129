"""Which kind of forge an upstream is at, and how one makes a token, a webhook, a deploy key there."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hermes.forges.base import Forge
from hermes.forges.gitea import Gitea
from hermes.forges.github import GitHub
from hermes.forges.gitlab import GitLab
from hermes.forges.talk import Gates, Talk
from hermes.upstreams import Place

NAMES = {"github": "GitHub", "gitea": "Gitea", "gitlab": "GitLab"}
_FORGES: Mapping[str, Callable[[Talk, str], Forge]] = {"github": GitHub, "gitea": Gitea, "gitlab": GitLab}
_GITHUB = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}


def open_forge(
    place: Place, token: str, allowed: Iterable[Any], gates: Gates, *, for_person: bool = False
) -> Forge:
    """Nothing is asked yet. `for_person`: who waits is not told what was so a moment ago."""
    forge, heads = NAMES[place.kind], _heads(place.kind, token)
    talk = Talk(place.api_url, forge, place.name, heads, allowed, gates, for_person)
    return _FORGES[place.kind](talk, place.name)


def _heads(kind: str, token: str) -> dict[str, str]:
    heads = _GITHUB if kind == "github" else {}
    if not token:
        return dict(heads)
    if kind == "gitlab":
        return heads | {"PRIVATE-TOKEN": token}
    return heads | {"Authorization": f"{'token' if kind == 'gitea' else 'Bearer'} {token}"}


def token_steps(place: Place) -> list[str]:
    """How one makes a token that may do what is needed and nothing else."""
    at = place.base_url
    if place.kind == "gitlab":
        return [
            f"Open {at}/{place.name}/-/settings/access_tokens and add a token.",
            "Role: Maintainer (Developer, if you make the webhook by hand). Scope: api.",
        ]
    if place.kind == "gitea":
        return [
            f"Open {at}/user/settings/applications and generate a token.",
            "Permissions: repository and issue, read and write.",
        ]
    return [
        f"Open {at}/settings/personal-access-tokens/new, and choose only the repository {place.name}.",
        "Repository permissions: Contents: read. Commit statuses, Pull requests, Webhooks: read and write. "
        "For a deploy key that is added by itself also Administration: read and write.",
        "(Of a classic token: the scopes repo:status and admin:repo_hook; for a private repository repo.)",
    ]


def key_steps(place: Place, title: str, public: str) -> list[str]:
    """How one adds the deploy key."""
    at = f"{place.base_url}/{place.name}"
    if place.kind == "gitlab":
        return [
            f"Open {at}/-/settings/repository#js-deploy-keys-settings and add a deploy key.",
            f"Title: {title}",
            f"Key: {public}",
            "Grant write permissions to this key: leave it off.",
        ]
    is_github = place.kind == "github"
    return [
        f"Open {at}/settings/keys{'/new' * is_github} and add a deploy key.",
        f"Title: {title}",
        f"{'Key' if is_github else 'Content'}: {public}",
        f"{'Allow write access' if is_github else 'Enable write access'}: leave it off.",
    ]


def hook_steps(place: Place, url: str, secret: str) -> list[str]:
    """How one makes the webhook."""
    at = f"{place.base_url}/{place.name}"
    if place.kind == "gitlab":
        return [
            f"Open {at}/-/hooks and add a webhook.",
            f"URL: {url}",
            f"Secret token: {secret}",
            "Trigger: Push, Tag push, Merge request, Comments, Releases events.",
        ]
    kind = "Gitea (or Forgejo)" if place.kind == "gitea" else "webhook"
    words = (
        "Trigger on: custom events: Push, Pull Request, Pull Request Synchronized, "
        "Pull Request Comment, Issue Comment, Release."
        if place.kind == "gitea"
        else "Events: let me select: Issue comments, Pull requests, Pushes, Releases."
    )
    return [
        f"Open {at}/settings/hooks{'/new' if place.kind == 'github' else ''} and add a {kind}.",
        f"Payload URL: {url}",
        "Content type: application/json",
        f"Secret: {secret}",
        words,
    ]
