"""What the driver tells anybody who listens: the Xids that a log of ours is compared with."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pynvml

_WAIT_MS = 200
_AFTER_S = 2.0  # an event may come after the end of the program that it is about


@contextmanager
def heard_xids() -> Iterator[list[int]]:
    """Inside the block a listener of our own fills the list; behind it the list is complete. It stays empty
    where the driver reports no events, as in some virtual machines and containers."""
    heard: list[int] = []
    over = threading.Event()
    pynvml.nvmlInit()
    events = pynvml.nvmlEventSetCreate()
    for index in range(pynvml.nvmlDeviceGetCount()):
        with suppress(pynvml.NVMLError):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, events)
    listener = threading.Thread(target=_listen, args=(events, heard, over), daemon=True)
    listener.start()
    try:
        yield heard
        over.wait(_AFTER_S)
    finally:
        over.set()
        listener.join()
        pynvml.nvmlEventSetFree(events)
        pynvml.nvmlShutdown()


def _listen(events: Any, heard: list[int], over: threading.Event) -> None:
    while not over.is_set():
        try:
            heard.append(int(pynvml.nvmlEventSetWait_v2(events, _WAIT_MS).eventData))
        except pynvml.NVMLError:  # a time-out; of a driver without events at once
            over.wait(_WAIT_MS / 1000)
