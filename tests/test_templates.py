"""`hermes init`: each template, made by the real command, builds and runs at its first push; bad input."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hermes.scaffold import BRANCH
from hermes.template import OURS, find_templates
from tests.service import GIT_ENV, PATIENCE_S, Service, WorkTree

WITHOUT_GPU = {
    "cpp": r"^pi = 3\.1415926536 with 1000000 steps$",
    "cmake": r"^pi = 3\.1415926536 with 1000000 steps$",
    "make": r"^hello, world$",
    "openmp": r"^pi = 3\.1415926536 with 2 threads in [\d.]+ s$",
}
COMPILES = ["cuda", "python"]  # where there is no GPU
ELSEWHERE = {"mpi": "test_packages.py: it needs Debian packages", "cublas": "the base image has no cuBLAS"}


def init(folder: Path, *words: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """`hermes init`, as somebody whose git knows who they are."""
    return hermes(folder, "init", *words, **env)


def hermes(folder: Path, *words: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """The command, in a folder."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("HERMES_")}
    return subprocess.run(
        [sys.executable, "-m", "hermes", *words],
        cwd=folder,
        env=own | GIT_ENV | {"PYTHONPATH": str(OURS.parent.parent)} | env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


def made(folder: Path, name: str, *words: str) -> WorkTree:
    """The repository that `hermes init` made."""
    done = init(folder, name, *words)
    assert done.returncode == 0, done.stderr
    return WorkTree(folder / name)


def complaint(done: "subprocess.CompletedProcess[str]") -> str:
    """What a command says that failed."""
    assert done.returncode != 0 and done.stdout == "" and "Traceback" not in done.stderr
    return done.stderr


def test_git_keeps_every_file_of_a_template_and_so_does_the_wheel() -> None:
    """What the project's own .gitignore names would be left out of both."""
    ignored = ["git", "status", "--porcelain", "--ignored", "--", str(OURS)]
    shown = subprocess.run(ignored, cwd=OURS, capture_output=True, text=True, check=True).stdout
    assert [line for line in shown.splitlines() if line.startswith("!!")] == []


def test_every_template_is_tried_somewhere() -> None:
    assert {*WITHOUT_GPU, *COMPILES, *ELSEWHERE} == {*find_templates([])}


@pytest.mark.parametrize("template", WITHOUT_GPU)
def test_template_builds_and_runs_at_its_first_push(service: Service, tmp_path: Path, template: str) -> None:
    tree = made(tmp_path, f"first-{template}", "--template", template)
    pushed = service.push(tree, repo=f"first-{template}", refs=(BRANCH,))
    assert pushed.code == 0, pushed.output
    run = service.run_of(pushed)
    assert run["state"] == "succeeded"
    assert "warning" not in pushed.output
    assert re.search(WITHOUT_GPU[template], service.read_log("runs", run["id"]).decode(), re.MULTILINE)
    subprocess.run(["make"], cwd=tree.folder, check=True, capture_output=True)  # by hand, as its README says
    assert tree.git("status", "--short") == "", "what make leaves is ignored"


def test_make_template_keeps_a_file(service: Service, tmp_path: Path) -> None:
    pushed = service.push(made(tmp_path, "kept", "--make"), repo="kept", refs=(BRANCH,))
    assert pushed.code == 0, pushed.output
    assert "1 artifact" in pushed.output


@pytest.mark.parametrize("template", COMPILES)
def test_template_for_a_gpu_builds_where_there_is_none(
    service: Service, tmp_path: Path, template: str
) -> None:
    tree = made(tmp_path, f"first-{template}", f"--{template}")
    pushed = service.push(tree, "build-only", repo=f"first-{template}", refs=(BRANCH,))
    assert pushed.code == 0, pushed.output
    page = service.settled(pushed)
    assert [each["state"] for each in page["builds"]] == ["built"], pushed.output
    assert "warning" not in pushed.output


def test_init_says_what_it_made_and_the_two_next_commands(tmp_path: Path) -> None:
    done = init(tmp_path, "pi")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "pi: A program in C++",
        "  Makefile README.md .gitignore hermes.toml main.cpp",
        "next:",
        "  cd pi",
        "  git remote add gpu http://YOU@SERVER:8000/YOU/pi.git",
        "  git push gpu main",
    ]
    tree = WorkTree(tmp_path / "pi")
    assert tree.git("log", "--format=%s %D") == "First commit, made by hermes init HEAD -> main"
    assert tree.git("status", "--short") == ""
    readme = (tree.folder / "README.md").read_text().splitlines()
    assert len(readme) == 3 and readme[0] == "# pi"


