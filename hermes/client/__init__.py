"""A client of a Hermes server: `Client`, and `AsyncClient` with the same methods. `hermes` stands on it.

    with Client("https://gpu.lab", token) as client:
        for frame in client.invoke(Invocation("alice/pi:1.0.0", args=["5000000"])):
            ...

What the server says comes back as it is, typed (`hermes.client.answers`, `hermes.client.instance_answers`).
What is raised: `hermes.client.errors`.
"""

from hermes.client.asynchronous import AsyncClient
from hermes.client.frames import Event, Frame, Output
from hermes.client.invocation import Invocation
from hermes.client.sync import Client

__all__ = ["AsyncClient", "Client", "Event", "Frame", "Invocation", "Output"]
