"""The service itself: whether it answers at its own ports, and whether all its processes live."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx

from hermes.doctor.findings import Finding, Look, first_line, note, ok, problem, warning
from hermes.settings import Settings
from hermes.title import title

_ANSWER_S = 4.0
_PROCESSES = ("web", "builder", "runner")  # the Procfile's names
_READ = "read its last lines: journalctl -u hermes -n 100"


def look_at_service(settings: Settings, was_started: bool) -> Look[bool]:
    """Whether it is up. `was_started`: there is a database, so somebody expects it to be up."""
    address = f"http://{_host(settings.host)}:{settings.port}"
    try:
        answer = httpx.get(f"{address}/healthz", timeout=_ANSWER_S, trust_env=False)
    except httpx.ConnectError:
        found = f"nothing answers at {address}"
        if was_started:
            return Look([problem("service", found, "sudo systemctl start hermes, or hermes up")], False)
        return Look([note("service", f"{found}: it was never started here", "hermes up")], False)
    except httpx.HTTPError as error:
        found = f"{address} is open and does not answer: {first_line(error)}"
        return Look([problem("service", found, f"sudo ss -ltnp 'sport = :{settings.port}'; {_READ}")], False)
    facts = _facts(answer)
    if facts is None:
        server = answer.headers.get("server", "a program that does not say its name")
        found = f"port {settings.port} belongs to somebody else ({server})"
        step = f"sudo ss -ltnp 'sport = :{settings.port}'; stop that, or set HERMES_PORT"
        return Look([problem("service", found, step)], False)
    findings = [_health(address, facts), *_ssh(settings), *_processes(settings)]
    return Look(findings, True)


def _host(host: str) -> str:
    """Where to reach what listens at `host`."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{reachable}]" if ":" in reachable else reachable


def _facts(answer: httpx.Response) -> dict[str, object] | None:
    """None: this is not the answer of a Hermes."""
    with suppress(ValueError):
        facts = answer.json()
        if isinstance(facts, dict) and facts.get("status") in ("ok", "failing"):
            return facts
    return None


def _health(address: str, facts: dict[str, object]) -> Finding:
    if facts["status"] != "ok":
        return problem(
            "service", f"{address}: {facts.get('reason')}", f"no push is taken until then; {_READ}"
        )
    away = [name for name in ("redis", "runner") if not facts.get(name)]
    if away == ["redis"]:
        return note("service", f"{address}: up, and has no Redis", "see `redis`")
    if away:
        return warning("service", f"{address}: up, and no runner shows a sign of life: runs wait", _READ)
    return ok("service", f"{address}: up")


def _ssh(settings: Settings) -> list[Finding]:
    if not settings.ssh_port:
        return []
    where = ((settings.ssh_host or settings.host).replace("0.0.0.0", "127.0.0.1"), settings.ssh_port)
    words = b""
    with suppress(OSError), socket.create_connection(where, _ANSWER_S) as connection:
        words = connection.recv(64)
    if words.startswith(b"SSH-2.0-"):
        return [ok("ssh", f"port {settings.ssh_port} answers")]
    found = f"port {settings.ssh_port} does not answer as SSH: git over SSH does not work"
    step = f"sudo ss -ltnp 'sport = :{settings.ssh_port}'; HERMES_SSH_PORT (0: none)"
    return [problem("ssh", found, step)]


def _processes(settings: Settings) -> list[Finding]:
    """Nothing, where the processes of the service cannot be seen: another container's, or hidden ones."""
    titles = set(_titles())
    missing = [name for name in _PROCESSES if title(name, settings.data) not in titles]
    if len(missing) == len(_PROCESSES):
        return []
    if missing:
        found = f"not there: {', '.join(missing)}; `hermes up` starts each again when it ends"
        return [problem("processes", found, _READ)]
    return [ok("processes", ", ".join(_PROCESSES))]


def _titles() -> Iterator[str]:
    """What the processes of this machine call themselves."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            yield (process / "cmdline").read_bytes().rstrip(b"\0").decode(errors="replace")
