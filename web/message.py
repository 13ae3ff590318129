"""What a commit says, and which commits came before it: read from the repository, with dulwich."""

from dataclasses import dataclass
from pathlib import Path

from dulwich.errors import NotGitRepository
from dulwich.objects import Commit
from dulwich.repo import Repo as GitRepo

_MAX_MESSAGE = 20_000
_MAX_BACK = 50


@dataclass(frozen=True)
class Message:
    """What the commit itself says. `ancestors`: its first parent, the first parent of that, and so on."""

    author: str
    authored_at: float
    subject: str
    body: str
    parents: list[str]
    ancestors: list[str]


def read_message(path: Path, sha: str) -> Message | None:
    """From the repository; None if it does not have such a commit (any more)."""
    try:
        with GitRepo(str(path)) as git:
            commit = git[sha.encode()]
            if not isinstance(commit, Commit):
                return None
            return _message(commit, _ancestors(git, commit))
    except (KeyError, NotGitRepository, OSError, ValueError):
        return None


def _message(commit: Commit, ancestors: list[str]) -> Message:
    text = commit.message.decode("utf-8", "replace").strip()[:_MAX_MESSAGE]
    subject, _, body = text.partition("\n")
    author = commit.author.decode("utf-8", "replace").partition("<")[0].strip()
    parents = [parent.decode() for parent in commit.parents]
    authored_at = min(max(float(commit.author_time), 0.0), 253_402_300_000.0)  # git takes any number
    return Message(author, authored_at, subject[:200], body.strip(), parents, ancestors)


def _ancestors(git: GitRepo, commit: Commit) -> list[str]:
    """Along first parents; a shallow push ends them early."""
    found: list[str] = []
    while commit.parents and len(found) < _MAX_BACK:
        found.append(commit.parents[0].decode())
        try:
            parent = git[commit.parents[0]]
        except KeyError:
            break
        if not isinstance(parent, Commit):
            break
        commit = parent
    return found
