"""Names of refs and repositories that nobody should choose."""

from collections.abc import Iterator
from functools import partial

from tests.hostile.case import Case
from tests.hostile.packs import plain
from tests.hostile.writer import FLUSH, ZEROS, command, request

NOT_A_BRANCH = r"^hermes  refused  .* is not a branch or a tag$"
NOT_ACCEPTED = r"^hermes  refused  ref name .* is not accepted here$"

#: What no ref may be called, and who says so.
REFS: list[tuple[str, str | bytes, str]] = [
    ("HEAD", "HEAD", NOT_A_BRANCH),
    ("config", "config", NOT_A_BRANCH),
    ("empty", "", r"refused|not a git request"),
    ("only the prefix", "refs/heads/", NOT_ACCEPTED),
    ("refs alone", "refs", NOT_A_BRANCH),
    ("refs/../config", "refs/../config", NOT_A_BRANCH),
    ("out of refs", "refs/heads/../../x", NOT_ACCEPTED),
    ("absolute", "/etc/passwd", NOT_A_BRANCH),
    ("absolute below heads", "refs/heads//etc/passwd", NOT_ACCEPTED),
    ("lock", "refs/heads/a.lock", NOT_ACCEPTED),
    ("lock below", "refs/heads/a.lock/b", NOT_ACCEPTED),
    ("at brace", "refs/heads/a@{1}", NOT_ACCEPTED),
    ("at", "refs/heads/@", NOT_ACCEPTED),
    ("a dot at its end", "refs/heads/a.", NOT_ACCEPTED),
    ("a dot before a part", "refs/heads/a/.b", NOT_ACCEPTED),
    ("a slash at its end", "refs/heads/a/", NOT_ACCEPTED),
    ("option", "refs/heads/-x", NOT_ACCEPTED),
    ("long option", "refs/heads/--exec=id", NOT_ACCEPTED),
    ("option without a prefix", "--exec=id", NOT_A_BRANCH),
    ("script", "refs/heads/<script>alert(1)</script>", NOT_ACCEPTED),
    ("shell", "refs/heads/$(id)", NOT_ACCEPTED),
    ("backticks", "refs/heads/`id`", NOT_ACCEPTED),
    ("semicolon", "refs/heads/a;id", NOT_ACCEPTED),
    ("pipe", "refs/heads/a|id", NOT_ACCEPTED),
    ("template", "refs/heads/{{7*7}}", NOT_ACCEPTED),
    ("space", "refs/heads/a b", NOT_ACCEPTED),
    ("glob", "refs/heads/*", NOT_ACCEPTED),
    ("tilde", "refs/heads/a~1", NOT_ACCEPTED),
    ("caret", "refs/heads/a^{tree}", NOT_ACCEPTED),
    ("colon", "refs/heads/a:b", NOT_ACCEPTED),
    ("backslash", "refs/heads/a\\b", NOT_ACCEPTED),
    ("tab", "refs/heads/a\tb", NOT_ACCEPTED),
    ("line end", "refs/heads/a\nb", NOT_ACCEPTED),
    ("escape", "refs/heads/a\x1b]8;;x\x07", NOT_ACCEPTED),
    ("delete", "refs/heads/a\x7f", NOT_ACCEPTED),
    ("not UTF-8", b"refs/heads/\xff\xfe", NOT_ACCEPTED),
    ("right to left", "refs/heads/\u202emain", NOT_ACCEPTED),
    ("full-width", "refs/heads/ｍain", NOT_ACCEPTED),
    ("zero width", "refs/heads/ma\u200bin", NOT_ACCEPTED),
    ("meta config", "refs/meta/config", NOT_A_BRANCH),
    ("notes", "refs/notes/commits", NOT_A_BRANCH),
    ("replace", f"refs/replace/{'1' * 40}", NOT_A_BRANCH),
    ("ours", f"refs/hermes/keep/{'1' * 40}", NOT_A_BRANCH),
    ("capitals", "REFS/HEADS/main", NOT_A_BRANCH),
    ("300 bytes", f"refs/heads/{'x' * 300}", NOT_ACCEPTED),
    ("3,000 bytes", f"refs/heads/{'x' * 3000}", NOT_ACCEPTED),
    ("60,000 bytes", f"refs/heads/{'x' * 60_000}", NOT_ACCEPTED),
    ("3,000 bytes of path", f"refs/heads/{'x/' * 1500}y", NOT_ACCEPTED),
    ("30 folders", f"refs/heads/{'x/' * 29}y", "^(ok|ng) refs/heads/x"),
]  # fmt: skip

#: What no repository may be called, as it is sent in a URL.
REPOS = [
    *("..", "a/../b", "%2e%2e", "%2e%2e%2f%2e%2e%2fetc", "a%2f..%2fb", "%5c..%5c", "a%5cb", "~root"),
    *(".git", "a.git", "a.git.git", "a.lock", "a..b", "-rf", "--exec=id", "a:b", "*", "a;id", "$(id)"),
    *("a%00b", "%00", "a%20b", "a%0ab", "a%0d%0aSet-Cookie:%20x=1", "%ff", "%c0%ae%c0%ae", "A"),
    *("x" * 65, "x" * 300, "x" * 3000, "a%e2%80%a4git", "%ef%bc%8e%ef%bc%8e", "a%e2%80%aeb"),
    *("{{7*7}}", "%3Cscript%3E", "a%3fb", "a%23b", "%25s", "%252e%252e"),
]


def _push(ref: str | bytes) -> bytes:
    sha, packed = plain()
    return request(sha, packed, ref, options=("skip",))


def _many(count: int) -> bytes:
    sha, packed = plain()
    first = command(sha, "refs/heads/b0")
    rest = (f"{ZEROS} {sha} refs/heads/b{n}".encode() for n in range(1, count))
    return first + b"".join(f"{len(line) + 4:04x}".encode() + line for line in rest) + FLUSH + packed


def _twice() -> bytes:
    sha, packed = plain()
    return command(sha) + command(sha) + FLUSH + packed


def _stale() -> bytes:
    sha, packed = plain()
    return command(sha, old="34" * 20) + FLUSH + packed


def cases() -> Iterator[Case]:
    """Names of refs, and too many of them."""
    for name, ref, expected in REFS:
        stored = expected.startswith("^(ok")
        path = "/alice/deep-refs.git/git-receive-pack" if stored else "/alice/hostile.git/git-receive-pack"
        echo = ref if isinstance(ref, str) else ref.decode(errors="replace")
        yield Case(f"ref: {name}", partial(_push, ref), expected, path, is_stored=stored, echo=echo)
    yield Case("17 refs", lambda: _many(17), r"^ng refs/heads/b0 17 refs in one push; at most 16$")
    yield Case("700 refs", lambda: _many(700), r"^ng refs/heads/b0 700 refs in one push; at most 16$")
    yield Case(
        "20,000 refs", lambda: _many(20_000), r"^400\nnot a git request: more than 65536 bytes of commands"
    )
    yield Case("a ref twice", _twice, r"^ng refs/heads/main a push can move a ref only once$")
    yield Case("stale old object", _stale, r"^ng refs/heads/main .")
    gone = command(ZEROS, old="34" * 20) + FLUSH
    yield Case(
        "delete of what is not there",
        lambda: gone,
        r"^(ng refs/heads/main .|ok refs/heads/main$)",
        is_stored=True,
    )
