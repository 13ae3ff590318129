"""Trees that would harm whoever unpacks them, or that never end."""

from collections.abc import Callable, Iterator
from functools import partial

from tests.hostile.case import Case
from tests.hostile.writer import BLOB, COMMIT, TREE, Heap, commit, pack, request, tree, with_makefile

FILE, PROGRAM, LINK, MODULE, FOLDER = 0o100644, 0o100755, 0o120000, 0o160000, 0o040000
NO = r"^ng refs/heads/main "
FSCK = NO + r"the pack is broken: .*"
GONE = "12" * 20
Fill = Callable[[Heap], list[tuple[int, bytes, str]]]


def sorted_tree(*files: tuple[int, bytes, str]) -> bytes:
    """In the order that git wants: folders as if a slash stood behind them."""
    return tree(*sorted(files, key=lambda each: each[1] + b"/" * (each[0] == FOLDER)))


def push(fill: Fill, *options: str, manifest: bytes = b"") -> bytes:
    """A push of a commit with a Makefile, perhaps a manifest, and what `fill` puts beside it."""
    heap = Heap()
    more = [(FILE, b"hermes.toml", heap.put(BLOB, manifest))] if manifest else []
    top = heap.put(TREE, sorted_tree(with_makefile(heap), *more, *fill(heap)))
    return request(heap.put(COMMIT, commit(top)), pack(heap), options=options)


def one(mode: int, name: bytes, content: bytes = b"x\n") -> Fill:
    """One more entry, with its own object."""

    def fill(heap: Heap) -> list[tuple[int, bytes, str]]:
        if mode == MODULE:
            return [(mode, name, GONE)]
        if mode == FOLDER:
            return [(mode, name, heap.put(TREE, tree((FILE, b"a", heap.put(BLOB, content)))))]
        return [(mode, name, heap.put(BLOB, content))]

    return fill


def several(*fills: Fill) -> Fill:
    """All of them."""
    return lambda heap: [each for fill in fills for each in fill(heap)]


def below(name: bytes, fill: Fill) -> Fill:
    """In a folder."""
    return lambda heap: [(FOLDER, name, heap.put(TREE, sorted_tree(*fill(heap))))]


def nested(deep: int, name: bytes = b"d") -> Fill:
    """A folder in a folder in a folder …, and a file."""
    fill = one(FILE, b"file")

    def make(heap: Heap) -> list[tuple[int, bytes, str]]:
        inner = fill(heap)
        for _ in range(deep):
            inner = [(FOLDER, name, heap.put(TREE, tree(*inner)))]
        return inner

    return make


def bomb(levels: int, wide: int, bottom: Fill) -> Fill:
    """`wide` names for one folder, `levels` times: few objects, many files."""

    def make(heap: Heap) -> list[tuple[int, bytes, str]]:
        inner = bottom(heap)
        for _ in range(levels):
            folder = heap.put(TREE, sorted_tree(*inner))
            inner = [(FOLDER, b"%02d" % n, folder) for n in range(wide)]
        return inner

    return make


