"""`hermes init`: the files of a template in a folder of their own, and a first commit of them."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hermes.errors import UserError
from hermes.template import TemplateFile

BRANCH = "main"
_MESSAGE = "First commit, made by hermes init"
_GIT_S = 30.0


@dataclass(frozen=True)
class Made:
    """What there is now. `why_not`: nothing was committed, for this reason."""

    folder: Path
    files: tuple[str, ...]
    why_not: str = ""


def scaffold(folder: Path, files: Sequence[TemplateFile]) -> Made:
    """Write the files into a folder that is not there or empty, and commit them. Raises UserError."""
    _check_empty(folder)
    try:
        _write(folder, files)
    except OSError as error:
        raise UserError(f"cannot write {str(folder)!r}: {error.strerror or error}") from None
    return Made(folder, tuple(each.path for each in files), _commit(folder))


def _check_empty(folder: Path) -> None:
    """A fresh `git init` or an empty clone counts as empty."""
    hint = "choose another name, or `--into` a folder that is not there yet or empty"
    try:
        there = os.path.lexists(folder)
        if there and not folder.is_dir():
            raise UserError(f"{str(folder)!r} is there already, and is not a folder", hint)
        left = sorted({*os.listdir(folder)} - {".git"}) if there else []
    except OSError as error:
        raise UserError(f"cannot look into {str(folder)!r}: {error.strerror or error}") from None
    if left:
        more = f" and {len(left) - 1} more" if len(left) > 1 else ""
        raise UserError(
            f"the folder {str(folder)!r} is not empty ({left[0]!r}{more}), so nothing was written", hint
        )


def _write(folder: Path, files: Sequence[TemplateFile]) -> None:
    """Never over a file that is there: two at a time must not mix their files."""
    for each in files:
        path = folder / each.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(each.content)
        if each.is_program:
            path.chmod(0o755)


def _commit(folder: Path) -> str:
    """Why there is no commit; empty if there is one."""
    try:
        top = _git(folder, "rev-parse", "--show-toplevel")
        if top.returncode == 0:
            return f"this folder is in the repository {top.stdout.strip()}, which was left as it is"
        for step in (
            ["init", "-q", "-b", BRANCH],
            ["add", "-A"],
            ["commit", "-q", "-m", _MESSAGE],
        ):
            done = _git(folder, *step)
            if done.returncode != 0:
                return f"`git {step[0]}` failed: {_last_words(done.stderr)}"
    except FileNotFoundError:
        return "git is not installed here"
    except subprocess.TimeoutExpired:
        return f"git did not end within {_GIT_S:.0f} s"
    return ""


def _git(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Whatever repository git's own variables point to, it is not meant."""
    env = {name: value for name, value in os.environ.items() if name not in ("GIT_DIR", "GIT_WORK_TREE")}
    return subprocess.run(
        ["git", *words],
        cwd=folder,
        env=env | {"LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_GIT_S,
        check=False,
    )


def _last_words(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    if any("Please tell me who you are" in line for line in lines):
        return "git does not know who you are (git config --global user.name and user.email)"
    return lines[-1].strip() if lines else "it said nothing"
