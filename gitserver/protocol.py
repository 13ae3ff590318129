"""The parts of git's pack protocol that we read and write ourselves.

Source: https://git-scm.com/docs/gitprotocol-pack and gitprotocol-common (pkt-line, side-band-64k,
report-status). Everything else is git's own business."""

import re
from dataclasses import dataclass

from dulwich.protocol import pkt_line

from hermes.errors import Refused
from hermes.pushes import RefUpdate

MAX_HEAD_BYTES = 64 << 10
BAND_BYTES = 65_515  # payload of one side-band-64k packet
FLUSH = b"0000"
KEEP_ALIVE = b"0005\x02"
CANNOT = "the server cannot do this now; try again"
REPORT, PROGRESS, FATAL = 1, 2, 3
_MAX_REASON = 200  # characters
_OBJECT_ID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


class BadProtocol(ValueError):
    """The client does not speak git."""


@dataclass(frozen=True)
class PushHead:
    """What stands before the pack: commands, what the client can do, push options."""

    commands: tuple[RefUpdate, ...]
    capabilities: frozenset[str]
    options: tuple[str, ...]
    size_bytes: int = 0  # where the pack begins

    @property
    def has_sideband(self) -> bool:
        """Whether we can talk to the user."""
        return "side-band-64k" in self.capabilities

    @property
    def has_pack(self) -> bool:
        """Whether a pack follows: not when refs are only deleted."""
        return any(not command.is_delete for command in self.commands)

    @property
    def refs(self) -> list[str]:
        """What is to be moved."""
        return [command.ref for command in self.commands]

    @property
    def at_terminal(self) -> bool:
        """Whether somebody looks: git asks for quiet when its own stderr is no terminal (send-pack.c).

        Libraries never do, whatever they show the words in, so only git itself counts."""
        is_git = any(re.match(r"agent=git/\d", each) for each in self.capabilities)
        return is_git and "quiet" not in self.capabilities


def parse_head(data: bytes) -> PushHead | None:
    """None: more bytes are needed. Raises BadProtocol."""
    section = _section(data, 0)
    if section is None:
        return None
    lines, end = section
    commands, capabilities = [], frozenset[str]()
    for line in lines:
        if line.startswith(b"push-cert"):
            raise BadProtocol("signed pushes are not supported, push without --signed")
        if line.startswith(b"shallow "):
            continue
        command, _, rest = line.partition(b"\0")
        if rest:
            capabilities = frozenset(rest.decode("utf-8", "replace").split())
            if "object-format=sha256" in capabilities:
                raise BadProtocol("SHA-256 repositories are not supported")
        commands.append(_command(command))
    if commands and not capabilities & {"report-status", "report-status-v2"}:
        raise BadProtocol("who asks for no report (report-status) could not be told that a ref was refused")
    options: list[bytes] = []
    if "push-options" in capabilities:
        found = _section(data, end)
        if found is None:
            return None
        options, end = found
    texts = tuple(option.decode("utf-8", "replace") for option in options)
    return PushHead(tuple(commands), capabilities, texts, end)


def pack_objects(header: bytes) -> int:
    """How many objects a pack says it has, from its first 12 bytes (gitformat-pack). Raises Refused."""
    if len(header) < 12 or header[:4] != b"PACK":
        raise Refused("the pack is broken: it has no head", "push again")
    if int.from_bytes(header[4:8]) not in (2, 3):
        raise Refused(f"the pack is broken: version {int.from_bytes(header[4:8])}", "push again")
    return int.from_bytes(header[8:12])


def _command(line: bytes) -> RefUpdate:
    parts = line.rstrip(b"\n").decode("utf-8", "replace").split(" ", 2)
    if len(parts) != 3 or not all(_OBJECT_ID.fullmatch(sha) for sha in parts[:2]):
        raise BadProtocol("a command that is not: old new ref")
    if len(parts[0] + parts[1]) > 80:
        raise BadProtocol("SHA-256 repositories are not supported")
    return RefUpdate(ref=parts[2], old_sha=parts[0], new_sha=parts[1])


