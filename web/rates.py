"""How many runs a user may start in a minute (HERMES_RUNS_PER_MINUTE)."""

from typing import Protocol

from hermes.errors import TooMany
from hermes.process import Context
from hermes.settings import Settings
from hermes.tables import User
from hermes.throttle import Throttle

WINDOW_S = 60.0


class Rates:
    """Counts the runs that each user asked for by the API or a page; pushes have a bound of their own."""

    def __init__(self, settings: Settings) -> None:
        self._most = settings.runs_per_minute
        self._throttle = Throttle(self._most, WINDOW_S)

    def check(self, user: User) -> None:
        """One more is asked for. Raises TooMany, and then it is not counted."""
        if not self._most:
            return
        if wait_s := self._throttle.wait_s(str(user.id)):
            raise TooMany(
                f"{user.name} has started {self._most} runs within a minute, and may start no more", wait_s
            )
        self._throttle.count(str(user.id))


class _Rated(Protocol):
    """What has them: a Site."""

    @property
    def rates(self) -> Rates: ...

    @property
    def context(self) -> Context: ...


def check_rate(site: _Rated, user: User) -> None:
    """Before a run is made that a user asked for. Raises TooMany, DiskFull."""
    site.context.room.require()
    site.rates.check(user)
