"""Forms of the settings pages: what was typed, what was wrong with it, what was done."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.requests import Request

from hermes.errors import UserError
from hermes.tokens import DAY_S, Wish

#: How long a new token may live, in days; "" until it is revoked.
LIVES = {"": "until revoked", "30": "30 days", "90": "90 days", "365": "1 year"}


@dataclass(frozen=True)
class Outcome:
    """What a form came to: `wrong` is said where the form `form` stands, `typed` is put back into it."""

    form: str = ""
    wrong: UserError | None = None
    typed: Mapping[str, str] = field(default_factory=dict)
    secret: str = ""

    @property
    def status(self) -> int:
        """Of the page that shows it."""
        if self.wrong is not None:
            return self.wrong.status
        return 201 if self.secret else 200


async def read_form(request: Request) -> dict[str, str]:
    """The text fields."""
    return {name: value for name, value in (await request.form()).items() if isinstance(value, str)}


def wish(typed: Mapping[str, str], scope: str) -> Wish:
    """The token that a form asks for; `scope` if it does not say. Raises UserError."""
    life = typed.get("life", "")
    if life not in LIVES:
        raise UserError("a token lives as long as one of the list", f"choose: {', '.join(LIVES.values())}")
    return Wish(
        typed.get("name", "").strip(), typed.get("scope", scope), float(life) * DAY_S if life else None
    )


def done(request: Request) -> Outcome:
    """After a form that went well its page is opened anew with `?done=FORM`."""
    return Outcome(request.query_params.get("done", ""))
