"""Requests that are no git: lengths, encodings and sizes that cannot be."""

import gzip
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace

from dulwich.protocol import pkt_line

from tests.hostile.case import Case
from tests.hostile.packs import NOWHERE, plain
from tests.hostile.writer import CAN, FLUSH, MAIN, PERSON, ZEROS, command, deflated_zeros, request

UPLOAD = "/alice/hostile.git/git-upload-pack"
FULL = "/alice/full.git/git-upload-pack"  # of a repository with one commit
NO_FETCH = r"^(400\ngit could not serve this request$|200\nERR .)"
NOT_GIT = r"^4\d\d\nnot a git request: "

#: Four bytes where the length of a line should be.
LENGTHS = [
    b"-001",
    b"zzzz",
    b"0001",
    b"0002",
    b"0003",
    b"fff1",
    b"ffff",
    b"+0a0",
    b" 0a0",
    b"0x4f",
    b"1_00",
    b"\xd9\xa0\xd9\xa0",
    b"\0\0\0\0",
    b"\n000",
]


def _always(body: bytes) -> Callable[[], bytes]:
    return lambda: body


def _lengths() -> Iterator[Case]:
    rest = b"x" * 65_600
    whole = command(NOWHERE, can=CAN + " push-options")
    for digits in LENGTHS:
        shown = ascii(digits)[2:-1]
        yield Case(f"first length {shown}", _always(digits + rest + FLUSH), NOT_GIT)
        yield Case(f"second length {shown}", _always(whole + digits + rest + FLUSH), NOT_GIT)
        yield Case(f"length {shown} of an option", _always(whole + FLUSH + digits + rest + FLUSH), NOT_GIT)


def _bomb(mib: int, prefix: bytes = b"") -> bytes:
    """What says that it is gzip and becomes so many MiB behind a prefix; nobody gets as far as its sum."""
    squeeze = zlib.compressobj(9, wbits=31)
    return squeeze.compress(prefix) + squeeze.flush(zlib.Z_FULL_FLUSH) + deflated_zeros(mib) + bytes(8)


def _packed() -> bytes:
    sha, packed = plain()
    return request(sha, packed)


def _encodings() -> Iterator[Case]:
    zipped = {"Content-Encoding": "gzip"}
    size = 1024  # MiB
    head = command(NOWHERE) + FLUSH
    broken = r"^ng refs/heads/main |^4\d\d\n."
    yield Case("gzip bomb", lambda: _bomb(size), NOT_GIT + r"|^4\d\d\n", headers=zipped, is_heavy=True)
    yield Case("gzip bomb behind commands", lambda: _bomb(size, head), broken, headers=zipped, is_heavy=True)
    pack = head + b"PACK\0\0\0\2\0\0\0\1"
    yield Case("gzip bomb as a pack", lambda: _bomb(size, pack), broken, headers=zipped, is_heavy=True)
    option = command(NOWHERE, can=CAN + " push-options") + FLUSH
    yield Case(
        "gzip bomb as options", lambda: _bomb(size, option), r"^4\d\d\n.", headers=zipped, is_heavy=True
    )
    yield Case("gzip in gzip", lambda: gzip.compress(gzip.compress(_packed())), NOT_GIT, headers=zipped)
    yield Case("gzip cut", lambda: gzip.compress(_packed())[:-20], broken, headers=zipped)
    yield Case(
        "gzip with a wrong sum", lambda: gzip.compress(_packed())[:-8] + bytes(8), broken, headers=zipped
    )
    yield Case(
        "gzip that is none", _packed, r"^400\nthe request says that it is gzip, and is not$", headers=zipped
    )
    for name in ("deflate", "br", "gzip, gzip", "zstd"):
        yield Case(
            f"encoding {name}",
            lambda: zlib.compress(_packed()),
            r"^4\d\d\n.",
            headers={"Content-Encoding": name},
        )
    yield Case("gzip bomb to fetch", lambda: _bomb(size), r"^(4\d\d\n.|200\n)", UPLOAD, zipped, is_heavy=True)


def _sha256() -> Iterator[Case]:
    refusal = r"^4\d\d\n.*SHA-256"
    long = f"{'0' * 64} {'1' * 64} {MAIN}\0{CAN}".encode()
    yield Case("object ids of 64 digits", _always(pkt_line(long) + FLUSH), refusal)
    mixed = f"{ZEROS} {'1' * 64} {MAIN}\0{CAN}".encode()
    yield Case("one id of 64 digits", _always(pkt_line(mixed) + FLUSH), refusal)
    sha, packed = plain()
    asked = command(sha, can=CAN + " object-format=sha256") + FLUSH + packed
    yield Case("object-format=sha256", _always(asked), r"SHA-256")
    for name, odd in {"words": "x" * 40, "capitals": "A" * 40, "spaces": " " * 40, "plus": "+" * 40}.items():
        body = f"{ZEROS} {odd} {MAIN}\0{CAN}".encode()
        yield Case(
            f"object id of {name}",
            _always(pkt_line(body) + FLUSH + packed),
            r"^4\d\d\n.|^ng refs/heads/main .",
        )


