"""Who is connected over SSH: strangers, of whom so many may wait at a time, and users, each with so many."""

from collections import Counter
from typing import Protocol

from hermes.errors import Refused, UserError
from hermes.throttle import source

_MOST_STRANGERS = 100
_MOST_OF_ONE = 100  # connections of one user


class Guest(Protocol):
    """A connection."""

    address: str

    def turn_away(self, reason: UserError) -> None:
        """Close it, in words."""


class Crowd:
    """All connections. When too many are not signed in, the oldest one from the address that has the most
    of them makes room: who holds many open keeps out only themselves."""

    def __init__(self) -> None:
        self._strangers: dict[Guest, None] = {}  # in the order in which they came
        self._users: dict[Guest, str] = {}

    @property
    def guests(self) -> list[Guest]:
        """Everybody."""
        return [*self._strangers, *self._users]

    def came(self, guest: Guest) -> None:
        """Somebody, of whom nothing is known yet."""
        self._strangers[guest] = None
        if len(self._strangers) > _MOST_STRANGERS:
            ((address, _),) = Counter(source(each.address) for each in self._strangers).most_common(1)
            oldest = next(each for each in self._strangers if source(each.address) == address)
            del self._strangers[oldest]
            oldest.turn_away(Refused("too many connections that are not signed in", "try again"))

    def signed_in(self, guest: Guest, name: str) -> None:
        """It is this user."""
        self._strangers.pop(guest, None)
        if Counter(self._users.values())[name] >= _MOST_OF_ONE:
            guest.turn_away(Refused(f"{name} has {_MOST_OF_ONE} connections already", "close some"))
        else:
            self._users[guest] = name

    def left(self, guest: Guest) -> None:
        """The connection is over."""
        self._strangers.pop(guest, None)
        self._users.pop(guest, None)
