"""Git as a client of a repository elsewhere, against a server that does what no server should."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hermes.errors import Refused, Unavailable
from hermes.git import git_env, init_bare
from hermes.settings import Settings
from hooks.https import Https
from hooks.remote import Remote
from tests.files import sizes_below
from tests.forge import Forge, open_forge
from tests.programs import command_lines
from tests.service import PATIENCE_S, WorkTree, wait_for


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    with open_forge(tmp_path / "forge") as one:
        yield one


@pytest.fixture
def tree(forge: Forge, tmp_path: Path) -> WorkTree:
    """What somebody has pushed there, as `octo/pi`."""
    init_bare(forge.folder / "octo" / "pi.git")
    (tmp_path / "work").mkdir()
    tree = WorkTree(tmp_path / "work")
    tree.git("init", "-q", "-b", "main")
    tree.write({"file": "words"}).commit()
    tree.git("push", "-q", str(forge.folder / "octo" / "pi.git"), "HEAD:main")
    return tree


@pytest.fixture
def remote(forge: Forge, tmp_path: Path) -> Remote:
    settings = Settings(data=tmp_path, callback_networks="127.0.0.1/32", push_size=1 << 20)
    return remote_at(f"{forge.url}/octo/pi.git", settings)


def remote_at(url: str, settings: Settings) -> Remote:
    return Remote(Https("github", url, "", settings), settings)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A repository of ours."""
    init_bare(tmp_path / "here.git")
    return tmp_path / "here.git"


async def test_it_fetches_what_is_there(remote: Remote, tree: WorkTree, here: Path, tmp_path: Path) -> None:
    sha = tree.git("rev-parse", "HEAD")
    assert await remote.refs() == ({"refs/heads/main": sha}, "refs/heads/main")
    assert await remote.fetch(here, tmp_path / "scratch.git", "refs/heads/main") == sha
    assert await remote.peel(tmp_path / "scratch.git") == sha
    assert await remote.fetch(here, tmp_path / "other.git", "refs/heads/gone") == ""


async def test_a_second_time_it_fetches_what_is_new(
    remote: Remote, forge: Forge, tree: WorkTree, here: Path, tmp_path: Path
) -> None:
    tree.write({"large": os.urandom(500_000)}).commit()
    bare = str(forge.folder / "octo" / "pi.git")
    tree.git("push", "-q", bare, "HEAD:main")
    tree.git("push", "-q", str(here), "HEAD:main")
    tree.commit("one more")
    tree.git("push", "-q", bare, "HEAD:main")
    await remote.fetch(here, tmp_path / "scratch.git", "refs/heads/main")
    packs = list((tmp_path / "scratch.git" / "objects" / "pack").glob("*.pack"))
    assert sum(path.stat().st_size for path in packs) < 5000


async def test_a_tag_of_no_commit_is_refused(
    remote: Remote, forge: Forge, tree: WorkTree, here: Path, tmp_path: Path
) -> None:
    tree.git("tag", "odd", "HEAD:file")
    tree.git("push", "-q", str(forge.folder / "octo" / "pi.git"), "odd")
    await remote.fetch(here, tmp_path / "scratch.git", "refs/tags/odd")
    with pytest.raises(Refused, match="does not name a commit"):
        await remote.peel(tmp_path / "scratch.git")


async def test_what_is_too_large_is_refused_before_all_of_it_is_here(
    remote: Remote, forge: Forge, tree: WorkTree, here: Path, tmp_path: Path
) -> None:
    tree.write({"large": os.urandom(3 << 20)}).commit()
    tree.git("push", "-q", str(forge.folder / "octo" / "pi.git"), "HEAD:main")
    with pytest.raises(Refused, match=r"more than 1\.0 MiB"):
        await remote.fetch(here, tmp_path / "scratch.git", "refs/heads/main")
    assert max(sizes_below(tmp_path / "scratch.git").values()) <= 1 << 20


async def test_a_slow_one_is_left_and_nothing_of_it_stays(
    remote: Remote, forge: Forge, tree: WorkTree, here: Path, tmp_path: Path
) -> None:
    forge.slow_s = 5.0
    hasty = replace(remote, settings=replace(remote.settings, push_time=0.5))
    with pytest.raises(Unavailable, match="took longer than"):
        await hasty.fetch(here, tmp_path / "scratch.git", "refs/heads/main")
    await asyncio.to_thread(
        wait_for, lambda: not [each for each in command_lines().values() if forge.url in each]
    )
    forge.slow_s = 0.0


async def test_nobody_sends_us_elsewhere(remote: Remote, forge: Forge, tree: WorkTree) -> None:
    forge.redirect = forge.url.replace("127.0.0.1", "localhost")
    with pytest.raises(Refused, match="we follow none"):
        await remote.refs()
    assert [path for path in forge.asked if path.count("/octo/") > 1] == [] and len(forge.asked) == 1


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.2/octo/pi.git", "not on the public internet"),
        ("http://[::ffff:169.254.169.254]/octo/pi.git", "not on the public internet"),
        ("https://10.0.0.1/octo/pi.git", "not on the public internet"),
        ("http://192.0.2.1/octo/pi.git", "not on the public internet"),
        ("http://1.1.1.1/octo/pi.git", "is not https"),
    ],
)
async def test_addresses_that_are_not_connected_to(remote: Remote, url: str, words: str) -> None:
    with pytest.raises(Refused, match=words):
        await remote_at(url, remote.settings).refs()


@pytest.mark.parametrize("url", ["file:///etc", "ext::sh -c id", "ssh://127.0.0.1/x", "/etc"])
async def test_no_other_protocol_is_spoken(remote: Remote, url: str) -> None:
    with pytest.raises((Refused, Unavailable)):
        await remote_at(url, remote.settings).refs()


def test_git_connects_to_the_address_that_it_is_given(forge: Forge, tree: WorkTree) -> None:
    """The name is not looked up again: here there is none such."""
    pinned = f"http.curloptResolve=forge.invalid:{forge.port}:127.0.0.1"
    command = ["git", "-c", pinned, "ls-remote", f"http://forge.invalid:{forge.port}/octo/pi.git"]
    env = git_env({"GIT_ALLOW_PROTOCOL": "http"})
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0 and "refs/heads/main" in done.stdout, done.stderr


async def test_a_name_that_is_not_known_passes_perhaps(remote: Remote) -> None:
    with pytest.raises(Unavailable, match="is not known"):
        await remote_at("https://forge.invalid/octo/pi.git", remote.settings).refs()
