"""What is made in the settings of a repository elsewhere, and taken away: a webhook and a deploy key."""

from collections.abc import Awaitable
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
        putting = None if by_hand or self.forge is None else self.forge.put_hook(hook)
        return await _made("webhook", putting, hook_steps(self.place, hook.url, hook.secret), "updated")

    async def make_key(self, title: str, key: DeployKey, by_hand: bool) -> Made:
        """It may read."""
        putting = None if by_hand or self.forge is None else self.forge.put_key(title, key.public)
        return await _made("deploy key", putting, key_steps(self.place, title, key.public), "there")

    async def remove_hook(self, url: str) -> str:
        """What came of it, in words."""
        by_hand, name = self._by_hand("webhook"), NAMES[self.place.kind]
        if self.forge is None:
            return f"there is no token: {by_hand}"
        words = f"its webhook is removed at {name}", f"there was no webhook of ours at {name}"
        return await _removed(self.forge.remove_hook(url), by_hand, *words)

    async def remove_key(self, public: str) -> str:
        """What came of it, in words; "" where there is none."""
        if not public:
            return ""
        by_hand, name = self._by_hand("deploy key"), NAMES[self.place.kind]
        if self.forge is None:
            return by_hand
        words = f"its deploy key is removed at {name}", f"its deploy key was not at {name}"
        return await _removed(self.forge.remove_key(public), by_hand, *words)

    def _by_hand(self, what: str) -> str:
        return f"remove the {what} in the settings of {self.place.base_url}/{self.place.name}"


async def _made(what: str, putting: Awaitable[bool] | None, steps: list[str], otherwise: str) -> Made:
    """`putting`: whether it is new there, None where a person makes it; `otherwise`: how it is if not."""
    if putting is None:
        return Made(BY_HAND, steps=tuple(steps))
    try:
        return Made("made" if await putting else otherwise)
    except Undelivered as error:
        return Made(BY_HAND, (f"the {what}: {error}",), tuple(steps))


async def _removed(removing: Awaitable[bool], by_hand: str, gone: str, was_not: str) -> str:
    try:
        return gone if await removing else was_not
    except Undelivered as error:
        return f"{error}: {by_hand}"


def _as_user_error(error: Undelivered) -> UserError:
    if isinstance(error, Limited):
        return TooMany(str(error), error.wait_s or 0.0)
    if isinstance(error, Denied):
        return UserError(str(error), error.hint)
    return UserError(str(error), "is its address right? Try again, or connect it without a token")
