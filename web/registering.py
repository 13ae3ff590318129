"""What is made in the settings of a repository elsewhere, and taken away: a webhook and a deploy key."""

from dataclasses import dataclass

from hermes.deploy_keys import DeployKey
from hermes.errors import TooMany, UserError
from hermes.forges.base import Forge, Hook, Seen
from hermes.forges.open import NAMES, hook_steps, key_steps, token_steps
from hermes.forges.talk import Denied, Limited
from hermes.outward import Undelivered
from hermes.upstreams import Place

BY_HAND = "by hand"


@dataclass(frozen=True)
class Made:
    """What came of one: `how` is `made`, `updated`, `there` or `by hand`; `lacks`: why it could not be made;
    `steps`: how a person makes it."""

    how: str
    lacks: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Registering:
    """At one place; `forge`: None without a token, then a person has to do it."""

    place: Place
    forge: Forge | None

    async def look(self) -> Seen | None:
        """The repository there, if there is a token. Raises UserError."""
        if self.forge is None:
            return None
        try:
            return await self.forge.look()
        except Undelivered as error:
            raise _as_user_error(error) from None

    def token_steps(self) -> tuple[str, ...]:
        """How one makes a token, where there is none."""
        return () if self.forge else tuple(token_steps(self.place))

    async def make_hook(self, hook: Hook, by_hand: bool) -> Made:
        """Or brought up to date."""
        steps = tuple(hook_steps(self.place, hook.url, hook.secret))
        if by_hand or self.forge is None:
            return Made(BY_HAND, steps=steps)
        try:
            is_new = await self.forge.put_hook(hook)
        except Undelivered as error:
            return Made(BY_HAND, (f"the webhook: {error}",), steps)
        return Made("made" if is_new else "updated")

    async def make_key(self, title: str, key: DeployKey, by_hand: bool) -> Made:
        """It may read."""
        steps = tuple(key_steps(self.place, title, key.public))
        if by_hand or self.forge is None:
            return Made(BY_HAND, steps=steps)
        try:
            is_new = await self.forge.put_key(title, key.public)
        except Undelivered as error:
            return Made(BY_HAND, (f"the deploy key: {error}",), steps)
        return Made("made" if is_new else "there")

    async def remove_hook(self, url: str) -> str:
        """What came of it, in words."""
        by_hand = f"remove the webhook in the settings of {self.place.base_url}/{self.place.name}"
        if self.forge is None:
            return f"there is no token: {by_hand}"
        try:
            there_was = await self.forge.remove_hook(url)
        except Undelivered as error:
            return f"{error}: {by_hand}"
        name = NAMES[self.place.kind]
        return f"its webhook is removed at {name}" if there_was else f"there was no webhook of ours at {name}"

    async def remove_key(self, public: str) -> str:
        """What came of it, in words; "" where there is none."""
        if not public:
            return ""
        by_hand = f"remove the deploy key in the settings of {self.place.base_url}/{self.place.name}"
        if self.forge is None:
            return by_hand
        try:
            there_was = await self.forge.remove_key(public)
        except Undelivered as error:
            return f"{error}: {by_hand}"
        name = NAMES[self.place.kind]
        return f"its deploy key is removed at {name}" if there_was else f"its deploy key was not at {name}"


def _as_user_error(error: Undelivered) -> UserError:
    if isinstance(error, Limited):
        return TooMany(str(error), error.wait_s or 0.0)
    if isinstance(error, Denied):
        return UserError(str(error), error.hint)
    return UserError(str(error), "is its address right? Try again, or connect it without a token")
