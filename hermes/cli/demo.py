"""`hermes demo`."""

import click

from hermes.demo import run_demo
from hermes.settings import load_settings


@click.command()
@click.option("--once", is_flag=True, help="End when the samples are done; exit 1 if one is not as expected.")
@click.option("--only", multiple=True, metavar="NAME", help="Push this sample only (may be repeated).")
def demo(once: bool, only: tuple[str, ...]) -> None:
    """Start the service, push the sample repositories, and show what comes back."""
    raise SystemExit(run_demo(load_settings(), once, only))
