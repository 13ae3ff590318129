"""Git's settings for one server: who it asks for the token there, and the remote `gpu` of this repository."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

_HELPER = "git-credential"


def set_up(url: str, user: str) -> list[str]:
    """Returns what was done, in words."""
    if shutil.which("git") is None:
        return ["git is not installed here, so it was not set up"]
    key = f"credential.{url}.helper"
    # the empty one drops the helpers of other settings, which would keep the token in places of their own
    done = _git("config", "--global", "--replace-all", key, "")
    done = done or _git("config", "--global", "--add", key, f"!{_program()} {_HELPER}")
    if done:
        return [f"git could not be set up: {done}"]
    return [f"git uses it for {url}", *_add_remote(url, user)]


def is_set_up(url: str) -> bool:
    """Whether git asks us there."""
    command = ["git", "config", "--global", "--get-all", f"credential.{url}.helper"]
    if shutil.which("git") is None:
        return False
    return _HELPER in subprocess.run(command, capture_output=True, text=True, check=False).stdout


def take_back(url: str) -> None:
    """Only what `set_up` has made."""
    if is_set_up(url):
        _git("config", "--global", "--unset-all", f"credential.{url}.helper")


def _add_remote(url: str, user: str) -> list[str]:
    command = ["git", "rev-parse", "--show-toplevel"]
    where = subprocess.run(command, capture_output=True, text=True, check=False)
    if where.returncode:
        return []
    known = subprocess.run(["git", "remote"], capture_output=True, text=True, check=False).stdout.split()
    if "gpu" in known:
        return []
    remote = f"{url}/{user}/{repo_name(Path(where.stdout.rstrip()).name)}.git"
    if words := _git("remote", "add", "gpu", remote):
        return [f"the remote gpu could not be added: {words}"]
    return [f"remote gpu is {remote}", "next: git push gpu main"]


def repo_name(folder: str) -> str:
    """What a repository in this folder may be called on the server."""
    name = re.sub(r"\.{2,}", ".", re.sub(r"[^a-z0-9._-]+", "-", folder.lower()))
    name = name[:64].strip("._-")
    while name.endswith((".git", ".lock")):
        name = name.rpartition(".")[0].strip("._-")
    return name or "repo"


def _git(*args: str) -> str:
    """What git says when it could not."""
    done = subprocess.run(["git", *args], capture_output=True, text=True, check=False)
    return done.stderr.strip() or f"exit code {done.returncode}" if done.returncode else ""


def _program() -> str:
    """This program as git's shell finds it from anywhere."""
    started = Path(sys.argv[0]).absolute()
    if started.name == "hermes" and os.access(started, os.X_OK):
        return shlex.quote(str(started))
    return f"{shlex.quote(sys.executable)} -m hermes"