def _fetches() -> Iterator[Case]:
    refused = r"^(4\d\d\n.|200\n.*(ERR|NAK))"
    sha, _ = plain()
    wants = b"".join(pkt_line(f"want {n:040x}\n".encode()) for n in range(1, 100_001))
    haves = b"".join(pkt_line(f"have {n:040x}\n".encode()) for n in range(1, 10_001))
    done = pkt_line(b"done\n")
    want = pkt_line(f"want {sha}\n".encode())
    yield Case("100,000 wants", _always(wants + FLUSH + done), refused, FULL, is_heavy=True)
    same = pkt_line(f"want {sha} side-band-64k\n".encode()) + want * 99_999
    yield Case("100,000 wants of one", _always(same + FLUSH + done), r"^200\n", FULL, is_heavy=True)
    yield Case("10,000 haves", _always(want + FLUSH + haves + FLUSH), r"^200\nNAK", FULL, is_heavy=True)
    v2 = {"Git-Protocol": "version=2"}
    fetch = pkt_line(b"command=fetch") + b"0001"
    yield Case(
        "100,000 wants, version 2", _always(fetch + wants + done + FLUSH), refused, FULL, v2, is_heavy=True
    )
    asked = fetch + want + haves + FLUSH
    yield Case(
        "10,000 haves, version 2", _always(asked), r"^200\nacknowledgments\nNAK", FULL, v2, is_heavy=True
    )
    prefixes = b"".join(pkt_line(f"ref-prefix refs/{n}".encode()) for n in range(100_000))
    ls = pkt_line(b"command=ls-refs") + b"0001" + prefixes + FLUSH
    yield Case("100,000 prefixes", _always(ls), r"^200", FULL, v2, is_heavy=True)
    for number, digits in enumerate(LENGTHS):
        if digits in (b"0001", b"0002"):
            continue  # git takes them for an end, and nothing was asked before
        shown = ascii(digits)[2:-1]
        yield Case(f"fetch with length {shown}", _always(digits + b"x" * 65_600), NO_FETCH, FULL)
        if number % 2:
            yield Case(f"fetch v2 with length {shown}", _always(digits + b"x" * 65_600), NO_FETCH, FULL, v2)
    yield replace(filtered(sha, "tree:999999999999999999999", FULL), name="fetch with a large number")
    for name in (
        "sparse:path=/etc/passwd",
        f"sparse:oid={NOWHERE}",
        "combine:" + "+".join(["tree:1"] * 9000),
    ):
        yield filtered(sha, name, FULL)
    deepen = want + pkt_line(b"deepen -5\n") + FLUSH + done
    yield Case("fetch of a negative depth", _always(deepen), NO_FETCH, FULL)


def filtered(sha: str, wanted: str, path: str) -> Case:
    """A fetch that leaves out what a filter says."""
    head = pkt_line(f"want {sha} filter\n".encode()) + pkt_line(f"filter {wanted}\n".encode())
    return Case(f"fetch with {wanted[:20]}", lambda: head + FLUSH + pkt_line(b"done\n"), NO_FETCH, path)


def _options() -> Iterator[Case]:
    sha, packed = plain()
    long = "x" * 60_000
    for name, option in {
        "a long word": long,
        "a long table": f"{long}.a=1",
        "a long key": f"run.{long}=1",
        "a long name": f"{long}=1",
        "long CPUs": f"run.cpus={long}",
        "a number of 60,000 digits": "gpu.count=" + "9" * 60_000,
        "no number of CPUs": "run.cpus=nan",
        "endless CPUs": "run.cpus=inf",
        "a long time": f"run.timeout={long}",
        "much memory": "run.memory=1e99",
        "an open quote": f"run.args='{long}",
        "a negative count": "ranks.repeat=-5",
        "a long model": f"gpu.model={long}",
        "a long capability": f"gpu.capability={long}",
        "an endless run": f"follow={'9' * 5000}",
        "a run that is not there": "follow=999999",
        "escapes": "\x1b]8;;http://x\x07.a\x1b[2J=1",
        "an object of Python": "__class__.__init__=1",
    }.items():
        body = request(sha, packed, options=(option,))
        yield Case(f"option with {name}", _always(body), r"^ng refs/heads/main [ -~…�]+$")


def _certificate() -> bytes:
    return (
        pkt_line(b"push-cert\0" + CAN.encode())
        + pkt_line(b"certificate version 0.1\n")
        + pkt_line(f"pusher {PERSON}\n".encode())
        + FLUSH
    )


def cases() -> Iterator[Case]:
    """All requests that httpx can send; what it cannot is in tests/test_hostile.py."""
    yield from _lengths()
    yield from _encodings()
    yield from _sha256()
    yield from _fetches()
    yield from _options()
    yield Case("certificate", _certificate, NOT_GIT + "signed pushes")
