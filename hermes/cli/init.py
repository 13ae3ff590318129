"""`hermes init`: a repository that builds and runs at its first push."""

import json
import shlex
import sys
from pathlib import Path

import click

from hermes.cli.asking import known_servers
from hermes.cli.templates import as_json, from_folder, known_templates, needs_of, shortcuts
from hermes.errors import UserError
from hermes.names import check_name
from hermes.scaffold import BRANCH, Made, scaffold
from hermes.template import Template, choose_template, files_of

DEFAULT = "cpp"


@click.command()
@click.argument("name")
@click.option("--template", metavar="NAME", help="Which template: `hermes templates list` shows them all.")
@shortcuts
@click.option(
    "--into", type=click.Path(path_type=Path), help="The folder to make; default: NAME, in this one."
)
@from_folder
@as_json
def init(
    name: str,
    template: str | None,
    into: Path | None,
    folder: Path | None,
    as_json: bool,
    **shortcuts: bool,
) -> None:
    """Make the folder NAME with a program that builds and runs at its first push, and commit it.

    Without a template, you are asked at a terminal; elsewhere it is cpp."""
    check_name(name, "repo")
    asked = [f"--{each}" for each, is_given in shortcuts.items() if is_given]
    asked += [f"--template {template}"] if template else []
    if len(asked) > 1:
        raise UserError(f"{' and '.join(asked)}: a repository is made of one template", "name one of them")
    known = known_templates(folder)
    which = asked[0].removeprefix("--template ").removeprefix("--") if asked else _ask(known, as_json)
    chosen = choose_template(known, which)
    target = into or Path(name)
    made = scaffold(target, files_of(chosen, name))
    steps = _next_steps(name, made)
    if as_json:
        click.echo(json.dumps(_record(name, chosen, made, steps), ensure_ascii=False))
    else:
        _say(chosen, made, steps)


def _ask(known: dict[str, Template], as_json: bool) -> str:
    """Only somebody who can answer."""
    if as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return DEFAULT
    width = max(len(each) for each in known)
    for each in known.values():
        click.echo(f"  {each.name:{width}}  {each.description.title}")
    answer: str = click.prompt(
        "template", default=DEFAULT, type=click.Choice(list(known)), show_choices=False
    )
    return answer


def _next_steps(name: str, made: Made) -> list[str]:
    into = [] if made.folder.resolve() == Path.cwd() else [f"cd {shlex.quote(str(made.folder))}"]
    commit = [f"git init -b {BRANCH}"] if not _has_git(made.folder) else []
    commit += ["git add -A", 'git commit -m "first"']
    push = f"git push gpu {BRANCH}"
    return [*into, *(commit if made.why_not else []), _remote(name), push]


def _remote(name: str) -> str:
    """To the server where one is signed in; `hermes login` does it otherwise."""
    servers = known_servers()
    if not servers.default:
        return f"git remote add gpu http://YOU@SERVER:8000/YOU/{name}.git"
    user = servers.logins[servers.default].user
    scheme, _, host = servers.default.partition("://")
    return f"git remote add gpu {scheme}://{user}@{host}/{user}/{name}.git"


def _has_git(folder: Path) -> bool:
    """Its own: in a repository around it, a push would send that."""
    return (folder / ".git").exists()


def _record(name: str, chosen: Template, made: Made, steps: list[str]) -> dict[str, object]:
    return {
        "name": name,
        "template": chosen.name,
        "folder": str(made.folder),
        "files": list(made.files),
        "committed": not made.why_not,
        "why_not": made.why_not,
        "next": steps,
    }


def _say(chosen: Template, made: Made, steps: list[str]) -> None:
    click.echo(f"{made.folder}: {chosen.description.title}")
    click.echo(f"  {' '.join(made.files)}")
    if needs := needs_of(chosen):
        click.echo(f"  needs {needs}")
    if made.why_not:
        click.echo(f"not committed: {made.why_not}", err=True)
    click.echo("next:")
    for step in steps:
        click.echo(f"  {step}")
    if any("YOU@SERVER" in step for step in steps):
        click.echo(
            "YOU and SERVER: your name and the machine, as the service's first page shows them", err=True
        )
