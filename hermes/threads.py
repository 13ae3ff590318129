"""Blocking calls in threads of their own: a long one never holds a place that another waits for.

A thread that is done waits for the next call; with none at rest a new one is started, without a bound."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_REST_S = 30.0


class _Worker:
    """One thread, and the calls that it is handed one at a time."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        threading.Thread(target=self._live, daemon=True, name="work").start()

    def do(self, call: Callable[[], None]) -> None:
        """It is at rest; now it works."""
        self._calls.put(call)

    def _live(self) -> None:
        while True:
            try:
                call = self._calls.get(timeout=_REST_S)
            except Empty:
                if _leave(self):
                    return
                continue  # it has just been taken: its call is on the way
            call()
            del call  # what it holds is not kept while the thread rests
            with _lock:
                _at_rest.append(self)


_at_rest: list[_Worker] = []
_lock = threading.Lock()


def _leave(worker: _Worker) -> bool:
    with _lock:
        if worker not in _at_rest:
            return False
        _at_rest.remove(worker)
        return True


def _take() -> _Worker:
    with _lock:
        if _at_rest:
            return _at_rest.pop()
    return _Worker()


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `function` in a daemon thread. Cancelling the wait abandons the call, it cannot stop it."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # None only if T has it

    def work() -> None:
        result, failure = None, None
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            failure = error
        with suppress(RuntimeError):  # the loop is gone: nobody waits any more
            loop.call_soon_threadsafe(tell, result, failure)

    _take().do(work)
    return await future
