"""Programs to push that build in no time, and pushes that are watched while they go on."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tests.service import PATIENCE_S, Pushed, Service, WorkTree, remote_words


def shell(program: str, manifest: str = "", make: str = "\t@true") -> dict[str, str | bytes]:
    """A repo with a Makefile, `main.sh` and a manifest that runs it."""
    return {
        "Makefile": f"all:\n{make}\n",
        "main.sh": program,
        "hermes.toml": f'handler = "sh main.sh"\n{manifest}',
    }


def told(before: str, after: str) -> tuple[str, dict[str, str | bytes]]:
    """The name of a script, and a repo that runs it: between the two it waits until `go_on` tells it."""
    name = f"told-{os.urandom(4).hex()}.sh"
    program = f'trap told=1 USR1\n{before}\nuntil [ "$told" ]; do sleep 0.05; done\n{after}\n'
    manifest = f'handler = "sh {name}"\n[run]\ntimeout = "2m"\n'
    return name, {"Makefile": "all:\n\t@true\n", name: program, "hermes.toml": manifest}


def go_on(script: str) -> None:
    """Its program has what it waits for; it runs on this machine, whatever is around it."""
    for number, line in command_lines().items():
        if line == f"sh {script}":
            with suppress(ProcessLookupError):  # a child of its, which looks like it for a moment
                os.kill(number, signal.SIGUSR1)


def git(
    service: Service, *args: str, token: str | None = None, user: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Git as this user, anywhere."""
    _, env = service.push_command("any", token=token, user=user)
    return subprocess.run(
        ["git", *args], env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


def refs(service: Service, repo: str) -> dict[str, str]:
    """The refs that the server shows: {name: sha}."""
    done = git(service, "ls-remote", f"{service.url}/{service.user}/{repo}.git")
    assert done.returncode == 0, done.stderr
    pairs = (line.split("\t") for line in done.stdout.splitlines())
    return {name: sha for sha, name in pairs if name != "HEAD"}


def begin_push(service: Service, tree: WorkTree, repo: str, *options: str) -> "subprocess.Popen[str]":
    """`git push` in a process group of its own, as a terminal starts it."""
    command, env = service.push_command(repo, *options)
    return subprocess.Popen(
        command,
        cwd=tree.folder,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )


def arrivals(client: "subprocess.Popen[str]") -> Iterator[tuple[float, str]]:
    """Every line that the user sees, and when."""
    assert client.stderr is not None
    for line in client.stderr:
        yield time.monotonic(), remote_words(line)


def end_of(client: "subprocess.Popen[str]") -> tuple[int, str]:
    """Exit code and words of a push that was begun."""
    _, words = client.communicate(timeout=PATIENCE_S)
    return client.returncode, remote_words(words)


def run_number(pushed: Pushed) -> int:
    """The run that a push told of."""
    found = re.search(r"^hermes  run (\d+) ", pushed.output, re.MULTILINE)
    assert found, pushed.output
    return int(found[1])


def command_lines() -> dict[int, str]:
    """What runs on this machine: {process id: command line}."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            words = (entry / "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ")
            found[int(entry.name)] = words.decode(errors="replace")
    return found


def without_bubblewrap(folder: Path) -> dict[str, str]:
    """The environment of a machine that has no bubblewrap: its programs see the files of a test."""
    places = [Path(place) for place in os.environ["PATH"].split(":") if Path(place).is_dir()]
    programs = {each.name: each for place in reversed(places) for each in place.iterdir()}
    folder.mkdir(parents=True)
    for name in programs.keys() - {"bwrap"}:
        (folder / name).symlink_to(programs[name])
    return {"PATH": str(folder)}
