"""`hermes images`: what this instance offers, and whether it is there."""

import asyncio
import json

import click

from hermes.cli import elsewhere
from hermes.executors import choose_executor
from hermes.images import load_images
from hermes.settings import load_settings


@click.command()
@click.option("--json", "as_json", is_flag=True, help="JSON, one array.")
@elsewhere.option
def images(as_json: bool, server: str) -> None:
    """The base images that a manifest can name as `build.image`.

    On another machine than the service's it asks the server where you are signed in."""
    if elsewhere.asked(server, lambda client: client.images(), as_json, elsewhere.show_images):
        return
    settings = load_settings()
    table = load_images(settings.images)

    async def look() -> dict[str, bool]:
        executor, _ = await choose_executor(settings)
        return {name: await executor.has_image(image.reference) for name, image in table.items()}

    there = asyncio.run(look())
    if as_json:
        click.echo(
            json.dumps([{"name": n, **image.model_dump(), "present": there[n]} for n, image in table.items()])
        )
        return
    for name, image in table.items():
        mark = "" if there[name] else "  (missing here: make images)"
        click.echo(f"{name:12} {', '.join(image.languages):10} {image.summary}{mark}")
