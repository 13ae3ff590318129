"""`hermes completion`: what a shell needs to complete `hermes`."""

import click
from click.shell_completion import get_completion_class

_HOW = {
    "bash": 'eval "$(hermes completion bash)"   # in ~/.bashrc',
    "zsh": 'eval "$(hermes completion zsh)"   # in ~/.zshrc, after compinit',
    "fish": "hermes completion fish > ~/.config/fish/completions/hermes.fish",
}


@click.command(epilog="\b\n" + "\n".join(_HOW.values()))
@click.argument("shell", type=click.Choice(list(_HOW)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion of commands and options for a shell."""
    kind = get_completion_class(shell)
    assert kind is not None
    root = context.find_root()
    click.echo(kind(root.command, {}, "hermes", "_HERMES_COMPLETE").source())
