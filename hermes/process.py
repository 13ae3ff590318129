"""What every process of an instance opens when it starts and closes when it ends."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import NoReturn

from hermes import faultpoint, journal
from hermes.checks import check_data_directory
from hermes.database import Database
from hermes.errors import HermesError
from hermes.failed_signins import FailedSignIns
from hermes.followed import LogWatch
from hermes.paths import Paths
from hermes.queue import Doorbell
from hermes.room import Room
from hermes.schema import migrate
from hermes.settings import Settings, load_settings
from hermes.throttle import Throttle
from hermes.title import set_title

_FAILURES_WINDOW_S = 300.0


@dataclass(frozen=True)
class Context:
    """The settings and the open ends of one process."""

    settings: Settings
    paths: Paths
    database: Database
    doorbell: Doorbell
    failures: Throttle  # of people who could not say who they are
    failed: FailedSignIns = field(default_factory=FailedSignIns)  # the same, for the audit log
    logs: LogWatch = field(default_factory=LogWatch)
    half: set[int] = field(default_factory=set)  # pushes whose end could not be written down here

    @cached_property
    def room(self) -> Room:
        """On the disk of the data directory."""
        return Room(self.settings.data)


@asynccontextmanager
async def open_context(settings: Settings) -> AsyncIterator[Context]:
    """Open everything; the schema is brought up to date."""
    check_data_directory(settings.data)
    database = Database(settings.database)
    doorbell = Doorbell(settings.redis_url)
    try:
        await migrate(database)
        doorbell.start()
        failures = Throttle(settings.login_failures, _FAILURES_WINDOW_S)
        yield Context(settings, Paths(settings.data), database, doorbell, failures)
    finally:
        await doorbell.close()
        await database.close()


def watch_children() -> None:
    """For a process of our own, in its loop. Python 3.11 starts a thread for each child to wait for it, a
    millisecond of every push; from 3.12 on the kernel tells, as here."""
    if sys.version_info < (3, 12):
        watcher = asyncio.PidfdChildWatcher()
        watcher.attach_loop(asyncio.get_running_loop())
        asyncio.set_child_watcher(watcher)


class StopEvent(asyncio.Event):
    """Set by SIGTERM and SIGINT; `again` by the second of them."""

    def __init__(self) -> None:
        super().__init__()
        self.again = asyncio.Event()

    def set(self) -> None:
        """Somebody asks."""
        if self.is_set():
            self.again.set()
        super().set()


def stop_event() -> StopEvent:
    """Of this process."""
    event = StopEvent()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, event.set)
    return event


def leave() -> NoReturn:
    """End this process, which has closed all that it had open. Python would now free its objects one by one:
    half a second of a core in each process of an instance, for which a stop waits on a busy machine."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def main(process: str, body: Callable[[Context, StopEvent], Awaitable[None]]) -> None:
    """The whole life of a process: settings, journal, context, body; a wrong setting is one clear line."""

    async def live(settings: Settings) -> None:
        watch_children()
        stop = stop_event()
        async with open_context(settings) as context:
            await body(context, stop)
        for number in (signal.SIGTERM, signal.SIGINT):  # one more while the loop closes would be a traceback
            signal.signal(number, signal.SIG_IGN)

    try:
        settings = load_settings()
        set_title(process, settings.data)
        journal.configure(settings.log, process)
        faultpoint.arm(os.environ, settings.data)
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(live(settings))
    except HermesError as error:
        sys.exit(f"hermes {process}: {error}")
    leave()
