"""The base images that this instance offers: a table in a TOML file, in order of preference."""

import difflib
import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from hermes.errors import Refused, SettingsError

DEFAULT_TABLE = Path(__file__).parent / "images.toml"


class BaseImage(BaseModel):
    """One row: `reference` is what the engine calls it; `cuda` is its toolkit's version, if it has one."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    reference: str
    languages: list[str]
    cuda: str = ""
    summary: str = ""


ImageTable = dict[str, BaseImage]


def load_images(path: Path) -> ImageTable:
    """Read the table; `Path()` means the one that comes with Hermes. Raises SettingsError."""
    file = DEFAULT_TABLE if path == Path() else path
    try:
        return TypeAdapter(ImageTable).validate_python(tomllib.loads(file.read_text()))
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise SettingsError(f"HERMES_IMAGES={file}: {error}") from None


def choose_image(images: ImageTable, asked: str, language: str) -> str:
    """The name of the image that is asked for, or the language's default. Raises Refused."""
    offered = ", ".join(images)
    if not asked:
        for name, image in images.items():
            if language in image.languages:
                return name
        raise Refused(f"this instance offers no image for {language}", f"it offers: {offered}")
    if asked not in images:
        near = difflib.get_close_matches(asked, images, n=1)
        words = f", did you mean {near[0]!r}?" if near else ""
        raise Refused(f"build.image = {asked[:80]!r}: no such image here{words}", f"it offers: {offered}")
    if language not in images[asked].languages:
        raise Refused(
            f"build.image = {asked!r} has no compiler for language = {language!r}", f"it offers: {offered}"
        )
    return asked
