"""Commands of operators, of a server that one is signed in to where there is no instance."""

import os
from collections.abc import Callable
from typing import TypeVar

import click

from hermes.cli.asking import connection, known_servers
from hermes.cli.plain import clean
from hermes.cli.remote import say_json
from hermes.cli.tables import print_table
from hermes.client import Client
from hermes.client.instance_answers import Gpu, Gpus, Image, Machine
from hermes.settings import load_settings
from hermes.units import show_size

option = click.option("--server", metavar="URL", default="", help="Ask this server, not the instance here.")
A = TypeVar("A")


def server_meant(named: str) -> str:
    """The one that is named, else where one is signed in if no instance is here; empty: the instance."""
    if named:
        return named
    settings = load_settings()
    if settings.database_url or (settings.data / "hermes.db").exists():
        return ""
    return os.environ.get("HERMES_SERVER", "") or known_servers().default


def asked(server: str, ask: Callable[[Client], A], as_json: bool, show: Callable[[A], None]) -> bool:
    """Whether a server was asked: the one that is meant."""
    server = server_meant(server)
    if not server:
        return False
    with connection(server) as client:
        answer = ask(client)
    if as_json:
        say_json(answer)
    else:
        show(answer)
    return True


def show_gpus(answer: Gpus) -> None:
    """A line for each GPU, and who waits."""
    rows = [_gpu(machine, gpu) for machine in answer["runners"] for gpu in machine["gpus"]]
    for machine in answer["runners"]:
        alive = "" if machine["alive"] else ", NO SIGN OF LIFE"
        held = f"{machine['cpus_held']:g} of {machine['cpus']:g} CPUs held"
        click.echo(clean(f"{machine['name']}: {machine['executor']} executor, {held}{alive}"))
    if rows:
        click.echo()
        print_table(("MACHINE", "GPU", "MODEL", "MEMORY", "USE", "HELD BY"), rows)
    click.echo()
    click.echo(f"{answer['waiting'] or 'nobody'} wait{'s' if answer['waiting'] < 2 else ''}")
    for each in answer["queue"]:
        what = f"run {each['run']} {each['repo'] or ''} of {each['user']}, {each['wants']}"
        click.echo(clean(f"  {what}: {each['why']}"))


def _gpu(machine: Machine, gpu: Gpu) -> tuple[str, ...]:
    holders = [gpu["held_by"]] if gpu["held_by"] else gpu["shared_by"]
    held = ", ".join(f"{each['repo'] or ''} run {each['run']} of {each['user']}".strip() for each in holders)
    if gpu["quarantine"]:
        held = f"in quarantine: {gpu['quarantine']['reason']}"
    percent = gpu["use"]["percent"] if gpu["use"] else None
    use = "-" if percent is None else f"{percent:.0f} %"
    memory = show_size(gpu["memory_bytes"])
    return machine["name"], str(gpu["index"]), gpu["model"], memory, use, held or "free"


def show_images(images: list[Image]) -> None:
    """A line each, as the instance itself says them."""
    for image in images:
        click.echo(clean(f"{image['name']:12} {', '.join(image['languages']):10} {image['summary']}"))
