"""Sends files over connections that may break: what was sent stays sent, and nothing starts twice."""

import os
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from hermes.cli.asking import note
from hermes.cli.bar import Bar
from hermes.cli.shelf import File
from hermes.client import Client
from hermes.client.body import Body
from hermes.client.errors import ApiError, BrokenOff, ClientError, NoServer, ServerTrouble, TooOften
from hermes.client.upload import announce_call, part_call, put_call, upload_call
from hermes.errors import UserError

_WHOLE_BYTES = 8 << 20  # more comes in parts
_TRIES = 12  # without a byte between them
_MOST_PAUSE_S = 15.0
_CONFLICT, _LOCKED = 409, 423


class Sender:
    """To one function, with one bar for all."""

    def __init__(self, client: Client, function: str, files: Sequence[File]) -> None:
        self._client, self._function = client, function
        total = sum(each.size_bytes for each in files)
        self._bar = Bar(files[0].name if len(files) == 1 else f"{len(files)} files", total)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def send(self, file: File) -> dict[str, Any]:
        """Its record, with its run. Raises UserError."""
        return self._whole(file) if file.size_bytes <= _WHOLE_BYTES else self._in_parts(file)

    def _whole(self, file: File) -> dict[str, Any]:
        key = os.urandom(16).hex()

        def ask() -> dict[str, Any]:
            with file.path.open("rb") as source:
                body = Body(source, size=file.size_bytes)
                found: dict[str, Any] = self._client.ask(put_call(self._function, file.name, body, key))
                return found

        record = _patiently(ask, lambda: 0)
        self._bar.told(file.size_bytes)
        return record

    def _in_parts(self, file: File) -> dict[str, Any]:
        call = announce_call(self._function, file.name, file.size_bytes)
        record: dict[str, Any] = _patiently(lambda: self._client.ask(call), lambda: 0)
        number, told = record["id"], 0

        def ask() -> dict[str, Any]:
            nonlocal record, told
            record = self._client.ask(upload_call(number))
            self._bar.told(record["received_bytes"] - told)
            told = record["received_bytes"]
            if record["run"] is None:
                self._part(file, number, told)
                record = self._client.ask(upload_call(number))
            return record

        return _patiently(ask, lambda: int(record["received_bytes"]))

    def _part(self, file: File, number: int, offset: int) -> None:
        with file.path.open("rb") as source:
            source.seek(offset)
            if os.fstat(source.fileno()).st_size != file.size_bytes:
                raise UserError(f"{file.path} has changed while it was sent", "send it again")
            self._client.ask(part_call(number, offset, Body(source, size=file.size_bytes - offset)))


def _patiently(ask: Callable[[], dict[str, Any]], here: Callable[[], int]) -> dict[str, Any]:
    """Asked again while the server is away or has no room; `here` says how much has come. Raises ClientError
    when nothing comes of it."""
    tries, before, was_told = 0, here(), False
    while True:
        try:
            return ask()
        except ClientError as error:
            if here() > before:
                tries, before = 0, here()
            tries += 1
            if tries >= _TRIES or not _may_pass(error):
                raise
            if not was_told and not isinstance(error, TooOften):
                note(f"{error}; trying again")
            was_told = True
            time.sleep(max(min(0.5 * 2 ** (tries - 1), _MOST_PAUSE_S), getattr(error, "wait_s", 0.0)))


def _may_pass(error: ClientError) -> bool:
    """Also what contradicts an earlier request: that may not have ended yet."""
    if isinstance(error, ApiError) and error.status in (_CONFLICT, _LOCKED):
        return True
    return isinstance(error, BrokenOff | NoServer | ServerTrouble | TooOften)
