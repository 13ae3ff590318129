"""`hermes templates`: what `hermes init` can make a repository of."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from hermes.settings import load_settings
from hermes.template import Template, TemplateFile, choose_template, files_of, find_templates

SHORTCUTS = ("cpp", "cuda", "make", "cmake", "python")
from_folder = click.option(
    "--from",
    "folder",
    type=click.Path(path_type=Path),
    help="A folder of templates of your own, besides the others; HERMES_TEMPLATES names one for good.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")


def known_templates(folder: Path | None) -> dict[str, Template]:
    """Those that come with Hermes, those of HERMES_TEMPLATES, those of `--from`."""
    own = (load_settings().templates, folder or Path())
    return find_templates([each for each in own if each != Path()])


@click.group()
def templates() -> None:
    """What `hermes init` can make a repository of."""


@templates.command("list")
@from_folder
@as_json
def template_list(folder: Path | None, as_json: bool) -> None:
    """All templates, and what they need."""
    known = known_templates(folder)
    if as_json:
        click.echo(json.dumps([_record(each) for each in known.values()], ensure_ascii=False))
        return
    width = max(len(name) for name in known)
    for name, each in known.items():
        needs = needs_of(each)
        click.echo(f"{name:{width}}  {each.description.title}{f'  (needs {needs})' if needs else ''}")


@templates.command("show")
@click.argument("name")
@from_folder
@as_json
def template_show(name: str, folder: Path | None, as_json: bool) -> None:
    """The template NAME with all its files."""
    chosen = choose_template(known_templates(folder), name)
    files = files_of(chosen)
    if as_json:
        contents = {each.path: _text(each) for each in files}
        click.echo(json.dumps(_record(chosen) | {"files": contents}, ensure_ascii=False))
        return
    click.echo(f"{chosen.name}: {chosen.description.title}")
    click.echo(f"needs {needs_of(chosen) or 'nothing besides make and a compiler'}")
    for each in files:
        click.echo(f"\n── {each.path} ──\n{_text(each).rstrip()}")


def needs_of(template: Template) -> str:
    """`a GPU; python3 in the base image`."""
    needs = template.description.needs
    parts = ["a GPU"] if needs.gpu else []
    parts += [f"{', '.join(needs.image)} in the base image"] if needs.image else []
    parts += [f"the Debian packages {', '.join(needs.packages)}"] if needs.packages else []
    return "; ".join(parts)


def _text(file: TemplateFile) -> str:
    try:
        return file.content.decode()
    except UnicodeDecodeError:
        return f"({len(file.content)} bytes that are not text)"


def _record(template: Template) -> dict[str, Any]:
    return {"name": template.name, "folder": str(template.folder), **template.description.model_dump()}


def shortcuts(function: Callable[..., None]) -> Callable[..., None]:
    """`--cpp` for `--template cpp`, and so on."""
    for name in reversed(SHORTCUTS):
        function = click.option(f"--{name}", is_flag=True, help=f"As --template {name}.")(function)
    return function