def test_init_speaks_json(tmp_path: Path) -> None:
    record = json.loads(init(tmp_path, "x", "--cuda", "--into", "deep/er", "--json").stdout)
    assert (record["template"], record["folder"], record["committed"]) == ("cuda", "deep/er", True)
    assert {"hermes.toml", "Makefile", "main.cu", ".gitignore", "README.md"} == {*record["files"]}
    assert record["next"][0] == "cd deep/er"


def test_init_asks_at_a_terminal(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    env = os.environ | GIT_ENV | {"PYTHONPATH": str(OURS.parent.parent)}
    command = [sys.executable, "-m", "hermes", "init", "asked"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=env, stdin=theirs, stdout=theirs, stderr=theirs
    ) as child:
        os.close(theirs)
        os.write(ours, b"openmp\n")
        shown = b""
        try:
            while piece := os.read(ours, 4096):
                shown += piece
        except OSError:  # the other end is closed
            pass
        assert child.wait(PATIENCE_S) == 0, shown
    os.close(ours)
    assert b"template [cpp]: " in shown
    assert "-fopenmp" in (tmp_path / "asked" / "Makefile").read_text()


BAD = [
    (["Pi"], "'Pi' cannot be the name of a repo\n  use 1 to 64 of a-z 0-9 . _ -"),
    (["../pi"], "'../pi' cannot be the name of a repo"),
    (
        ["pi", "--template", "cudaa"],
        "there is no template 'cudaa', did you mean 'cuda'?\n  there are: cmake, cpp,",
    ),
    (["pi", "--cpp", "--cuda"], "--cpp and --cuda: a repository is made of one template"),
    (["pi", "--cpp", "--template", "mpi"], "--cpp and --template mpi: a repository is made of one template"),
    (["pi", "--from", "nowhere"], "there is no folder of templates 'nowhere'"),
    (["pi", "--from", "full"], "there is no template in 'full'\n  a template is a folder in it"),
    (["full"], "the folder 'full' is not empty ('mine.txt'), so nothing was written\n  choose another name"),
    (["pi", "--into", "full"], "the folder 'full' is not empty"),
    (["pi", "--into", "full/mine.txt"], "'full/mine.txt' is there already, and is not a folder"),
    (["dangling"], "'dangling' is there already, and is not a folder"),
    (["pi", "--into", "full/mine.txt/pi"], "cannot write 'full/mine.txt/pi': Not a directory"),
]


@pytest.mark.parametrize(("words", "said"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_bad_input_is_told_and_nothing_is_written(tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    (tmp_path / "dangling").symlink_to("nowhere")
    assert complaint(init(tmp_path, *words)).startswith(f"hermes: {said}")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["dangling", "full", "mine.txt"]


def test_a_repository_around_it_is_left_as_it_is(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    done = init(tmp_path, "pi")
    assert done.returncode == 0
    assert f"not committed: this folder is in the repository {tmp_path}, which was left" in done.stderr
    assert "  git init -b main\n  git add -A\n" in done.stdout
    assert WorkTree(tmp_path).git("log", check=False) == ""


def test_a_fresh_clone_counts_as_empty(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", "-b", "main", str(tmp_path / "pi")], check=True)
    assert init(tmp_path, "pi").returncode == 0
    assert (tmp_path / "pi" / "hermes.toml").exists()


def test_git_that_knows_nobody_is_told_and_the_files_stay(tmp_path: Path) -> None:
    nobody = {"GIT_AUTHOR_NAME": "", "GIT_COMMITTER_NAME": "", "GIT_CONFIG_GLOBAL": os.devnull}
    done = init(tmp_path, "pi", **nobody, HOME=str(tmp_path), EMAIL="")
    assert done.returncode == 0
    assert "not committed: " in done.stderr and "  git add -A\n" in done.stdout
    assert (tmp_path / "pi" / "main.cpp").exists()


def test_templates_are_listed_for_people_and_for_programs(tmp_path: Path) -> None:
    listed = hermes(tmp_path, "templates", "list").stdout
    assert re.search(r"^cuda +A program in CUDA C\+\+  \(needs a GPU\)$", listed, re.MULTILINE)
    records = {
        each["name"]: each for each in json.loads(hermes(tmp_path, "templates", "list", "--json").stdout)
    }
    assert records["mpi"]["needs"]["packages"] == ["libopenmpi-dev", "openmpi-bin"]
    shown = json.loads(hermes(tmp_path, "templates", "show", "cmake", "--json").stdout)
    assert "add_executable" in shown["files"]["CMakeLists.txt"]
    assert "── CMakeLists.txt ──" in hermes(tmp_path, "templates", "show", "cmake").stdout
    assert "did you mean 'cmake'" in complaint(hermes(tmp_path, "templates", "show", "cmak"))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with a template of one's own."""
    files = {
        "template.toml": 'title = "Ours"\n[needs]\ngpu = true\n',
        "Makefile": "run:\n\t@echo {{name}}\n",
        "scripts/go.sh": "#!/bin/sh\n",
        "logo.bin": "\0{{name}}",
        "gitignore": "*.o\n",
    }
    (tmp_path / "own" / "lab").mkdir(parents=True)
    WorkTree(tmp_path / "own" / "lab").write(dict(files))
    (tmp_path / "own" / "lab" / "scripts" / "go.sh").chmod(0o755)
    return tmp_path / "own"


def test_template_of_ones_own_is_one_like_the_others(tmp_path: Path, own: Path) -> None:
    tree = made(tmp_path, "theirs", "--template", "lab", "--from", str(own)).folder
    assert (tree / "Makefile").read_text() == "run:\n\t@echo theirs\n"
    assert (tree / "logo.bin").read_bytes() == b"\0{{name}}"
    assert (tree / ".gitignore").exists() and not (tree / "template.toml").exists()
    assert os.access(tree / "scripts" / "go.sh", os.X_OK) and not os.access(tree / "Makefile", os.X_OK)
    assert (
        "lab     Ours  (needs a GPU)"
        in hermes(tmp_path, "templates", "list", HERMES_TEMPLATES=str(own)).stdout
    )


WRONG = [
    ('titel = "Ours"', "title: Field required"),
    ("title = 3", "title: Input should be a valid string"),
    ("title = ", "Invalid value"),
    ('title = "Ours"\n[needs]\ngpus = 1', "needs.gpus: Extra inputs are not permitted"),
]


@pytest.mark.parametrize(("text", "words"), WRONG, ids=[words for _, words in WRONG])
def test_template_that_is_described_wrongly_is_told_with_its_file(
    tmp_path: Path, own: Path, text: str, words: str
) -> None:
    (own / "lab" / "template.toml").write_text(text)
    said = complaint(hermes(tmp_path, "templates", "list", "--from", str(own)))
    assert str(own / "lab" / "template.toml") in said and words in said


def test_template_with_a_link_is_refused(tmp_path: Path, own: Path) -> None:
    (own / "lab" / "secret").symlink_to("/etc/passwd")
    said = complaint(init(tmp_path, "pi", "--template", "lab", "--from", str(own)))
    assert "is not a plain file" in said and not (tmp_path / "pi").exists()
