"""What the documents say is there, is there: links, commands, targets, settings, keys, options, blocks."""

import re
import runpy
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from hermes.cli.commands import hermes
from hermes.faultpoint import POINTS
from hermes.manifest import AncestorManifest, Manifest
from hermes.manifest_file import read_manifest
from hermes.options import _OVERRIDES, WORDS
from hermes.settings import settings_table
from tests.fault_rows import ROWS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "sample-repos" / "README.md"])
OURS = [
    ROOT / f"{name}.md"
    for name in (
        "README",
        "CHANGELOG",
        "CONTRIBUTING",
        "docs/manifest",
        "docs/git",
        "docs/operations",
        "docs/cli",
        "docs/triggers",
    )
]
_CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """What `#…` can point to, as GitHub makes it."""
    headings = {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in _HEADING.findall(text)}
    return headings | set(re.findall(r'<a id="([\w-]+)"></a>', text))


def code_of(text: str) -> Iterator[str]:
    """Every line of a shell block and every `inline` piece of code."""
    for block in blocks(text, "sh"):
        yield from block.splitlines()
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))


def keys(model: type[BaseModel]) -> Iterator[str]:
    """`run.timeout` and so on."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from (f"{name}.{key}" for key in keys(inner))
        else:
            yield name


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_somewhere(path: Path) -> None:
    text = path.read_text()
    for link in _LINK.findall(_CODE.sub("", text)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = path if not name else (path.parent / name).resolve()
        assert target.exists(), f"{path.name}: {link}"
        assert not anchor or anchor in anchors(target.read_text()), f"{path.name}: {link}"


def test_settings_are_the_documented_ones() -> None:
    assert settings_table() in (ROOT / "docs" / "settings.md").read_text(), "paste settings_table() there"


def test_every_manifest_key_is_documented() -> None:
    text = (ROOT / "docs" / "manifest.md").read_text()
    wanted = {*keys(Manifest), *keys(AncestorManifest)}
    assert not {key for key in wanted if f"`{key}`" not in text}


def test_every_push_option_is_in_the_readme() -> None:
    assert not {word for word in WORDS if f"`{word}`" not in README}
    assert not {f"{a}.{b}" for a, b in _OVERRIDES if f"`{a}.{b}=" not in README}


def test_commands_that_are_named_exist() -> None:
    """In a shell block or in backticks; the list of what is not there yet names others on purpose."""
    for path in OURS:
        text = path.read_text().partition("## Not there yet")[0]
        for line in code_of(text):
            for words in re.findall(r"(?:^|\s|/)hermes ((?:[a-z]|--?[a-z])[^#]*)", line):
                resolve(shlex.split(words), line)


def resolve(words: list[str], line: str) -> None:
    """Walk the groups of click, then check the options of the command."""
    words = words[: next((at for at, word in enumerate(words) if word in ("--", "|")), len(words))]
    command: click.Command = hermes
    context = click.Context(hermes, **hermes.context_settings)  # commands remember the first help option
    while words and isinstance(command, click.Group):
        found = command.get_command(context, words.pop(0))
        assert found is not None, line
        command = found
    parameters = command.get_params(context)
    known = {option for each in parameters for option in (*each.opts, *each.secondary_opts)}
    assert not {word for word in words if word.startswith("-") and word != "-"} - known, line


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"):
        code = list(code_of(path.read_text()))
        named = {word for line in code for word in re.findall(r"\bmake ([a-z-]+)\b", line)}
        assert named - {"run", "clean"} <= targets, path.name  # these two are also of a user's Makefile


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_manifests_in_documents_are_accepted(path: Path) -> None:
    for block in blocks(path.read_text(), "toml"):
        tomllib.loads(block)
        read_manifest("hermes.toml", block.encode())


def test_every_file_is_in_the_table_of_files() -> None:
    """`### folder/` and then one row a file, in CONTRIBUTING.md."""
    before = (ROOT / "CONTRIBUTING.md").read_text()
    assert runpy.run_path(str(ROOT / "scripts/file-table"))["written"](before) == before, (
        "run scripts/file-table"
    )


def test_commands_are_the_documented_ones() -> None:
    document = (ROOT / "docs" / "cli.md").read_text()
    written = runpy.run_path(str(ROOT / "scripts/cli-reference"))["written"]
    assert written(document) == document, "run scripts/cli-reference"


def test_tests_that_the_readme_names_exist() -> None:
    for name, *_ in re.findall(r"`(test_[a-z0-9_]+)(…?)`", README):
        found = [path for path in (ROOT / "tests").glob("test_*.py") if f"def {name}" in path.read_text()]
        assert found, name


def test_every_fault_is_in_the_table_as_it_is_described() -> None:
    table = (ROOT / "docs" / "reliability.md").read_text()
    for number, row in ROWS.items():
        begin = f'| <a id="fault-{number}"></a>{number} | {row.fault} | {row.expected} |'
        assert begin in table, f"row {number}: run scripts/fault-table"
    for point, words in POINTS.items():
        assert f"| `{point}` | {words} |" in table, f"{point}: run scripts/fault-table"
    assert "failed**" not in table and "not run" not in table
