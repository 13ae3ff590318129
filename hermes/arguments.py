"""What a manifest may write where a program gets text: numbers and booleans are written as such."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

MOST, MOST_CHARACTERS = 256, 4096  # of one list, of one argument


def _to_text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and "\0" in value:  # no program can be given one
        raise ValueError("must not hold a NUL")
    return str(value) if isinstance(value, int | float) else value


TEXT_SCHEMA = {"type": ["string", "number", "boolean"], "maxLength": MOST_CHARACTERS}
AsText = BeforeValidator(_to_text)
Text = Annotated[str, AsText, Field(max_length=MOST_CHARACTERS), WithJsonSchema(TEXT_SCHEMA)]
