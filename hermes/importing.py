"""Importing much at once."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """While modules are made the garbage collector finds nothing, and looks a tenth of a second for it. They
    stay as long as the process does, so it need not look through them later either."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
