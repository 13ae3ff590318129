"""A client of a Hermes server: `Client`, and `AsyncClient` with the same methods. `hermes` stands on it.

    with Client("https://gpu.lab", token) as client:
        for frame in client.invoke(Invocation("alice/pi:1.0.0", args=["5000000"])):
            ...

What the server says comes back as it is, typed (`hermes.client.answers`, `hermes.client.instance_answers`).
What is raised: `hermes.client.errors`.
"""

from typing import TYPE_CHECKING, Any

from hermes.client.frames import Event, Frame, Output
from hermes.client.invocation import Invocation
from hermes.client.sync import Client

if TYPE_CHECKING:
    from hermes.client.asynchronous import AsyncClient

__all__ = ["AsyncClient", "Client", "Event", "Frame", "Invocation", "Output"]


def __getattr__(name: str) -> Any:
    """`AsyncClient` stands on httpx, which takes 0.08 s to import: only for who uses it."""
    if name != "AsyncClient":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hermes.client.asynchronous import AsyncClient

    return AsyncClient
