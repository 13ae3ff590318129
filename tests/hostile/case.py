"""One hostile request and the answer that it must get."""

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import httpx

from gitserver.protocol import FATAL, PROGRESS, REPORT
from tests.service import Service

REPO = "hostile"
MAX_LINE = 200
_PREFIX = re.compile(r"^(ng refs/heads/main |hermes  refused  )")
#: What tells a stranger how we are made, or a user nothing.
_NEVER = re.compile(r"Traceback|File \"|usage: git|\.py\b|/objects/|/repos/|/tmp/|prlimit|unshare|Errno")


@dataclass(frozen=True)
class Case:
    """`expected` is searched in the status and the lines of the answer."""

    name: str
    body: Callable[[], bytes]
    expected: str
    path: str = f"/alice/{REPO}.git/git-receive-pack"
    headers: Mapping[str, str] = field(default_factory=dict)
    echo: str = ""  # the client's own words, which the answer may repeat
    is_heavy: bool = False  # somebody else is looked after meanwhile
    is_stored: bool = False  # odd, and nothing is wrong with it

    def __str__(self) -> str:
        return self.name


def send(service: Service, case: Case) -> httpx.Response:
    """The request, as alice."""
    kind = f"application/x-{case.path.rpartition('/')[2]}-request"
    own = {"Authorization": authorization("alice", service.token), "Content-Type": kind}
    with httpx.Client(base_url=service.url, timeout=120, verify=False) as client:  # no TLS: 50 ms less
        return client.post(case.path, content=case.body(), headers=own | dict(case.headers))


def authorization(user: str, token: str) -> str:
    """The header's value."""
    return "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()


def lines_of(answer: httpx.Response) -> list[str]:
    """What a user sees of an answer, and git's report."""
    if answer.status_code != 200 or not re.match(rb"[0-9a-f]{4}", answer.content):
        return answer.text.splitlines()
    bands: dict[int, bytes] = {PROGRESS: b"", REPORT: b"", FATAL: b""}
    plain = b""
    for line in _packets(answer.content):
        if line[0] in bands:
            bands[line[0]] += line[1:]
        else:
            plain += line.rstrip(b"\n") + b"\n"
    report = b"".join(line.rstrip(b"\n") + b"\n" for line in _packets(bands.pop(REPORT)))
    return (plain + b"".join(bands.values()) + report).decode(errors="replace").splitlines()


def _packets(data: bytes) -> list[bytes]:
    """The lines of an answer; of a pack only that there is one."""
    lines: list[bytes] = []
    at = 0
    while at + 4 <= len(data):
        if data.startswith(b"PACK", at):
            return [*lines, b"PACK"]
        length = int(data[at : at + 4], 16)
        lines.append(data[at + 4 : at + length])
        at += max(length, 4)
    return [line for line in lines if line]


def check_manners(answer: httpx.Response, service: Service) -> str:
    """Never a fault of ours, and nothing about our inside; what the answer shows."""
    shown = "\n".join([str(answer.status_code), *lines_of(answer)])
    assert answer.status_code < 500, shown
    assert str(service.data) not in shown, shown
    assert not _NEVER.search(shown), shown
    return shown


def check_answer(case: Case, answer: httpx.Response, service: Service) -> None:
    """As expected, in words, and short."""
    shown = check_manners(answer, service)
    lines = lines_of(answer)
    assert lines, f"{answer.status_code} without a word"
    said = [line for line in lines if not line.startswith("hermes           ")]  # hints are ours alone
    reasons = [_PREFIX.sub("", line.replace(case.echo, "")) for line in said]
    assert max(map(len, reasons), default=0) <= MAX_LINE, shown
    assert re.search(case.expected, shown, re.MULTILINE), shown
    if not case.is_stored:
        assert not re.search(r"^ok refs/", shown, re.MULTILINE), shown