def skip_lines(data: bytearray, at: int) -> tuple[int, bool]:
    """Goes over whole pkt-lines from `at`: where the next one begins, and whether a flush was passed last.
    Each byte is looked at once, however small the pieces that a head comes in. Raises BadProtocol."""
    while len(data) >= at + 4:
        length = _length(bytes(data[at : at + 4]))
        if length == 0:
            return at + 4, True
        if len(data) < at + length:
            break
        at += length
    if len(data) > MAX_HEAD_BYTES:
        raise BadProtocol(f"more than {MAX_HEAD_BYTES} bytes of commands")
    return at, False


def _section(data: bytes, at: int) -> tuple[list[bytes], int] | None:
    """The pkt-lines up to a flush, and where it ends; None if it is not whole yet."""
    lines: list[bytes] = []
    while len(data) >= at + 4:
        length = _length(data[at : at + 4])
        if length == 0:
            return lines, at + 4
        if len(data) < at + length:
            break
        lines.append(data[at + 4 : at + length].rstrip(b"\n"))
        at += length
    if len(data) > MAX_HEAD_BYTES:
        raise BadProtocol(f"more than {MAX_HEAD_BYTES} bytes of commands")
    return None


def _length(digits: bytes) -> int:
    try:
        length = int(digits, 16)
    except ValueError:
        raise BadProtocol("a line without a length") from None
    if not digits.isalnum() or length in (1, 2, 3) or length > 65_520:
        raise BadProtocol("a line with a length that cannot be")
    return length


def band(number: int, data: bytes) -> bytes:
    """Data as packets of one band."""
    parts = (data[at : at + BAND_BYTES] for at in range(0, len(data), BAND_BYTES))
    return b"".join(pkt_line(bytes([number]) + part) for part in parts)


def last_words(words: str, has_sideband: bool) -> bytes:
    """`fatal: remote error: …`: an error line ends the conversation (gitprotocol-pack)."""
    line = f"{' '.join(words.split())}\n"
    return band(FATAL, line.encode()) if has_sideband else pkt_line(f"ERR {line}".encode())


def report(head: PushHead, reasons: dict[str, str], words: str) -> bytes:
    """A whole answer of ours: what is shown above, and a reason for each ref that is refused ("": not)."""
    lines = [pkt_line(b"unpack ok\n")]
    for command in head.commands:
        reason = reasons.get(command.ref, "another ref of this push was refused")
        verdict = f"ng {command.ref} {one_line(reason)}" if reason else f"ok {command.ref}"
        lines.append(pkt_line(f"{verdict}\n".encode()))
    body = b"".join(lines) + FLUSH
    if not head.has_sideband:
        return body
    return band(PROGRESS, words.encode()) + band(REPORT, body) + FLUSH


def one_line(text: str) -> str:
    """A reason as a terminal can show it, whatever a client has put into it."""
    line = "".join(
        each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in " ".join(text.split())
    )
    return line if len(line) < _MAX_REASON else line[: _MAX_REASON - 1] + "…"


@dataclass(frozen=True)
class GitReport:
    """What git's receive-pack answered: refs with its reason against each ("": moved), and its words."""

    unpack: str  # ok, or why not
    refs: dict[str, str]
    words: str

    @property
    def moved(self) -> set[str]:
        """The refs that git says it moved."""
        return {ref for ref, reason in self.refs.items() if not reason}


def read_report(output: bytes, head: PushHead) -> GitReport:
    """From git's whole answer. Format: report-status in gitprotocol-pack."""
    body, words = _bands(output) if head.has_sideband else (output, b"")
    section = _section(body, 0) if body else None
    unpack, refs = "", {}
    for line in section[0] if section else []:
        kind, _, rest = line.decode("utf-8", "replace").partition(" ")
        ref, _, reason = rest.partition(" ")
        if kind == "unpack":
            unpack = rest
        elif kind in ("ok", "ng"):
            refs[ref] = "" if kind == "ok" else reason or "refused"
    return GitReport(unpack, refs, words.decode("utf-8", "replace"))


def _bands(output: bytes) -> tuple[bytes, bytes]:
    """What came on the bands of the report and of the progress."""
    found, at = {REPORT: b"", PROGRESS: b"", FATAL: b""}, 0
    while len(output) >= at + 5:
        length = _length(output[at : at + 4])
        if length == 0:
            break
        found[output[at + 4]] = found.get(output[at + 4], b"") + output[at + 5 : at + length]
        at += length
    return found[REPORT], found[PROGRESS]
