"""The refs of a repository here: branches and tags that people push, and two kinds that only come from a
repository that is followed (hermes.upstreams)."""

BRANCHES, TAGS = "refs/heads/", "refs/tags/"
PULLS, RELEASES = "refs/pull/", "refs/release/"  # refs/pull/7/head, refs/release/v1.0
FOLLOWED = (PULLS, RELEASES)  # nobody may push to them
NOTHING = "0" * 40  # the id of what does not exist


def pull_ref(number: int) -> str:
    """Where the commits of a pull request are, here as on GitHub."""
    return f"{PULLS}{number}/head"


def shown_ref(ref: str) -> str:
    """On pages: a tag is told from a branch."""
    return short_ref(ref) if ref.startswith(FOLLOWED) else ref.removeprefix(BRANCHES).removeprefix("refs/")


def short_ref(ref: str) -> str:
    """As people call it: `main`, `v1.0`, `pull request 7`, `release v1.0`."""
    if ref.startswith(PULLS):
        return f"pull request {ref.removeprefix(PULLS).removesuffix('/head')}"
    if ref.startswith(RELEASES):
        return f"release {ref.removeprefix(RELEASES)}"
    return ref.removeprefix(BRANCHES).removeprefix(TAGS)
