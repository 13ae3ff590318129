"""Templates: what `hermes init` makes a repository of. A folder each, described by its `template.toml`."""

import difflib
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hermes.errors import NotFound, UserError
from hermes.names import check_name
from hermes.units import show_size

OURS = Path(__file__).parent / "templates"
DESCRIPTION = "template.toml"
_MOST_FILES = 500
_MOST_BYTES = 16 << 20
_Word = Annotated[str, Field(min_length=1, max_length=200)]


class Needs(BaseModel):
    """What an instance must have for it. `image`: programs and libraries of the base image."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    gpu: bool = False
    image: list[_Word] = []
    packages: list[_Word] = []


class Description(BaseModel):
    """`template.toml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    title: _Word
    languages: list[_Word] = []
    needs: Needs = Needs()


@dataclass(frozen=True)
class Template:
    """One of them; nothing of it is read but its description."""

    name: str
    folder: Path
    description: Description


@dataclass(frozen=True)
class TemplateFile:
    """A file as it will lie in the repository."""

    path: str
    content: bytes
    is_program: bool


def find_templates(own: Sequence[Path]) -> dict[str, Template]:
    """By name: those that come with Hermes and those of the folders `own`; of one name, the last counts.

    Raises UserError for a folder that cannot be used."""
    found: dict[str, Template] = {}
    for folder in (OURS, *own):
        found |= {each.name: each for each in _in_folder(folder)}
    return found


def _in_folder(folder: Path) -> Iterator[Template]:
    if not folder.is_dir():
        raise UserError(
            f"there is no folder of templates {str(folder)!r}", "a folder for each template, in one"
        )
    described = sorted(folder.glob(f"*/{DESCRIPTION}"))
    if not described:
        raise UserError(
            f"there is no template in {str(folder)!r}",
            f"a template is a folder in it, with a {DESCRIPTION} that has at least a title",
        )
    for file in described:
        yield Template(check_name(file.parent.name, "template"), file.parent, _describe(file))


def _describe(file: Path) -> Description:
    try:
        return Description.model_validate(tomllib.loads(file.read_text()))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{file}: {key}: {first['msg']}", "hermes templates --help") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{file}: {error}") from None


def choose_template(templates: dict[str, Template], name: str) -> Template:
    """Raises NotFound with the nearest name."""
    if name in templates:
        return templates[name]
    near = difflib.get_close_matches(name, templates, n=1, cutoff=0.5)
    words = f", did you mean {near[0]!r}?" if near else ""
    raise NotFound(f"there is no template {name[:80]!r}{words}", f"there are: {', '.join(templates)}")


def files_of(template: Template, name: str = "") -> list[TemplateFile]:
    """All but the description, by path. `name` stands where the texts have `{{name}}`; without one they stay
    as they are. A file `gitignore` becomes `.gitignore`. Raises UserError."""
    found: list[TemplateFile] = []
    size_bytes = 0
    for path in sorted(template.folder.rglob("*")):
        relative = path.relative_to(template.folder)
        if relative == Path(DESCRIPTION) or {".git", "__pycache__"} & {*relative.parts} or path.is_dir():
            continue
        if path.is_symlink() or not path.is_file():
            raise UserError(f"{path} is not a plain file", "a template has files and folders only")
        size_bytes += path.stat().st_size
        if len(found) >= _MOST_FILES or size_bytes > _MOST_BYTES:
            raise UserError(
                f"the template {template.name!r} is too large",
                f"at most {_MOST_FILES} files, {show_size(_MOST_BYTES)} together",
            )
        found.append(_file(path, relative, name))
    if not found:
        raise UserError(f"the template {template.name!r} has no files", f"put some into {template.folder}")
    return found


def _file(path: Path, relative: Path, name: str) -> TemplateFile:
    content = path.read_bytes()
    if name and b"\0" not in content:
        content = content.replace(b"{{name}}", name.encode())
    if relative.name == "gitignore":
        relative = relative.with_name(".gitignore")
    return TemplateFile(relative.as_posix(), content, bool(path.stat().st_mode & 0o100))
