"""`hermes logs`: what a run printed, as it comes, over every broken connection."""

import sys
import time

import click

from hermes.cli.asking import note
from hermes.cli.number import RUN
from hermes.cli.remote import asks
from hermes.client import Client
from hermes.client.errors import BrokenOff, NoServer, ServerTrouble, TooOften

_TRIES = 8  # without a byte between them
_MOST_WAIT_S = 15.0


@click.command()
@click.argument("run", type=RUN)
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@click.option("--rank", type=click.IntRange(0), default=0, help="Of another rank than 0.")
@click.option("--offset", type=click.IntRange(0), default=0, help="Leave out so many bytes.")
@asks
def logs(client: Client, run: int, follow: bool, rank: int, offset: int) -> None:
    """What a run printed, byte for byte. Ctrl-C leaves the run alone."""
    try:
        if follow:
            follow_log(client, run, rank, offset)
        else:
            for data in client.log(run, rank, offset):
                write(data)
    except KeyboardInterrupt:
        sys.exit(130)


def follow_log(client: Client, run: int, rank: int, offset: int) -> None:
    """To the end of the run. What breaks off is resumed at the next byte."""
    tries = 0
    while True:
        before = offset
        try:
            ended = client.run(run)["ended_at"] is not None
            for data in client.log(run, rank, offset, follow=True):
                write(data)
                offset += len(data)
            if ended:
                return
        except (BrokenOff, NoServer, ServerTrouble, TooOften) as error:
            tries = 1 if offset > before else tries + 1
            if tries > _TRIES:
                note(f"{error}; go on with: hermes logs -f {run} --rank {rank} --offset {offset}")
                raise
            wait_s = max(min(2.0**tries / 4, _MOST_WAIT_S), getattr(error, "wait_s", 0.0))
            time.sleep(wait_s)


def write(data: bytes) -> None:
    """To stdout, at once. A reader that has gone ends this program quietly, as it ends others."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
