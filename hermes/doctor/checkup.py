"""All looks, side by side, each with its bound: what hangs or breaks is a finding like any other."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from hermes.database import Database
from hermes.doctor.clock import look_at_clock
from hermes.doctor.data import look_at_data
from hermes.doctor.database import look_at_database
from hermes.doctor.doorbell import look_at_redis
from hermes.doctor.engine import Engine, look_at_engine
from hermes.doctor.findings import Finding, Look, first_line, ok, problem
from hermes.doctor.gpus import look_at_cuda, look_at_driver, look_at_gpus, look_at_toolkit
from hermes.doctor.machine import look_at_machine
from hermes.doctor.secrets import look_at_secrets
from hermes.doctor.service import look_at_service
from hermes.doctor.work import Gpus, gpus_in_rows, look_at_work
from hermes.driver import DriverState
from hermes.errors import SettingsError
from hermes.images import ImageTable, load_images
from hermes.pools import load_pools
from hermes.settings import Settings, load_settings
from hermes.threads import in_thread

T = TypeVar("T")
_BOUND_S = 12.0
_DISK_HANGS = "ps -eo pid,stat,wchan:32,cmd | grep ' D' shows what hangs on a disk; sudo dmesg | tail"
_HANGS = {"database": f"pg_isready, with PostgreSQL; else {_DISK_HANGS}"}
_UNSEEN = Gpus({}, frozenset())


async def examine() -> list[Finding]:
    """Everything, in the order of reading: what others stand on comes first."""
    try:
        settings = load_settings()
        table = load_images(settings.images)
        load_pools(settings.pools)
    except SettingsError as error:
        return [problem("settings", " ".join(str(error).split()), "docs/settings.md says what it takes")]
    return [ok("settings", "all can be read"), *await _examine(settings, table)]


async def _examine(settings: Settings, table: ImageTable) -> list[Finding]:
    data = _begin("data", in_thread(look_at_data, settings))
    engine = _begin("engine", in_thread(look_at_engine, settings, table))
    driver = _begin("driver", look_at_driver(settings))
    machine = _begin("machine", in_thread(look_at_machine, settings))
    clock = _begin("clock", in_thread(look_at_clock, settings))
    was_started = (await data).facts
    rows = _begin("database", _database(settings, was_started))
    service = _begin("service", in_thread(look_at_service, settings, was_started is not False))
    is_up, database = bool((await service).facts), (await rows).facts
    redis = _begin("redis", in_thread(_redis, settings, is_up))
    secrets = _begin("secrets", _secrets(settings, database))
    work = _begin("work", _work(settings, database, is_up))
    gpus = _begin("gpus", _gpus((await driver).facts, (await engine).facts, database, table))
    tasks = (data, rows, secrets, redis, engine, machine, driver, gpus, clock, service, work)
    looks: list[Look[Any]] = [await each for each in tasks]
    if database is not None:
        await database.close()
    return [finding for look in looks for finding in look.findings]


def _begin(name: str, look: Awaitable[Look[T]]) -> asyncio.Task[Look[T]]:
    return asyncio.create_task(_bounded(name, look))


async def _bounded(name: str, look: Awaitable[Look[T]]) -> Look[T]:
    """Whatever happens in it. A thread that hangs is left; it ends with the program."""
    try:
        async with asyncio.timeout(_BOUND_S):
            return await look
    except TimeoutError:
        return Look([problem(name, f"no answer within {_BOUND_S:.0f} s", _HANGS.get(name, _DISK_HANGS))])
    except Exception as error:  # a broken look must not hide the others
        words = f"the look itself failed: {type(error).__name__}: {first_line(error)}"
        return Look([problem(name, words, "report this line; the rest of what is found here holds")])


async def _database(settings: Settings, was_started: bool | None) -> Look[Database]:
    """Not on a disk that hangs: SQLite's thread would keep this program from ending."""
    return Look([]) if was_started is None else await look_at_database(settings)


def _redis(settings: Settings, is_up: bool) -> Look[None]:
    return Look(look_at_redis(settings, is_up))


async def _gpus(
    driver: DriverState | None, engine: Engine | None, database: Database | None, table: ImageTable
) -> Look[None]:
    if driver is None:
        return Look([])
    rows = await gpus_in_rows(database) if database else _UNSEEN
    findings = [*look_at_cuda(driver, table), *look_at_gpus(driver, rows.quarantine, rows.held)]
    if engine is not None and driver.gpus:
        findings += await in_thread(look_at_toolkit, engine.info)
    return Look(findings)


async def _secrets(settings: Settings, database: Database | None) -> Look[None]:
    return await look_at_secrets(settings, database) if database else Look([])


async def _work(settings: Settings, database: Database | None, is_up: bool) -> Look[None]:
    return Look(await look_at_work(settings, database, is_up) if database else [])
