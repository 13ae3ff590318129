"""Many objects at a time: in order, whole, and through pipes of any size."""

import subprocess
from fcntl import F_SETPIPE_SZ, fcntl
from pathlib import Path

import pytest

from hermes.errors import Refused, Unavailable
from hermes.git import git_child, git_env, init_bare
from hermes.objects import Objects

_BLOBS = 1500


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """A repository, and what is in it."""
    repo = tmp_path_factory.mktemp("objects") / "1.git"
    init_bare(repo)
    contents = [b"%d\n" % number * (number + 1) for number in range(_BLOBS)]
    stream = b"".join(b"blob\nmark :%d\ndata %d\n%s\n" % (n, len(c), c) for n, c in enumerate(contents, 1))
    marks = repo / "marks"
    command = ["git", f"--git-dir={repo}", "fast-import", "--quiet", f"--export-marks={marks}"]
    subprocess.run(command, input=stream, env=git_env(), check=True)
    pairs = (line.split() for line in marks.read_text().splitlines())
    shas = {int(mark[1:]): sha for mark, sha in pairs}
    return repo, {shas[number]: content for number, content in enumerate(contents, 1)}


@pytest.mark.parametrize("pipe_bytes", [4096, 1 << 16, 1 << 18])
def test_sizes_and_contents_come_in_order(stored: tuple[Path, dict[str, bytes]], pipe_bytes: int) -> None:
    repo, contents = stored
    names = list(contents)
    with git_child(repo, None, "cat-file", "--batch-command", "--buffer") as child:
        for pipe in (child.stdin, child.stdout):
            assert pipe is not None
            fcntl(pipe, F_SETPIPE_SZ, pipe_bytes)
        objects = Objects(child)
        assert list(objects.each_size(names)) == [(sha, len(content)) for sha, content in contents.items()]
        assert list(objects.read_many(names[::-1], 1 << 20)) == list(contents.values())[::-1]
        assert objects.sizes(names[:3]).items() >= {(sha, len(contents[sha])) for sha in names[:3]}


def test_one_that_is_missing_among_many_is_no_answer(stored: tuple[Path, dict[str, bytes]]) -> None:
    repo, contents = stored
    with (
        pytest.raises(Unavailable, match="cannot be read"),
        git_child(repo, None, "cat-file", "--batch-command", "--buffer") as child,
    ):
        list(Objects(child).each_size([*contents, "f" * 40]))


def test_one_that_is_too_large_among_many_is_refused(stored: tuple[Path, dict[str, bytes]]) -> None:
    repo, contents = stored
    with (
        pytest.raises(Refused, match="at most 4000"),
        git_child(repo, None, "cat-file", "--batch-command", "--buffer") as child,
    ):
        list(Objects(child).read_many(list(contents), 4000))