def giants(levels: int, mib: int) -> Fill:
    """Folders in one another, each with so many names that its object has `mib` MiB: deltas, easily sent."""

    def make(heap: Heap) -> list[tuple[int, bytes, str]]:
        blob = heap.put(BLOB, b"x\n")
        names = (b"100644 %06x\0" % n + bytes.fromhex(blob) for n in range((mib << 20) // 34))
        head = tree((FILE, b"-", blob))
        content = head + b"".join(names)
        inner = heap.put(TREE, content)
        for _ in range(levels):
            skip, head = len(head), tree((FOLDER, b"-", inner))
            inner, content = heap.put_like(TREE, content, skip, head)
        return [(FOLDER, b"-", inner)]

    return make


def none(_heap: Heap) -> list[tuple[int, bytes, str]]:
    """Nothing at all: a folder without files."""
    return []


def file(name: bytes, content: bytes = b"x\n") -> Fill:
    """One more file."""
    return one(FILE, name, content)


def folder(name: bytes) -> Fill:
    """One more folder, with a file."""
    return one(FOLDER, name)


def link(name: bytes, target: bytes) -> Fill:
    """One more symbolic link."""
    return one(LINK, name, target)


def modules(url: str, path: str = "dep", name: str = "dep", more: str = "") -> Fill:
    """A submodule from somewhere."""
    text = f'[submodule "{name}"]\n\tpath = {path}\n\turl = {url}\n\t{more}\n'
    return several(one(MODULE, b"dep"), file(b".gitmodules", text.encode()))


#: Entries that git's own fsck refuses, and the name of its rule.
BY_GIT: list[tuple[str, Fill, str]] = [
    ("..", file(b".."), "hasDotdot"),
    (".", file(b"."), "hasDot"),
    ("empty name", file(b""), "empty filename"),
    ("a/b", file(b"a/b"), "fullPathname"),
    ("/etc/passwd", file(b"/etc/passwd"), "fullPathname"),
    ("../../x", file(b"../../x"), "fullPathname"),
    (".git", file(b".git"), "hasDotgit"),
    (".git as a folder", folder(b".git"), "hasDotgit"),
    (".git as a link", link(b".git", b"a"), "hasDotgit"),
    (".git below", below(b"sub", folder(b".git")), "hasDotgit"),
    (".GIT", file(b".GIT"), "hasDotgit"),
    (".giT", folder(b".giT"), "hasDotgit"),
    (".g<U+200C>it", file(".g\u200cit".encode()), "hasDotgit"),
    (".git<U+FEFF>", folder(".git\ufeff".encode()), "hasDotgit"),
    ("git~1", folder(b"git~1"), "hasDotgit"),
    ("GIT~1", folder(b"GIT~1"), "hasDotgit"),
    (".git::$INDEX_ALLOCATION", folder(b".git::$INDEX_ALLOCATION"), "hasDotgit"),
    (".git.", folder(b".git."), "hasDotgit"),
    (".git and a blank", folder(b".git "), "hasDotgit"),
    (".git.. . .", folder(b".git.. . ."), "hasDotgit"),
    (".git\\hooks", folder(b".git\\hooks"), "hasDotgit"),
    ("a\\.git\\b", file(b"a\\.git\\b"), "hasDotgit"),
    ("a name twice", several(file(b"a"), file(b"a", b"y\n")), "duplicateEntries"),
    ("a file and a folder of a name", several(file(b"a"), folder(b"a")), "duplicateEntries"),
    ("a link and a folder of a name", several(link(b"a", b"/etc"), folder(b"a")), "duplicateEntries"),
    ("a link and a file of a name", several(link(b"a", b"/etc"), file(b"a")), "duplicateEntries"),
    ("entries in a wrong order", lambda heap: [], "treeNotSorted"),
    (".gitmodules as a link", link(b".gitmodules", b"a"), "gitmodulesSymlink"),
    (".gitmodules with an option as URL", modules("-u./x"), "gitmodulesUrl"),
    (".gitmodules with an option as path", modules("http://x/", "-x"), "gitmodulesPath"),
    (".gitmodules with a command", modules("http://x/", more="update = !id"), "gitmodulesUpdate"),
    (".gitmodules with a name outside", modules("http://x/", name="../../x"), "gitmodulesName"),
    ("a line of 10 KB", file(b".gitattributes", b"*" * 10_000 + b" -x\n"), "gitattributesLineLength"),
]

CONTROL = " has control characters$"
LONG = " is too long or too deep$"
LEAVES = " is a link that leaves the repository$"
#: Entries that git takes, and we do not unpack: with the words.
BY_US: list[tuple[str, Fill, str]] = [
    ("a line end", file(b"a\nb"), r"the path 'a\\nb'" + CONTROL),
    ("an escape", file(b"a\x1b[2Jb"), r"the path 'a\\x1b\[2Jb'" + CONTROL),
    ("a delete", file(b"a\x7f"), r"the path 'a\\x7f'" + CONTROL),
    ("a return", file(b"a\r"), r"the path 'a\\r'" + CONTROL),
    ("a control character below", below(b"s\x01", file(b"a")), r"the path 's\\x01(/a)?'" + CONTROL),
    ("256 bytes", file(b"n" * 256), "the path 'n+.*" + LONG),
    ("256 bytes of smileys", file("\U0001f642".encode() * 64), r"the path '\\U0001f642.*" + LONG),
    ("100,000 bytes", file(b"n" * 100_000), "the path 'n+.*" + LONG),
    ("a path of 1,100 bytes", nested(5, b"n" * 220), "the path 'n+.*" + LONG),
    ("65 folders", nested(65), "the path 'd/.*" + LONG),
    ("3,000 folders", nested(3000), "the path 'd/.*" + LONG),
    ("20,000 folders", nested(20_000), "."),
    ("link to /etc", link(b"link", b"/etc"), "'link'" + LEAVES),
    ("link to ../../..", link(b"link", b"../../.."), "'link'" + LEAVES),
    ("link to ..", link(b"link", b".."), "'link'" + LEAVES),
    ("link below", below(b"sub", link(b"link", b"../../etc/passwd")), "'sub/link'" + LEAVES),
    ("link that comes back", link(b"link", b"../repo/Makefile"), "'link'" + LEAVES),
    ("link with a NUL", link(b"link", b"a\0/etc"), "'link'" + LEAVES),
    ("link of 5,000 bytes", link(b"link", b"a/" * 2500), "'link' is a link of 5000 bytes$"),
    ("link of 2 MB", link(b"link", b"a" * 2_000_000), "'link' is a link of 2000000 bytes$"),
    (
        "link out through a link",
        several(below(b"a", below(b"b", link(b"up", b"../.."))), link(b"out", b"a/b/up/../../etc/passwd")),
        "'out'" + LEAVES,
    ),
    ("10^9 files from 10 objects", bomb(9, 10, file(b"a")), "the commit has more than 2000 files$"),
    ("10^12 folders without a file", bomb(12, 10, none), "."),
    ("10^8 folders without a file", bomb(8, 10, none), "."),
    ("14 folders of 15 MiB each", giants(14, 15), "the commit has more than 2000 files$"),
    ("1,000 times 1 MiB", bomb(3, 10, file(b"a", bytes(1 << 20))), "the files .* more than 64 MiB together"),
    ("manifest that is a link", link(b"hermes.toml", b"/etc/passwd"), "hermes.toml:1:1: must be a plain"),
    ("manifest that is a submodule", one(MODULE, b"hermes.toml"), "hermes.toml:1:1: must be a plain"),
]

#: Odd, and nothing is wrong with it.
FINE: list[tuple[str, Fill]] = [
    ("CRLF", file(b"crlf", b"a\r\nb\r\n")),
    ("unicode", file("π — größe 文件 \U0001f680".encode())),
    ("not UTF-8", file(b"caf\xe9")),
    (".gıt", file(".gıt".encode())),
    ("-rf", file(b"-rf")),
    ("--exec=id", one(PROGRAM, b"--exec=id")),
    ("$(id)", file(b"$(id)`id`;id|id")),
    ("blanks and quotes", file(b" \"'\\ ")),
    ("con", file(b"con")),
    ("~", file(b"~")),
    ("*", file(b"*")),
    ("255 bytes", file(b"n" * 255)),
    ("case twins", several(file(b"README"), file(b"readme"))),
    ("composed twins", several(file("é".encode()), file("e\u0301".encode()))),
    ("60 folders", nested(60)),
    ("an empty folder", below(b"empty", none)),
    ("link to itself", link(b"loop", b"loop")),
    ("links in a circle", several(link(b"a", b"b"), link(b"b", b"a"))),
    ("link to nothing", link(b"link", b"nothing")),
    ("link to a folder", several(folder(b"dir"), link(b"link", b"dir/../dir/a"))),
    (".gitmodules that is none", file(b".gitmodules", b"[submodule")),
    ("submodule of ext::", modules("ext::sh -c 'touch /tmp/hermes-was-here'")),
    ("submodule of file:", modules("file:///etc")),
    ("submodule of a metadata service", modules("http://169.254.169.254/latest/meta-data/")),
    ("submodule with a return at its end", modules("http://example.org/x\r")),
    ("submodule in .git/hooks", modules("./x", ".git/hooks")),
]

#: Modes that no tree has: refused, or harmless.
MODES = [0o104755, 0o100666, 0o100664, 0o020644, 0o010644, 0o140644, 0o060644, 0, 0o7777777]


def _unsorted() -> bytes:
    heap = Heap()
    blob = heap.put(BLOB, b"x\n")
    top = heap.put(TREE, tree((FILE, b"b", blob), (FILE, b"a", blob)))
    return request(heap.put(COMMIT, commit(top)), pack(heap))


def cases() -> Iterator[Case]:
    """All trees that are refused."""
    for name, fill, rule in BY_GIT:
        make = _unsorted if rule == "treeNotSorted" else partial(push, fill)
        yield Case(f"tree with {name}", make, FSCK + rule)
    for name, fill, words in BY_US:
        heavy = "10^" in name or " folders" in name
        yield Case(f"tree with {name}", partial(push, fill), NO + words, is_heavy=heavy)


def fine() -> Iterator[Case]:
    """Trees that are stored, each in a repository of its own."""
    odd = [(f"mode {mode:o}", one(mode, b"odd"), "^(ok|ng) refs/heads/main") for mode in MODES]
    whole = [(f"tree with {name}", fill, "^ok refs/heads/main$") for name, fill in FINE]
    for number, (name, fill, expected) in enumerate(whole + odd):
        path = f"/alice/fine-{number}.git/git-receive-pack"
        yield Case(name, partial(push, fill, "detach"), expected, path, is_stored=True)
