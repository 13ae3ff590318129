"""What people do with a remote, as data: the rows of tests/test_git_oracle.py.

A row is a name, the exit code of its last step, and its steps: lines as one types them behind `git`, or
functions of a client. The last step is the operation; those before it prepare and must not fail."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from tests.oracle import Client

Step = str | Callable[[Client], object]


@dataclass(frozen=True)
class Operation:
    """`published`: whether main, side and v1 are on the server before it begins."""

    name: str
    code: int
    steps: tuple[Step, ...]
    published: bool = True


def op(name: str, *steps: Step, code: int = 0) -> Operation:
    """On a repository that has something."""
    return Operation(name, code, steps)


def first(name: str, *steps: Step, code: int = 0) -> Operation:
    """On one that has nothing."""
    return Operation(name, code, steps, published=False)


# ---- steps


def commit(client: Client) -> None:
    """One more on the branch that is checked out."""
    client.write("src/more.txt", "more\n" * 20)
    client.commit()


def amend(client: Client) -> None:
    client.do("commit -q --amend --allow-empty -m 'said better'")


def noise(size: int) -> Step:
    """A commit with so many bytes that do not compress; the same ones on both sides."""

    def step(client: Client) -> None:
        client.write("noise.bin", Random(size).randbytes(size))
        client.commit("noise")

    return step


def colleague(*lines: str) -> Step:
    """Somebody else does this first, and we do not know of it."""

    def step(client: Client) -> None:
        client.copy("colleague").do(*lines)

    return step


def meanwhile(*lines: str) -> Step:
    """Somebody else does this after the server has told us what it has, before it hears what we want."""

    def step(client: Client) -> None:
        other = shlex.quote(str(client.copy("colleague").folder))
        client.hook("\n".join(f"git -C {other} {line} || exit 1" for line in lines))

    return step


theirs = colleague("commit -q --allow-empty -m theirs", "push -q origin main")
retired = colleague("push -q -f origin main:side")
moved = meanwhile("push -q -f origin side:main")


def hook(script: str) -> Step:
    return lambda client: client.hook(script)


def modes(client: Client) -> None:
    """What a tree can hold besides plain files."""
    client.write("run.sh", "#!/bin/sh\n")
    (client.folder / "run.sh").chmod(0o755)
    (client.folder / "link").symlink_to("src/one.txt")
    client.write("dir with blanks/ünï–code 好 .txt", "names\n")
    client.do("add -A", f"update-index --add --cacheinfo 160000,{'1' * 40},vendor/lib")
    client.do("commit -q -m modes")


def by_sha(client: Client) -> None:
    client.do(f"config remote.by-sha.url {client.url}")
    client.do(f"config remote.by-sha.push {client.do('rev-parse HEAD')}:refs/heads/x")


def remote_add(client: Client) -> None:
    """Without branches of the remote: `--mirror` would push them as well."""
    client.do("remote remove origin", f"remote add origin {client.url}")


def slash(client: Client) -> None:
    client.do(f"remote set-url origin {client.url}/")


def orphan(client: Client) -> None:
    client.do("checkout -q --orphan alone", "rm -rfq .")
    client.commit("alone")


def empty_tree(client: Client) -> None:
    tree = client.make("tree", b"")
    client.do(f"branch empty {client.do(f'commit-tree -m nothing {tree}')}")


def octopus(client: Client) -> None:
    for name in ("left", "right"):
        client.do(f"checkout -q -b {name} main~1")
        client.write(f"{name}.txt", name)
        client.commit(name)
    client.do("checkout -q main", "merge -q -m octopus side left right")


def long_message(client: Client) -> None:
    text = b"subject\n\n" + b"a line of the body\n" * 20_000
    done = client.git("commit", "-q", "--allow-empty", "-F", "-", data=text)
    assert done.returncode == 0, done.stderr


def many(count: int) -> Step:
    def step(client: Client) -> None:
        for number in range(count):
            client.do(f"branch many-{number} main~{number % 3}")

    return step


# ---- the rows

CREATE = [
    first("first push", "push origin main"),
    first("first push of all", "push origin --all"),
    first("first push of all, main is not the first", "branch a-branch", "push origin --all"),
    first("first push with tags", "push origin --all --follow-tags"),
    first("first mirror", "push --mirror origin"),
    first("first push of a tag", "push origin v1"),
    op("one more commit", commit, "push origin main"),
    op("nothing new", "push origin main"),
    op("everything matching", commit, "push origin :"),
    op("by push.default", commit, "config push.default current", "push origin"),
    op("new branch", "checkout -q -b new", commit, "push -u origin new"),
    op("new branch of known commits", "push origin main~1:refs/heads/older"),
    op("HEAD to a new branch", "push origin HEAD:newbranch"),
    op("HEAD", commit, "push origin HEAD"),
    op("by sha", commit, by_sha, "push by-sha"),
    op("lightweight tag", "push origin light"),
    op("annotated tag", "tag -a v2 -m second", "push origin v2"),
    op("branch called HEAD", "push origin main:refs/heads/HEAD"),
    op("HEAD as the destination", "push origin main:HEAD"),
    op("tag called HEAD", "push origin main:refs/tags/HEAD"),
    op("branch and tag of one name", "push -q origin main:refs/heads/x", "push origin side:refs/tags/x"),
    op("tag of a tag", "tag -a v1-again v1 -m again", "push origin v1-again"),
    op("tags of a file and of a tree", "tag file main:Makefile", "tag dir main:src", "push origin file dir"),
    op("all tags", "tag v2", "push origin --tags"),
    op("--follow-tags", "tag -a v2 -m new", "tag -a v3 -m no side", "push --follow-tags origin main"),
    op("several at once", commit, "push origin main light main~1:refs/heads/b side:refs/heads/c"),
    op("wildcard", "push origin refs/heads/*:refs/heads/copy/*"),
    op("15 at once", many(15), "push origin refs/heads/many-*"),
    op("orphan branch", orphan, "push -o skip origin alone"),
    op("empty tree", empty_tree, "push -o skip origin empty"),
    op("octopus merge", octopus, "push origin main"),
    op("modes, names, a submodule", modes, "push origin main"),
    op("380 KB of message", long_message, "push origin main"),
]  # fmt: skip

CHANGE = [
    op("not a fast-forward", amend, "push origin main", code=1),
    op("force", amend, "push --force origin main"),
    op("force by a plus", amend, "push origin +main"),
    op("force of two, one is new", amend, "push -f origin main main:refs/heads/x"),
    op("back to an older one", "push -f origin main~2:main"),
    op("plus for one of two", amend, "checkout -q side", amend, "push origin +main side", code=1),
    op("colleague was faster", theirs, commit, "push origin main", code=1),
    op("lease", amend, "push --force-with-lease origin main"),
    op("stale lease", theirs, amend, "push --force-with-lease origin main", code=1),
    op("lease of a sha", amend, "push --force-with-lease=main:main@{1} origin main"),
    op("lease of a wrong sha", amend, "push --force-with-lease=main:main~2 origin main", code=1),
    op("lease of nothing", "push --force-with-lease=new: origin main:new"),
    op("lease taken meanwhile", amend, moved, "push --force-with-lease origin main", code=1),
    op("--force-if-includes", amend, "push --force-with-lease --force-if-includes origin main"),
    op("--force-if-includes of what was only fetched", theirs, amend, "fetch -q origin",
       "push --force-with-lease --force-if-includes origin main", code=1),
    op("moved meanwhile", commit, moved, "push origin main", code=1),
    op("moved meanwhile, forced", commit, moved, "push -f origin main", code=1),
    op("made meanwhile", meanwhile("push -q origin main:refs/tags/light"), "push origin light", code=1),
    op("made meanwhile, the same", meanwhile("push -q origin light"), "push origin light", code=1),
    op("deleted meanwhile", commit, meanwhile("push -q origin :main"), "push origin main", code=1),
    op("one of two moved meanwhile", commit, moved, "push origin main main:refs/heads/x", code=1),
    op("one of two moved meanwhile, atomic", commit, moved, "push --atomic origin main light", code=1),
    op("tag that is there", "tag -f v1 main", "push origin v1", code=1),
    op("tag that is there, forced", "tag -f v1 main", "push -f origin v1"),
    op("atomic", commit, "push --atomic origin main light main:refs/heads/x"),
    op("atomic, one not a fast-forward", amend, "push --atomic origin main main:refs/heads/x light", code=1),
    op("a becomes a/b", "push -q origin main:refs/heads/a", "push origin :a main:refs/heads/a/b"),
]  # fmt: skip

DELETE = [
    op("branch", "push origin --delete side"),
    op("tag", "push origin --delete v1"),
    op("tag of two names", "push origin :refs/tags/v1"),
    op("what is not there", "push origin --delete none", code=1),
    op("what is not there, in full", "push origin :refs/heads/none"),
    op("deleted meanwhile", meanwhile("push -q origin :side"), "push origin :side", code=1),
    op("moved meanwhile", meanwhile("push -q -f origin main~2:side"), "push origin :side", code=1),
    op("the branch of HEAD", "push origin --delete main"),
    op("all", "push origin :main :side :v1"),
    op("and make another", "push origin :side main~1:refs/heads/x"),
    op("rename", "push origin side:refs/heads/renamed :side"),
    op("and make it again", "push -q origin :side", "push origin side"),
    op("atomic, and make another", "push --atomic origin :side :v1 main:refs/heads/x"),
    op("--prune", "branch -D side", "push --prune origin refs/heads/*"),
    op("mirror", "branch -D side", "tag -d v1", remote_add, "push --mirror origin"),
    op("with lease", "push --force-with-lease origin :side"),
    op("with a stale lease", retired, "push --force-with-lease origin :side", code=1),
]  # fmt: skip

WAYS = [
    op("--dry-run", commit, "push --dry-run origin main main:refs/heads/x :side"),
    op("--dry-run of what would be refused", amend, "push -n origin main", code=1),
    op("--signed", commit, "push --signed origin main", code=1),
    op("--signed=if-asked", commit, "push --signed=if-asked origin main"),
    op("--push-option", commit, "push --push-option=skip origin main"),
    op("several push options", commit, "push -o skip -o name=value -o 'words=a b ü' origin main"),
    op("--thin", commit, "push --thin origin main"),
    op("--no-thin", commit, "push --no-thin origin main"),
    op("--quiet", commit, "push --quiet origin main"),
    op("--verbose", commit, "push --verbose origin main"),
    op("--progress", commit, "push --progress origin main"),
    op("hook that says no", commit, hook("exit 1"), "push origin main", code=1),
    op("--no-verify", commit, hook("exit 1"), "push --no-verify origin main"),
    op("push.negotiate", commit, "-c push.negotiate=true push origin main"),
    op("trailing slash", commit, slash, "push origin main"),
]  # fmt: skip


def wire(size: int, *settings: str) -> Operation:
    """A commit of so many bytes, sent in another way."""
    flags = " ".join(f"-c {each}" for each in settings)
    return op(f"{size:,} bytes, {', '.join(settings)}", noise(size), f"{flags} push origin main")


WIRES = [
    wire(500, "http.postBuffer=1k"),
    *(wire(300_000, f"http.postBuffer={each}") for each in ("1k", "65536", "500m")),
    *(wire(300_000, f"protocol.version={each}") for each in "012"),
    wire(300_000, "http.version=HTTP/1.1", "http.postBuffer=1k"),
    wire(3_000_000, "core.compression=0"),
]

GROUPS = {"create": CREATE, "change": CHANGE, "delete": DELETE, "ways": WAYS, "wires": WIRES}
OPERATIONS = [replace(each, name=f"{group}: {each.name}") for group, rows in GROUPS.items() for each in rows]
